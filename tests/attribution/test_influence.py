"""Influence with a Hessian: the pool's own damped kernel between two features, against plain numpy."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from motive.attribution.influence import damped_kernel
from motive.attribution.influence import score as score_into
from motive.attribution.scores import Scores, load_scores
from motive.attribution.selection import select
from motive.attribution.selection_files import describe
from motive.attribution.store import Store
from motive.config import load_config
from motive.verbs import index
from motive.verbs import score as score_run
from motive.video.table import Clip
from tests.conftest import settings

DIM = 24


def write_store(
    folder: Path, features: dict[str, np.ndarray], shard_size: int = 8, failed: tuple[str, ...] = (), precision: str = "float32"
) -> Store:
    """A finished store of clips with these features; a failed one has a row and none."""
    fingerprint = {"gradients": {"projector": "fastfood"}, "model": {"trained": True}}
    dim = len(next(iter(features.values())))
    store = Store(folder, fingerprint, dim, precision)
    clips = {name: Clip(name, f"key-{name}", f"{name}.mp4", "a caption", None, "0" * 64, name) for name in (*features, *failed)}
    good = {"status": "ok", "label": "moving", "loss": 1.0, "motion_sustained": 1.0}
    for shard in store.plan(list(clips.values()), shard_size):
        for name in shard.ids:
            row = {"status": "failed", "reason": "broken"} if name in failed else good
            store.add_row(clips[name], row, None if name in failed else features[name].astype(np.float32))
        store.finish(shard)
    return store


def score(pool: Store, queries: Store, **more: str) -> Scores:
    """The scores in a file beside the pool."""
    return score_into(pool, queries, Path(f"{pool.folder}-{more.get('hessian', 'plain')}.parquet"), **more)


def by_id(scores: Scores) -> np.ndarray:
    """Influence [N, Q] in order of the clips' ids."""
    return scores.influence[np.argsort(scores.clips["id"].to_pylist())]


def drawn(letter: str, count: int, seed: int, dim: int = DIM) -> dict[str, np.ndarray]:
    """Unit features around a direction that all of them share."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, dim)) + 3 * np.eye(dim)[0]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return {f"{letter}{n:03d}": feature for n, feature in enumerate(features)}


def read_back(store: Store) -> np.ndarray:
    """Features of a store's usable clips in order of id, float64."""
    found = {}
    for table in store.tables(["id", "status", "feature"]):
        usable = table.filter(pc.equal(table["status"], "ok"))
        found |= dict(zip(usable["id"].to_pylist(), store.unpack(usable).astype(np.float64), strict=True))
    return np.array([found[name] for name in sorted(found)])


def slow_influence(pool: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """<g, (1/N sum of f f^T + lambda 1)^-1 q>, lambda ten times the mean of the eigenvalues that can differ from zero."""
    count, dim = pool.shape
    kernel = np.zeros((dim, dim))
    for feature in pool:
        kernel += np.outer(feature, feature) / count
    values = np.sort(np.linalg.eigvalsh(kernel))[::-1][: min(count, dim)]
    inverse = np.linalg.inv(kernel + 10 * values.mean() * np.eye(dim))
    return np.array([[g @ inverse @ q for q in queries] for g in pool])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """A pool of 30 clips and 3 queries."""
    folder = tmp_path_factory.mktemp("stores")
    return write_store(folder / "pool", drawn("c", 30, 0)), write_store(folder / "queries", drawn("q", 3, 1))


@pytest.mark.parametrize("count", [1, 7, DIM, 40])
def test_kernel_influence_is_the_plain_reference(tmp_path, count) -> None:
    precision = "float16" if count == 7 else "float32"
    pool = write_store(tmp_path / "pool", drawn("c", count, 0), failed=("c000x", "a"), precision=precision)
    queries = write_store(tmp_path / "queries", drawn("q", 3, 1), failed=("b",), precision=precision)
    scores = score(pool, queries, hessian="kernel")
    expected = slow_influence(read_back(pool), read_back(queries))
    assert scores.influence.shape == (count, 3)
    assert scores.influence.dtype == np.float32
    assert by_id(scores) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert sorted(scores.clips["id"].to_pylist()) == sorted(drawn("c", count, 0))
    assert [query["id"] for query in scores.queries] == ["q000", "q001", "q002"]


def test_kernel_influence_of_a_run_is_the_plain_reference(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    out = tmp_path / "run"
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out, "influence.hessian=kernel"))
    index(config)
    scores = score_run(config)
    pool, queries = (read_back(Store.open(out / which)) for which in ("pool", "queries"))
    assert pool.shape == (6, 512)
    assert by_id(scores) == pytest.approx(slow_influence(pool, queries), rel=1e-5, abs=1e-5)
    assert np.array_equal(load_scores(out / "scores.parquet").influence, scores.influence)
    plain = score_run(load_config(None, settings(pool_folder, query_folder, tiny_wan, out)))
    assert by_id(plain) == pytest.approx(pool @ queries.T, abs=1e-6)


