"""Influence of every pool clip on every query, from their features (METHOD.md 3): one scan of the store, block by block."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from motive.attribution.product import Covariance, Product, fastest_product
from motive.attribution.scores import DESCRIBING, Facts, Part, Scores, load_scores, write_scores
from motive.attribution.store import Store
from motive.errors import StoreError
from motive.files import digest, new_file

Hessian = Literal["identity", "kernel"]

DAMPING = 10.0
"""Of the kernel, in mean eigenvalues; chosen in the lab, on a suite of its own (docs/results.md)."""

ROWS = 1 << 12
"""Clips whose features a thread takes at a time."""


def score(pool: Store, queries: Store, file: Path, hessian: Hessian = "identity", beside: Sequence[str] = DESCRIBING) -> Scores:
    """I[n, q] = <g_n, H^-1 g_q> over all clips of both stores that have a feature, shard by shard, into `file`.

    H is the identity, as in the paper, for cosines in one pass over the pool; or, after a pass more, what `damped_kernel`
    makes of the pool's own features. A score depends on its clip, its query and H alone: not on the order of clips or
    queries, nor on the size of shards. `beside`: columns of the pool's store that stand beside the scores, `id` among them.

    Raises StoreError if the two were made with different settings, are unfinished, or hold no feature.
    """
    targets, query_rows = query_targets(pool, queries, hessian)
    exact = pool.fingerprint["gradients"]["projector"] == "exact"
    error_bar = None if hessian == "kernel" else 0.0 if exact else pool.dim**-0.5
    facts = Facts(query_rows, error_bar, bool(pool.fingerprint["model"]["trained"]), scored_state(pool, queries))
    schema = pa.schema([pool.schema.field(name) for name in beside])
    with new_file(file) as aside:
        write_scores(aside, facts, schema, _parts(pool, targets, beside))
    return load_scores(file)


def query_targets(
    pool: Store, queries: Store, hessian: Hessian = "identity"
) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """H^-1 g_q [Q, D'] of every query that has a feature, and what is known of each, in order of id: the inner product of a
    clip's feature with the first is its influence. Raises StoreError as `score` does."""
    if pool.mark != queries.mark:
        raise StoreError(f"{pool.folder} and {queries.folder} were made with different settings; index both again")
    for store in (pool, queries):
        if missing := store.missing():
            raise StoreError(f"{store.folder}: {missing} clips are not attributed yet; run `motive index` to the end")
    targets, query_rows = _targets(queries)
    if hessian == "kernel":
        covariance = Covariance(pool.dim)
        for table in _usable(pool, ["feature"]):
            covariance.add(pool.unpack(table))
        targets = np.asarray(np.linalg.solve(damped_kernel(covariance.sum(), covariance.count), targets.T).T, np.float64)
    return targets, query_rows


def damped_kernel(covariance: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """F^T F / N + lambda 1, from F^T F [D', D'] of N features: directions that all clips share count less.

    lambda is DAMPING times the mean of the eigenvalues that F^T F / N can have: its trace over min(N, D').
    """
    covariance = covariance / max(count, 1)
    damping = DAMPING * np.trace(covariance) / max(min(count, len(covariance)), 1)
    return np.asarray(covariance + damping * np.eye(len(covariance)))


def scored_state(pool: Store, queries: Store) -> str:
    """What `Facts.state` is for these stores now."""
    return digest(pool.state, queries.state)


def _targets(queries: Store) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """Features of the queries and what is known of them, in order of id."""
    rows: list[tuple[dict[str, Any], NDArray[np.float32]]] = []
    for table in _usable(queries, [*DESCRIBING, "feature"]):
        rows += zip(table.select(DESCRIBING).to_pylist(), queries.unpack(table), strict=True)
    if not rows:
        raise StoreError(f"no query could be attributed:\n{_reasons(queries)}")
    rows.sort(key=lambda row: row[0]["id"])
    return np.array([feature for _, feature in rows], np.float64), [row for row, _ in rows]


def _parts(pool: Store, targets: NDArray[np.float64], beside: Sequence[str]) -> Iterator[Part]:
    """The pool's clips and their influence, in the store's order. One thread reads and some multiply, so that whoever takes
    the parts has time to write them."""
    empty = True
    with _single_threads() as threads:
        product = threads.submit(fastest_product, targets).result()
        waiting: deque[tuple[pa.Table, Future[NDArray[np.float32]]]] = deque()
        for table in _ahead(_usable(pool, [*beside, "feature"])):
            empty = False
            waiting.append((table.select(beside), threads.submit(_multiply, pool, table, product)))
            if len(waiting) > 2 * torch.get_num_threads():
                clips, influence = waiting.popleft()
                yield clips, influence.result()
        for clips, influence in waiting:
            yield clips, influence.result()
    if empty:
        raise StoreError(f"no clip of the pool could be attributed:\n{_reasons(pool)}")


def _multiply(pool: Store, table: pa.Table, product: Product) -> NDArray[np.float32]:
    return product(pool.unpack(table))


def _usable(store: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Rows with a feature, a few at a time."""
    for table in store.tables([*columns, "status"]):
        usable = pc.fill_null(pc.equal(table["status"], "ok"), False)
        some = table if pc.all(usable).as_py() else table.filter(usable)
        for first in range(0, len(some), ROWS):
            yield some.slice(first, ROWS)


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables, the next of which another thread gets meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = reader.submit(next, tables, None)
            yield table


@contextmanager
def _single_threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch uses, in each of which torch uses one."""
    count = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            yield threads
    finally:
        torch.set_num_threads(count)


def _reasons(store: Store) -> str:
    rows = (row for table in store.tables(["id", "name", "status", "reason"]) for row in table.to_pylist())
    failed = islice((row for row in rows if row["status"] != "ok"), 20)
    return "\n".join(f"  {row['name'] or row['id']}: {row['reason']}" for row in failed)
