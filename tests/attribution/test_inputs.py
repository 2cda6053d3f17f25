"""A whole run on clips that are no files of their own: the same features, scores and exports as from a folder."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from motive import verbs
from motive.attribution.store import Store
from motive.config import load_config
from motive.errors import ClipError, StoreError
from motive.files import sha256_file
from motive.report.sheet import write_sheet
from motive.video.decode import Sampling, decode
from motive.video.sources import Opener
from tests.conftest import settings
from tests.video.packing import parquet, saved, shard, tar
from tests.video.servers import serving

SAMPLING = Sampling(9, 16, 48, 64)


def clips_in(folder: Path) -> dict[str, tuple[bytes, str]]:
    return {path.stem: (path.read_bytes(), path.with_suffix(".txt").read_text().strip()) for path in folder.glob("*.mp4")}


def features(out: Path) -> dict[str, np.ndarray]:
    store = Store.open(out / "pool")
    return {
        key: feature
        for table in store.tables(["key", "feature"])
        for key, feature in zip(table["key"].to_pylist(), store.unpack(table), strict=True)
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory, pool_folder, query_folder, tiny_wan) -> Path:
    out = tmp_path_factory.mktemp("plain") / "run"
    verbs.run(load_config(None, settings(pool_folder, query_folder, tiny_wan, out)))
    return out


@pytest.mark.parametrize("form", ["tar", "parquet", "saved", "web"])
@pytest.mark.parametrize("cache", [True, False])
def test_a_run_does_not_depend_on_how_its_clips_are_packed(
    tmp_path, monkeypatch, plain, pool_folder, query_folder, tiny_wan, form, cache
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    clips = clips_in(pool_folder)
    (tmp_path / "site").mkdir()
    with serving(tmp_path / "site") as server:
        pool: object = {
            "tar": lambda: shard(tmp_path / "pool.tar", clips),
            "parquet": lambda: parquet(tmp_path / "pool.parquet", clips),
            "saved": lambda: saved(tmp_path / "pool", clips),
            "web": lambda: shard(tmp_path / "site" / "pool.tar", clips) and f"{server.address}/pool.tar",
        }[form]()
        out = tmp_path / "run"
        config = load_config(None, settings(pool, query_folder, tiny_wan, out, f"store.cache={str(cache).lower()}"))
        done = verbs.run(config)
        assert (done.failed, done.pool) == ([], 6)
        expected, found = features(plain), features(out)
        assert expected.keys() == found.keys()
        assert all(np.array_equal(expected[key], found[key]) for key in expected)
        chosen, before = ((place / "selection.jsonl").read_text().splitlines() for place in (out, plain))
        assert [json.loads(line)["key"] for line in chosen] == [json.loads(line)["key"] for line in before]
        for entry in map(json.loads, (out / "export" / "selection.jsonl").read_text().splitlines()):
            (same,) = (plain / "export" / "videos").glob(f"*{entry['key'][:12]}.mp4")
            here, there = (decode(path, SAMPLING).frames.astype(int) for path in (out / "export" / entry["video"], same))
            assert np.abs(here - there).mean() < 1
        write_sheet(config, tmp_path / "sheet.png")
        strip = cv2.imread(str(tmp_path / "sheet.png"))[28:118, 250:]
        assert strip.min(axis=(0, 2)).max() < 255  # every column shows something of a frame
        linked = load_config(None, settings(pool, query_folder, tiny_wan, out, "export.videos=link"))
        assert verbs.export(linked) == []
        for entry in map(json.loads, (out / "export" / "selection.jsonl").read_text().splitlines()):
            file = out / "export" / entry["video"]
            assert not file.is_symlink()
            assert sha256_file(file) == entry["sha256"]


def test_other_limits_for_fetching_do_not_make_another_run(tmp_path, plain, pool_folder, query_folder, tiny_wan) -> None:
    config = load_config(
        None, settings(pool_folder, query_folder, tiny_wan, plain, "fetch.max_bytes=1234567", "fetch.seconds=5")
    )
    assert verbs.index(config).pool == 6
    with pytest.raises(StoreError, match="other settings"):
        verbs.index(load_config(None, settings(pool_folder, query_folder, tiny_wan, plain, "video.place=centre")))


def test_notes_tell_what_was_ignored_in_an_archive(tmp_path, pool_folder, query_folder, tiny_wan) -> None:
    members = [(f"{name}.mp4", content) for name, (content, _) in clips_in(pool_folder).items()]
    pool = tar(tmp_path / "pool.tar", [*members, ("a.pkl", b"\x80\x04N."), ("b.xyz", b"")])
    done = verbs.index(load_config(None, settings(pool, query_folder, tiny_wan, tmp_path / "run")))
    assert any("pool.tar: 1 pickles and arrays are ignored" in note for note in done.notes)
    assert any("neither videos nor captions are ignored: 1 .xyz" in note for note in done.notes)


def test_clips_of_an_archive_that_is_cut_off_after_it_was_read_fail_alone(
    tmp_path, pool_folder, query_folder, tiny_wan
) -> None:
    pool = shard(tmp_path / "pool.tar", clips_in(pool_folder))
    config = load_config(None, settings(pool, query_folder, tiny_wan, tmp_path / "run"))
    clips = verbs.read_clips(config, "pool")
    with pool.open("r+b") as file:
        file.truncate(pool.stat().st_size // 3)
    reasons = []
    for clip in clips:
        try:
            with Opener().local_copy(clip.source, clip.sha256):
                reasons.append(None)
        except ClipError as error:
            reasons.append(str(error))
    assert reasons[0] is None
    assert "is cut off in" in reasons[-1]
