"""A new query costs its own gradient and one scan of the features that are there."""

import shutil

import numpy as np

from motive.attribution import features, reading
from motive.attribution.store import Store
from motive.config import load_config
from motive.verbs import index, score
from motive.video.write import write_video
from tests.conftest import moving_square, settings


def test_a_new_query_costs_one_gradient_and_one_scan_and_changes_no_other_score(
    pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    queries = tmp_path / "queries"
    shutil.copytree(query_folder, queries)
    config = load_config(None, settings(pool_folder, queries, tiny_wan, tmp_path / "run", "engine.decoders=0"))
    index(config)
    before = score(config)
    shards = {path.name: path.read_bytes() for path in (config.out / "pool" / "shards").iterdir()}
    write_video(queries / "new.mp4", moving_square(13, speed=5, seed=7), fps=16)
    (queries / "new.txt").write_text("a square moves\n")

    decoded, projected, scanned = [], [], []
    decode, project_gradient, tables = reading.decode, features.project_gradient, Store.tables

    def counting_decode(path, *more):
        decoded.append(path.name)
        return decode(path, *more)

    def counting_gradient(*arguments):
        projected.append(1)
        return project_gradient(*arguments)

    def counting_tables(store, columns=None):
        if columns is None or "feature" in columns:
            scanned.append(store.folder)
        return tables(store, columns)

    monkeypatch.setattr(reading, "decode", counting_decode)
    monkeypatch.setattr(features, "project_gradient", counting_gradient)
    monkeypatch.setattr(Store, "tables", counting_tables)
    index(config)
    assert (decoded, len(projected), scanned) == (["new.mp4"], 1, [])
    after = score(config)
    assert sorted(str(folder).rpartition("/")[2] for folder in scanned) == ["pool", "queries"]
    assert shards == {path.name: path.read_bytes() for path in (config.out / "pool" / "shards").iterdir()}
    assert after.influence.shape == (6, 3)
    assert after.clips.equals(before.clips)
    for query in before.queries:
        then, now = before.queries.index(query), after.queries.index(query)
        assert np.array_equal(after.influence[:, now], before.influence[:, then])
