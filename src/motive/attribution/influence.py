"""Influence of every pool clip on every query, from their features (METHOD.md 3)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.store import Store
from motive.errors import StoreError
from motive.files import digest, write_atomic

DESCRIBING = [
    "id",
    "key",
    "name",
    "path",
    "caption",
    "sha256",
    "label",
    "motion_mean",
    "motion_sustained",
    "source_width",
    "source_height",
    "loss",
    "gradient_norm",
    "extra",
]
"""Columns of the pool's store that stand beside the scores."""


Hessian = Literal["identity", "kernel"]

DAMPING = 10.0
"""Of the kernel, in mean eigenvalues; chosen in the lab, on a suite of its own (docs/results.md)."""


@dataclass(frozen=True)
class Scores:
    """Influence of the pool's clips on the queries.

    influence: float32 [N, Q]. clips: N rows of DESCRIBING columns, in order of id. queries: Q rows, likewise.
    error_bar: the standard error of one cosine through the projection, 1 / sqrt(D'); 0 for exact features; None where
    influence is no cosine.
    trained: False if the model's weights are random. state: of the stores that were scored (Store.state).
    """

    influence: NDArray[np.float32]
    clips: pa.Table
    queries: list[dict[str, Any]]
    error_bar: float | None
    trained: bool
    state: str = ""


def score(pool: Store, queries: Store, hessian: Hessian = "identity") -> Scores:
    """I[n, q] = <g_n, H^-1 g_q> over all clips of both stores that have a feature, shard by shard.

    H is the identity, as in the paper, for cosines in one pass over the pool; or, after a pass more, what `damped_kernel`
    makes of the pool's own features.

    Raises StoreError if the two were made with different settings, are unfinished, or hold no feature.
    """
    if pool.mark != queries.mark:
        raise StoreError(f"{pool.folder} and {queries.folder} were made with different settings; index both again")
    for store in (pool, queries):
        if missing := store.missing():
            raise StoreError(f"{store.folder}: {missing} clips are not attributed yet; run `motive index` to the end")
    targets, query_rows = _features(queries)
    if not query_rows:
        raise StoreError(f"no query could be attributed:\n{_reasons(queries)}")
    if hessian == "kernel":
        covariance = np.zeros((pool.dim, pool.dim))
        count = 0
        for table in pool.tables(["status", "feature"]):
            block = pool.unpack(table.filter(pc.equal(table["status"], "ok"))).astype(np.float64)
            covariance = covariance + block.T @ block
            count += len(block)
        targets = np.asarray(np.linalg.solve(damped_kernel(covariance, count), targets.T).T, np.float64)
    blocks, tables = [], []
    for table in pool.tables([*DESCRIBING, "status", "feature"]):
        usable = table.filter(pc.equal(table["status"], "ok"))
        # In float64, so that a score does not depend on how many rows its shard happens to have.
        blocks.append((pool.unpack(usable).astype(np.float64) @ targets.T).astype(np.float32))
        tables.append(usable.select(DESCRIBING))
    if not sum(map(len, blocks)):
        raise StoreError(f"no clip of the pool could be attributed:\n{_reasons(pool)}")
    clips = pa.concat_tables(tables)
    order = np.array(pc.sort_indices(clips, sort_keys=[("id", "ascending")]))
    exact = pool.fingerprint["gradients"]["projector"] == "exact"
    return Scores(
        influence=np.concatenate(blocks)[order],
        clips=clips.take(order).combine_chunks().replace_schema_metadata(None),
        queries=query_rows,
        error_bar=None if hessian == "kernel" else 0.0 if exact else pool.dim**-0.5,
        trained=bool(pool.fingerprint["model"]["trained"]),
        state=scored_state(pool, queries),
    )


def damped_kernel(covariance: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """F^T F / N + lambda 1, from F^T F [D', D'] of N features: directions that all clips share count less.

    lambda is DAMPING times the mean of the eigenvalues that F^T F / N can have: its trace over min(N, D').
    """
    covariance = covariance / max(count, 1)
    damping = DAMPING * np.trace(covariance) / max(min(count, len(covariance)), 1)
    return np.asarray(covariance + damping * np.eye(len(covariance)))


def save_scores(scores: Scores, file: Path) -> None:
    """Parquet: the DESCRIBING columns, then one column of influence a query, named `influence:<query id>`."""
    table = scores.clips
    for q, query in enumerate(scores.queries):
        table = table.append_column(f"influence:{query['id']}", pa.array(scores.influence[:, q]))
    facts = {
        "queries": scores.queries,
        "error_bar": scores.error_bar,
        "trained": scores.trained,
        "state": scores.state,
    }
    table = table.replace_schema_metadata({"motive.scores": json.dumps(facts)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomic(file, sink.getvalue().to_pybytes())


def load_scores(file: Path) -> Scores:
    """Read what `save_scores` wrote; raises StoreError if there is none, or it is damaged."""
    if not file.exists():
        raise StoreError(f"{file}: no scores here; run `motive score` first")
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{file}: damaged ({error}); run `motive score` again") from error
    facts = json.loads(table.schema.metadata[b"motive.scores"])
    columns = [table[f"influence:{query['id']}"].to_numpy() for query in facts["queries"]]
    influence = np.stack(columns, axis=1).astype(np.float32)
    clips = table.select(DESCRIBING).replace_schema_metadata(None)
    return Scores(influence, clips, facts["queries"], facts["error_bar"], facts["trained"], facts["state"])


def scored_state(pool: Store, queries: Store) -> str:
    """What `Scores.state` is for these stores now."""
    return digest(pool.state, queries.state)


def _reasons(store: Store) -> str:
    rows = [row for row in store.rows() if row["status"] != "ok"]
    return "\n".join(f"  {row['name'] or row['id']}: {row['reason']}" for row in rows[:20])


def _features(store: Store) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    rows: list[tuple[dict[str, Any], NDArray[np.float64]]] = []
    for table in store.tables([*DESCRIBING, "status", "feature"]):
        usable = table.filter(pc.equal(table["status"], "ok"))
        rows += zip(usable.select(DESCRIBING).to_pylist(), store.unpack(usable).astype(np.float64), strict=True)
    rows.sort(key=lambda row: row[0]["id"])
    return np.array([feature for _, feature in rows]), [row for row, _ in rows]