@pytest.mark.parametrize("count", [5, 60])
def test_the_kernel_is_the_mean_outer_product_and_a_multiple_of_one(count) -> None:
    features = np.random.default_rng(0).normal(size=(count, DIM))
    covariance = features.T @ features
    added = damped_kernel(covariance, count) - covariance / count
    damping = 10 * (features**2).sum() / count / min(count, DIM)
    assert added == pytest.approx(damping * np.eye(DIM), abs=1e-12)
    assert np.linalg.cond(damped_kernel(covariance, count)) < 1 + np.linalg.eigvalsh(covariance / count)[-1] / damping + 1e-9


def test_as_many_copies_of_the_pool_have_the_same_kernel() -> None:
    """A mean over clips, not a sum: a pool given twice explains no more than once, however many its dimensions."""
    features = np.random.default_rng(0).normal(size=(DIM, DIM))
    once, twice = features, np.concatenate([features, features])
    kernels = [damped_kernel(rows.T @ rows, len(rows)) for rows in (once, twice)]
    assert kernels[0] == pytest.approx(kernels[1])


@pytest.mark.parametrize("hessian", ["identity", "kernel"])
@pytest.mark.parametrize("shard_size", [1, 3, 100])
def test_scores_depend_neither_on_the_size_of_shards_nor_on_the_order_of_clips(stores, tmp_path, shard_size, hessian) -> None:
    """To the bit, although the kernel is a sum over all clips."""
    features = drawn("c", 30, 0)
    grown = write_store(tmp_path / "pool", dict(list(features.items())[::2]), shard_size)
    order = np.random.default_rng(shard_size).permutation(list(features)).tolist()
    pool = write_store(Path(str(grown.folder)), {name: features[name] for name in order}, shard_size)
    there, here = score(pool, stores[1], hessian=hessian), score(*stores, hessian=hessian)
    assert np.array_equal(by_id(there), by_id(here))
    assert sorted(there.clips["id"].to_pylist()) == sorted(here.clips["id"].to_pylist())


@pytest.mark.parametrize("count", [4, DIM])
def test_with_orthonormal_features_the_kernel_only_scales(tmp_path, count) -> None:
    """1/N on the pool's own directions and ten times that from damping: 11/N, whose inverse is N / 11."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0].T
    pool = write_store(tmp_path / "pool", {f"c{n:02d}": row for n, row in enumerate(basis[:count])})
    queries = write_store(tmp_path / "queries", drawn("q", 5, 1))
    plain, kernel = score(pool, queries), score(pool, queries, hessian="kernel")
    assert by_id(kernel) == pytest.approx(by_id(plain) * count / 11, abs=1e-5)


def test_what_all_clips_share_counts_less(tmp_path) -> None:
    """One clip is like the query only in what every clip has, the other only in what few have."""
    common, rare, else_ = np.eye(DIM)[:3]
    features = {f"c{n:02d}": common for n in range(20)} | {"shares": common, "special": 0.6 * rare + 0.8 * else_}
    pool = write_store(tmp_path / "pool", features)
    queries = write_store(tmp_path / "queries", {"q": 0.8 * common + 0.6 * rare})
    plain, kernel = score(pool, queries), score(pool, queries, hessian="kernel")
    place = {name: n for n, name in enumerate(plain.clips["id"].to_pylist())}
    assert plain.influence[place["shares"], 0] > plain.influence[place["special"], 0]
    assert kernel.influence[place["shares"], 0] < kernel.influence[place["special"], 0]


def test_queries_do_not_change_each_others_scores(stores, tmp_path) -> None:
    together = score(*stores, hessian="kernel").influence
    for q, (name, feature) in enumerate(drawn("q", 3, 1).items()):
        alone = score(stores[0], write_store(tmp_path / name, {name: feature}), hessian="kernel").influence
        assert alone[:, 0] == pytest.approx(together[:, q], abs=1e-6)


def test_influence_through_a_kernel_has_no_error_bar(stores) -> None:
    scores = score(*stores, hessian="kernel")
    assert scores.error_bar is None
    text = describe(select(scores, 0.1), scores)
    assert "from the projection" not in text
    assert "apart in score" in text


def test_the_default_is_the_cosine_of_the_features(stores) -> None:
    pool, queries = stores
    default, identity = score(pool, queries), score(pool, queries, hessian="identity")
    assert np.array_equal(default.influence, identity.influence)
    assert by_id(default) == pytest.approx(read_back(pool) @ read_back(queries).T, abs=3e-7)
    assert default.error_bar == identity.error_bar == pytest.approx(DIM**-0.5)
    assert not np.allclose(score(pool, queries, hessian="kernel").influence, default.influence, atol=0.1)
