"""`motive store ...` and a run's stores, through the command as people run it."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from motive import verbs
from motive.attribution.making import Make, Maker
from motive.attribution.run_stores import store_place
from motive.attribution.store import Store
from motive.config import load_config, stage_config
from motive.errors import StoreError
from motive.folders import open_folder
from tests.conftest import settings
from tests.test_cli import call, sets


class Counting:
    """How many clips are attributed."""

    def __init__(self) -> None:
        self.attributed = 0

    @contextmanager
    def steps(self, label: str, total: int):
        def step() -> None:
            self.attributed += label.startswith("attributing")

        yield step

    def say(self, line: str) -> None:
        pass


@pytest.fixture(scope="session")
def indexed(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Path:
    """A run that is indexed and scored, in shards of two."""
    out = tmp_path_factory.mktemp("store-command") / "run"
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out, "store.shard_size=2"))
    verbs.index(config)
    verbs.score(config)
    return out


@pytest.fixture
def run(indexed, tmp_path) -> Path:
    """A copy of it to work on, with a motive.yaml that leads to the copy."""
    shutil.copytree(indexed, tmp_path / "run")
    text = (tmp_path / "run" / "motive.yaml").read_text()
    (tmp_path / "run" / "motive.yaml").write_text(text.replace(str(indexed), str(tmp_path / "run")))
    return tmp_path / "run"


def test_verify_tells_what_is_damaged_and_index_makes_it_again(run, capsys) -> None:
    code, out, _ = call(capsys, "store", "verify", str(run), "--json")
    assert code == 0
    assert {name: (facts["clips"], facts["damaged"]) for name, facts in json.loads(out).items()} == {
        str(run / "pool"): (6, {}),
        str(run / "queries"): (2, {}),
    }
    (file, *_) = sorted((run / "pool" / "shards").iterdir())
    whole = file.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    code, out, _ = call(capsys, "store", "verify", str(run))
    assert code == 1
    assert f"damaged: shards/{file.name}" in out
    code, out, _ = call(capsys, "store", "verify", str(run / "pool"), "--remove-damaged")
    assert code == 0
    assert "`motive index` makes them again" in out
    counting = Counting()
    verbs.index(load_config(run), counting)
    assert counting.attributed == 2
    assert file.read_bytes() == whole
    assert call(capsys, "store", "verify", str(run))[0] == 0


def test_a_compacted_run_scores_the_same(run, capsys) -> None:
    before = verbs.score(load_config(run)).influence
    code, out, _ = call(capsys, "store", "compact", str(run), "--rows", "100")
    assert code == 0
    assert "pool: 3 shards, now 1" in out
    assert np.array_equal(verbs.score(load_config(run)).influence, before)
    counting = Counting()
    verbs.index(load_config(run), counting)
    assert counting.attributed == 0


def test_a_snapshot_is_scored_and_selected_from_after_the_pool_has_changed(run, pool_folder, tmp_path, capsys) -> None:
    before = verbs.score(load_config(run)).influence
    assert call(capsys, "store", "snapshot", str(run), "before")[0] == 0
    few = tmp_path / "few"
    few.mkdir()
    for n in range(3):
        for suffix in (".mp4", ".txt"):
            shutil.copy(pool_folder / f"clip{n}{suffix}", few)
    assert call(capsys, "index", str(run), "--set", f"pool={few}")[0] == 0
    assert call(capsys, "store", "compact", str(run))[0] == 0
    with_snapshot = ("--set", "influence.snapshot=before")
    assert call(capsys, "score", str(run), *with_snapshot)[0] == 0
    assert np.array_equal(verbs.load_scores(run / "scores.parquet").influence, before)
    assert call(capsys, "select", str(run), *with_snapshot)[0] == 0
    code, _, err = call(capsys, "select", str(run))
    assert code == 1
    assert "run `motive score` again" in err
    code, out, _ = call(capsys, "store", "diff", str(run), str(run), "--snapshot", "before", "--json")
    found = json.loads(out)
    assert (len(found["only_here"]), found["only_there"], found["changed"]) == (3, [], [])
    code, _, err = call(capsys, "score", str(run), "--set", "influence.snapshot=none")
    assert code == 1
    assert "snapshots/none.parquet: no such file" in err


def test_features_are_exported(run, tmp_path, capsys) -> None:
    target = tmp_path / "features.parquet"
    code, out, _ = call(capsys, "store", "export", str(run), str(target), "--which", "queries")
    assert code == 0
    assert "features of 2 clips" in out
    assert len(pq.read_table(target)) == 2
    code, _, err = call(capsys, "store", "export", str(run), str(target))
    assert code == 1
    assert "choose a new place" in err


def test_a_grown_pool_is_attributed_where_it_is_new_and_nowhere_else(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    found = []
    for names in (("clip0", "clip1", "clip3"), ("clip2", "clip4"), ()):
        for name in names:
            shutil.copy(pool_folder / f"{name}.mp4", pool)
        counting = Counting()
        config = load_config(None, settings(pool, query_folder, tiny_wan, tmp_path / "run", "store.shard_size=2"))
        done = verbs.index(config, counting)
        found.append((done.pool, counting.attributed))
    assert found == [(3, 3 + 2), (5, 2), (5, 0)]


def test_stores_in_a_bucket_hold_the_same_shards_and_give_the_same_scores(
    indexed, pool_folder, query_folder, tiny_wan, bucket, tmp_path, capsys
) -> None:
    out, at = tmp_path / "run", f"{bucket}/a-run"
    words = sets(*settings(pool_folder, query_folder, tiny_wan, out, "store.shard_size=2", f"store.at={at}"))
    code, printed, _ = call(capsys, "run", *words, "--json")
    assert (code, json.loads(printed)["pool"]) == (0, 6)
    assert {"prepared", "scores.parquet", "selection.jsonl", "export"} <= {path.name for path in out.iterdir()}
    assert not (out / "pool").exists()
    for which in ("pool", "queries"):
        there, here = open_folder(f"{at}/{which}"), open_folder(indexed / which)
        assert there.names("shards") == here.names("shards")
        files = [f"shards/{name}" for name in there.names("shards")]
        assert there.read(files) == here.read(files)
    config = load_config(out)
    assert np.array_equal(verbs.score(config).influence, verbs.score(load_config(indexed)).influence)
    for words in (["verify", str(out)], ["verify", f"{at}/pool"], ["compact", str(out)], ["diff", f"{at}/pool", str(indexed)]):
        code, printed, _ = call(capsys, "store", *words)
        assert code == 0
    assert printed.strip() == "no difference"
    counting = Counting()
    verbs.index(config, counting)
    assert counting.attributed == 0


def test_stores_may_lie_in_another_folder_which_is_relative_to_the_yaml(tmp_path) -> None:
    (tmp_path / "run.yaml").write_text("{out: o, pool: p, queries: q, model: {path: m}, store: {at: stores}}")
    config = load_config(tmp_path / "run.yaml", ["cascade=[{share: 0.5}]"])
    assert store_place(config, "pool") == tmp_path / "stores" / "pool"
    assert store_place(stage_config(config, 1), "queries") == tmp_path / "stores" / "coarse-1" / "queries"
    elsewhere = load_config(tmp_path / "run.yaml", ["store.at=s3://bucket/some/"])
    assert store_place(elsewhere, "pool") == "s3://bucket/some/pool"
    inside = load_config(tmp_path / "run.yaml", ["store.at=null"])
    assert store_place(inside, "pool") == tmp_path / "o" / "pool"


def test_what_another_run_planned_meanwhile_is_told(run, pool_folder, tmp_path, monkeypatch) -> None:
    config = load_config(run)
    other = verbs.read_clips(config, "pool").only({verbs.read_clips(config, "pool").clips[0].id})
    next((run / "pool" / "shards").glob("*.parquet")).unlink()  # so that there is something to do
    plain = Maker.do

    def interrupted(self, task) -> None:
        plain(self, task)
        if isinstance(task, Make) and task.which == "pool":
            store = Store.open(run / "pool")
            made_with = {k: v for k, v in store.fingerprint.items() if k not in ("dim", "features")}
            Store(run / "pool", made_with, store.dim, store.precision).plan(other.clips, 2)

    monkeypatch.setattr(Maker, "do", interrupted)
    with pytest.raises(StoreError, match="another run has planned other clips here"):
        verbs.index(config)


@pytest.mark.parametrize("words", [["verify", "nowhere"], ["compact", "s3://"], ["diff", "a", "b"], ["snapshot", "x", "y"]])
def test_a_wrong_place_is_told_in_words(words, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "store", *words)
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.startswith("motive: ")
