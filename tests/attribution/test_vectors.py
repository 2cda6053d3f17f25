"""Stores for other tools and beside each other: what the real Lance, FAISS and datasets libraries read, and what differs."""

import json
import sys

import datasets
import faiss
import lance
import numpy as np
import pyarrow.parquet as pq
import pytest

from motive.attribution import vectors
from motive.attribution.comparing import compare, describe_difference
from motive.attribution.snapshots import take_snapshot
from motive.attribution.store import Store
from motive.errors import StoreError
from motive.progress import Silent
from tests.attribution.test_upkeep import filled
from tests.attribution.test_writers import DIM, FINGERPRINT, clip, fill, row

SILENT = Silent()


def features(count: int) -> dict[str, np.ndarray]:
    found = {f"c{n:03d}": row(f"c{n:03d}")[1] for n in range(count)}
    return {name: feature for name, feature in found.items() if feature is not None}


@pytest.fixture(params=[5, 16_384])
def block(request, monkeypatch) -> None:
    """Whether many blocks or one are written."""
    monkeypatch.setattr(vectors, "BLOCK", request.param)


def test_parquet_is_read_by_datasets_as_lists_of_floats(place, tmp_path, block) -> None:
    store = filled(place, 23)
    file = tmp_path / "features.parquet"
    assert vectors.export_vectors(store, file, "parquet", SILENT) == len(features(23))
    found = datasets.load_dataset("parquet", data_files=str(file), cache_dir=str(tmp_path / "cache"), split="train")
    assert found.features["feature"].length == DIM
    found = found.with_format("numpy")
    assert dict(zip(found["id"], map(bytes, found["feature"]), strict=True)) == {k: bytes(v) for k, v in features(23).items()}
    assert set(found["caption"]) == {"a caption"}


def test_lance_holds_every_feature(place, tmp_path, block) -> None:
    store = filled(place, 23)
    assert vectors.export_vectors(store, tmp_path / "out.lance", "lance", SILENT) == len(features(23))
    table = lance.dataset(tmp_path / "out.lance").to_table()
    lists = table["feature"].to_pylist()
    assert dict(zip(table["id"].to_pylist(), lists, strict=True)) == {
        name: list(map(float, f)) for name, f in features(23).items()
    }


def test_faiss_finds_the_clip_whose_feature_is_asked_for(place, tmp_path, block) -> None:
    store = filled(place, 23)
    assert vectors.export_vectors(store, tmp_path / "out", "faiss", SILENT) == len(features(23))
    index = faiss.read_index(str(tmp_path / "out" / "index.faiss"))
    clips = [json.loads(line) for line in (tmp_path / "out" / "clips.jsonl").read_text().splitlines()]
    assert index.ntotal == len(clips)
    for name, feature in features(23).items():
        scores, (order,) = index.search(feature[None], index.ntotal)
        products = {other: float(feature @ found) for other, found in features(23).items()}
        assert products[clips[order[0]]["id"]] == pytest.approx(max(products.values()), rel=1e-5)
        assert scores[0][0] == pytest.approx(max(products.values()), rel=1e-5)
        assert clips[[c["id"] for c in clips].index(name)]["name"] == f"{name}.mp4"


@pytest.mark.parametrize("form", ["parquet", "lance", "faiss"])
def test_an_export_is_whole_or_absent_and_overwrites_nothing(form, tmp_path, monkeypatch) -> None:
    store = filled(tmp_path / "store", 6)
    out = tmp_path / "out"
    out.mkdir()
    (out / "there").write_text("mine")
    with pytest.raises(StoreError, match="something here already"):
        vectors.export_vectors(store, out / "there", form, SILENT)
    (first, *_) = sorted((tmp_path / "store" / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-40])
    with pytest.raises(Exception, match="damaged"):  # Lance passes it on inside of its own error
        vectors.export_vectors(store, out / "new", form, SILENT)
    empty = Store(tmp_path / "empty", FINGERPRINT, DIM, "float32")
    with pytest.raises(StoreError, match="no clip has a feature"):
        vectors.export_vectors(empty, out / "new", form, SILENT)
    assert [path.name for path in out.iterdir()] == ["there"]
    assert (out / "there").read_text() == "mine"


@pytest.mark.parametrize(("form", "module", "extra"), [("lance", "lance", "lance"), ("faiss", "faiss", "faiss")])
def test_a_missing_package_is_asked_for_by_name(form, module, extra, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StoreError, match=rf"pip install 'motive\[{extra}\]'"):
        vectors.export_vectors(filled(tmp_path / "store", 2), tmp_path / "out", form, SILENT)


def test_a_snapshot_is_exported_as_it_was(tmp_path) -> None:
    store = filled(tmp_path / "store", 6)
    take_snapshot(store, "one", SILENT)
    store.plan([clip("c001")], 2)
    vectors.export_vectors(Store.open(tmp_path / "store", "one"), tmp_path / "out.parquet", "parquet", SILENT)
    assert set(pq.read_table(tmp_path / "out.parquet")["id"].to_pylist()) == set(features(6))


def test_equal_stores_have_no_difference_however_they_are_cut_and_wherever_they_lie(place, tmp_path) -> None:
    found = compare(filled(place, 9, 2), filled(tmp_path / "other", 9, 4))
    assert describe_difference(found) == ["no difference"]


def test_each_kind_of_difference_is_told(tmp_path) -> None:
    here = filled(tmp_path / "here", 8)
    there = Store(tmp_path / "there", FINGERPRINT | {"seed": 3}, DIM, "float32")
    names = list(features(8))
    clips = [clip(name, "edited" if name == names[0] else "") for name in names[:3]] + [clip("new")]
    by_id = {one.id: one for one in clips}
    moved = features(8)[names[1]] + np.float32(0.25)
    for shard in there.plan(clips, 4):
        for name in shard.ids:
            feature = {names[1]: moved, "new": np.ones(DIM, np.float32)}.get(name, features(8).get(name))
            fails = name == names[2]
            there.add_row(by_id[name], {"status": "failed" if fails else "ok"}, None if fails else feature)
        there.finish(shard)
    found = compare(here, there)
    ours = features(8)[names[1]]
    cosine = float(ours @ moved / np.linalg.norm(ours) / np.linalg.norm(moved))
    assert found.settings == ["seed: stored None, now 3"]
    assert found.only_there == ["new"]
    assert set(found.only_here) == {f"c{n:03d}" for n in range(8)} - set(names[:3])
    assert found.edited == [names[0]]
    assert found.statuses == [f"{names[2]}: ok here, failed there"]
    assert found.changed == [names[1]]
    assert found.cosines == {names[1]: pytest.approx(cosine, abs=1e-6)}
    told = "\n".join(describe_difference(found))
    for words in ("1 settings differ", "1 only in the second", f"{names[1]}: cosine {cosine:.6f}", "with another status"):
        assert words in told


def test_features_of_another_length_are_not_compared(tmp_path) -> None:
    here = filled(tmp_path / "here", 2)
    there = Store(tmp_path / "there", FINGERPRINT, DIM + 1, "float32")
    fill_with = [clip("c000"), clip("c001")]
    (shard,) = there.plan(fill_with, 2)
    for one in fill_with:
        there.add_row(one, {"status": "ok"}, np.ones(DIM + 1, np.float32))
    there.finish(shard)
    found = compare(here, there)
    assert (found.changed, found.cosines) == (None, None)
    assert "features differ in length and are not compared" in describe_difference(found)


def test_two_snapshots_of_one_store_are_compared(tmp_path) -> None:
    store = filled(tmp_path, 4)
    take_snapshot(store, "one", SILENT)
    fill(store, [clip(f"c{n:03d}") for n in range(1, 5)], 2)
    take_snapshot(store, "two", SILENT)
    found = compare(Store.open(tmp_path, "one"), Store.open(tmp_path, "two"))
    assert (found.only_here, found.only_there, found.changed) == (["c000"], ["c004"], [])
