"""The suite is what it says: frozen, confounded as far as it tells, and the same on disk as in memory."""

import csv
import functools
import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from motive.errors import ConfigError
from motive.lab.metrics import retrieval
from motive.lab.motions import CARTOON, PHRASES, PHYSICAL
from motive.lab.suite import V1, LabClip, SuiteSpec, plan, plan_digest, write_suite
from motive.lab.world import CAMERA_PHRASES, CAMERAS, COLOURS, FPS, FRAMES, SHAPES, SIZE, Looks, caption, labels, render
from motive.progress import Silent
from motive.video.decode import Sampling, decode
from motive.video.table import ClipTable

LARGE = replace(V1, motion_clips=200, static_clips=200, cartoon_clips=100)
"""Planned only: signatures and looks of many clips, from V1's own draws."""
LITTLE = SuiteSpec("little", motion_clips=1, queries=1, static_clips=1, camera_clips=1, cartoon_clips=1)
CHANCE = 1 / (len(SHAPES) * len(COLOURS))


def worn(looks: Looks) -> tuple[str, str]:
    return looks.shape, looks.colour


@functools.cache
def signatures() -> dict[str, tuple[str, str]]:
    """The shape and colour that most of a motion's clips wear."""
    pool, _ = plan(LARGE)
    by_motion = {motion: Counter(worn(clip.spec.looks) for clip in pool if clip.spec.motion == motion) for motion in PHYSICAL}
    return {motion: counts.most_common(1)[0][0] for motion, counts in by_motion.items()}


def wearing_their_own(clips: list[LabClip]) -> int:
    own = signatures()
    return sum(worn(clip.spec.looks) == own[clip.spec.motion] for clip in clips)


def test_the_first_version_is_frozen() -> None:
    frozen = "b4de4c17f99d6ae49fd020948a9a04e7f7c83461c6d1a70e390dcb057554e162"
    assert plan_digest(V1) == frozen, (
        "motive-lab-v1 shows something else than it did, so no published number belongs to it any more: "
        "undo that, or give the suite a new version, with its own measured effects"
    )
    assert V1.version == "motive-lab-v1"


def test_a_plan_is_the_same_in_any_process() -> None:
    assert plan(V1) == plan(V1)
    code = "from motive.lab.suite import V1, plan; print(plan(V1))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert there.stdout.rstrip("\n") == str(plan(V1))


def test_every_number_of_a_spec_shows_in_its_digest() -> None:
    changes = {
        "seed": 1,
        "motion_clips": 15,
        "queries": 2,
        "static_clips": 19,
        "camera_clips": 9,
        "cartoon_clips": 7,
        "confounded": 0.5,
    }
    assert changes.keys() == asdict(V1).keys() - {"version"}
    digests = {plan_digest(replace(V1, **{name: value})) for name, value in changes.items()}
    assert len(digests | {plan_digest(V1)}) == len(changes) + 1


@pytest.mark.parametrize("spec", [V1, LITTLE, SuiteSpec("uneven", 5, 3, 2, 0, 4, 1)])
def test_there_are_as_many_clips_of_each_kind_as_the_spec_says(spec) -> None:
    pool, queries = plan(spec)
    counts = Counter((clip.spec.motion, clip.spec.camera) for clip in pool)
    expected = dict.fromkeys([(motion, None) for motion in PHYSICAL], spec.motion_clips)
    expected |= dict.fromkeys([(motion, None) for motion in CARTOON], spec.cartoon_clips)
    expected |= dict.fromkeys([("static", camera) for camera in CAMERAS], spec.camera_clips)
    expected |= {("static", None): spec.static_clips}
    assert counts == Counter(expected)
    assert Counter(clip.spec.motion for clip in queries) == dict.fromkeys(PHYSICAL, spec.queries)
    assert {clip.spec.camera for clip in queries} == {None}
    assert {clip.spec.noise for clip in pool + queries} == {0.0}


def test_the_first_version_has_the_numbers_that_its_page_gives() -> None:
    pool, queries = plan(V1)
    assert (len(pool), len(queries)) == (242, 30)
    assert Counter(clip.spec.kind for clip in pool) == {"physical": 160, "static": 20, "camera": 30, "cartoon": 32}


@pytest.mark.parametrize("spec", [V1, LITTLE])
def test_no_two_clips_share_a_name_or_a_seed(spec) -> None:
    pool, queries = plan(spec)
    assert len({clip.name for clip in pool + queries}) == len(pool + queries)
    assert len({clip.seed for clip in pool + queries}) == len(pool + queries)
    assert [clip.name for clip in pool] == sorted(clip.name for clip in pool)


def test_a_name_in_the_pool_tells_nothing_of_the_clip() -> None:
    pool, _ = plan(V1)
    assert [clip.name for clip in pool] == [f"clip_{number:04d}" for number in range(len(pool))]


def test_the_pools_order_is_random_with_respect_to_motion() -> None:
    """Places of each motion, and neighbours that share theirs, stay within four standard deviations of chance."""
    pool, queries = plan(V1)
    motions = [clip.spec.motion for clip in pool]
    count = len(pool)
    for motion in PHYSICAL:
        places = np.flatnonzero(np.array(motions) == motion)
        assert abs(places.mean() - (count - 1) / 2) < 4 * count / np.sqrt(12 * len(places))
    pairs = sum(n * (n - 1) for n in Counter(motions).values()) / count
    neighbours = sum(one == other for one, other in itertools.pairwise(motions))
    assert abs(neighbours - pairs) < 4 * np.sqrt(pairs)

    kinds, wanted = [clip.spec.kind for clip in pool], [clip.spec.motion for clip in queries]
    nothing = retrieval(np.zeros((count, len(queries))), motions, kinds, wanted)
    assert nothing.precision[0] == pytest.approx(V1.motion_clips / count, abs=0.035)
    assert nothing.map[0] == pytest.approx(V1.motion_clips / count, abs=0.03)


def test_the_ten_motions_have_ten_different_signatures() -> None:
    assert len(set(signatures().values())) == len(PHYSICAL) == 10


@pytest.mark.parametrize("spec", [V1, LARGE, replace(LARGE, confounded=0.3)])
def test_as_large_a_share_of_a_motions_clips_wears_its_signature_as_the_spec_says(spec) -> None:
    """By choice, or by chance when the looks were left open; within four standard deviations."""
    clips = [clip for clip in plan(spec)[0] if clip.spec.kind == "physical"]
    share = spec.confounded + (1 - spec.confounded) * CHANCE
    deviation = np.sqrt(share * (1 - share))
    assert abs(wearing_their_own(clips) - share * len(clips)) < 4 * deviation * np.sqrt(len(clips))
    for motion in PHYSICAL:
        own = [clip for clip in clips if clip.spec.motion == motion]
        assert abs(wearing_their_own(own) - share * len(own)) < 4 * deviation * np.sqrt(len(own))


def test_without_confounding_looks_tell_nothing() -> None:
    clips = [clip for clip in plan(replace(LARGE, confounded=0.0))[0] if clip.spec.kind == "physical"]
    assert abs(wearing_their_own(clips) - CHANCE * len(clips)) < 4 * np.sqrt(CHANCE * len(clips))
    others = [clip for clip in plan(replace(LARGE, confounded=1.0))[0] if clip.spec.kind == "physical"]
    assert wearing_their_own(others) == len(others)


def test_controls_wear_every_motions_signature_alike() -> None:
    pool, _ = plan(LARGE)
    counts = Counter(worn(clip.spec.looks) for clip in pool if clip.spec.kind in ("static", "cartoon"))
    total = sum(counts.values())
    share = V1.confounded / len(PHYSICAL) + (1 - V1.confounded) * CHANCE
    for signature in signatures().values():
        assert abs(counts[signature] - share * total) < 4 * np.sqrt(share * (1 - share) * total)


def test_looks_that_no_signature_fixes_are_open() -> None:
    pool, queries = plan(LARGE)
    for clips in (pool, queries * 5):
        for name in ("texture", "size", "background", "light"):
            counts = Counter(getattr(clip.spec.looks, name) for clip in clips)
            expected = len(clips) / len(counts)
            assert len(counts) > 1
            assert max(counts.values()) < 2 * expected


@pytest.mark.parametrize("spec", [V1, LITTLE])
def test_a_query_looks_like_another_motion_than_its_own(spec) -> None:
    owner = {pair: motion for motion, pair in signatures().items()}
    _, queries = plan(spec)
    for clip in queries:
        assert owner[worn(clip.spec.looks)] != clip.spec.motion
    for motion in PHYSICAL:
        assert len({worn(clip.spec.looks) for clip in queries if clip.spec.motion == motion}) == spec.queries
    assert Counter(owner[worn(clip.spec.looks)] for clip in queries) == dict.fromkeys(PHYSICAL, spec.queries)


def test_whoever_looks_at_looks_retrieves_the_wrong_motion() -> None:
    pool, queries = plan(V1)
    motions, kinds = ([getattr(clip.spec, name) for clip in pool] for name in ("motion", "kind"))
    wanted = [clip.spec.motion for clip in queries]
    alike = [[float(worn(clip.spec.looks) == worn(query.spec.looks)) for query in queries] for clip in pool]
    by_looks = retrieval(np.array(alike), motions, kinds, wanted)
    assert by_looks.precision[2] < V1.motion_clips / len(pool)
    owner = {pair: motion for motion, pair in signatures().items()}
    dressed = [owner[worn(query.spec.looks)] for query in queries]
    assert retrieval(np.array(alike), motions, kinds, dressed).precision[0] > 0.4


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    manifests = write_suite(folder, LITTLE, Silent())
    assert manifests == (folder / "pool" / "metadata.csv", folder / "queries" / "metadata.csv")
    return folder


WHICH = pytest.mark.parametrize("which", ["pool", "queries"])


def planned(which: str) -> list[LabClip]:
    return plan(LITTLE)[which == "queries"]


@WHICH
def test_a_suite_is_a_manifest_and_its_files_and_nothing_else(little, which) -> None:
    names = {path.name for path in (little / which).iterdir()}
    assert names == {f"{clip.name}.mp4" for clip in planned(which)} | {"metadata.csv"}
    assert {path.name for path in little.iterdir()} == {"pool", "queries", "suite.json"}


@WHICH
def test_every_clip_is_read_back_from_its_manifest(little, which) -> None:
    table = ClipTable.read(little / which / "metadata.csv")
    assert [clip.name for clip in table] == [f"{clip.name}.mp4" for clip in planned(which)]
    assert [clip.problem for clip in table] == [None] * len(table)
    assert len({clip.id for clip in table}) == len(table)
    assert table.duplicates == ()


@WHICH
def test_a_manifest_says_looks_alone_in_one_caption_and_the_motion_too_in_another(little, which) -> None:
    manifest = little / which / "metadata.csv"
    plain, telling = (ClipTable.read(manifest, columns=columns) for columns in ({}, {"caption": "caption_motion"}))
    for clip, one, other in zip(planned(which), plain, telling, strict=True):
        assert one.caption == caption(clip.spec, names_motion=False)
        assert other.caption == caption(clip.spec, names_motion=True)
        assert PHRASES[clip.spec.motion] in other.caption
        assert PHRASES[clip.spec.motion] not in one.caption
        if clip.spec.camera:
            assert CAMERA_PHRASES[clip.spec.camera] in other.caption


@WHICH
def test_a_manifest_has_every_label(little, which) -> None:
    with (little / which / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for clip, row in zip(planned(which), rows, strict=True):
        told = labels(clip.spec)
        assert told.keys() >= {"motion", "kind", "camera", *asdict(clip.spec.looks)}
        assert {name: row[name] for name in told} == told
        assert row.keys() == {"video", "caption", "caption_motion", *told}


@WHICH
def test_files_show_the_rendered_frames(little, which) -> None:
    """Peak signal-to-noise above 30 dB, which the next clip's frames are far from."""
    table = ClipTable.read(little / which / "metadata.csv")
    shown = [render(clip.seed, clip.spec).frames for clip in planned(which)]
    for n, clip in enumerate(table):
        assert clip.path is not None
        decoded = decode(clip.path, Sampling(FRAMES, FPS, SIZE, SIZE))
        assert decoded.frames.shape == shown[n].shape == (17, 128, 128, 3)
        assert (decoded.source_width, decoded.source_height, decoded.source_fps) == (SIZE, SIZE, FPS)
        assert decoded.source_seconds == pytest.approx(FRAMES / FPS, abs=1e-3)
        assert decoded.repeated == 0
        assert psnr(decoded.frames, shown[n]) > 30
        assert psnr(decoded.frames, shown[n - 1]) < 25


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def test_writing_a_suite_again_renders_nothing(little) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in little.rglob("*")}

    before = times()
    assert write_suite(little, LITTLE, Silent()) == (little / "pool" / "metadata.csv", little / "queries" / "metadata.csv")
    assert times() == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"version": "another"}, {"static_clips": 2}])
def test_another_suite_in_the_same_folder_is_refused(little, change) -> None:
    before = (little / "suite.json").read_bytes()
    with pytest.raises(ConfigError, match="holds another suite; use another folder"):
        write_suite(little, replace(LITTLE, **change), Silent())
    assert (little / "suite.json").read_bytes() == before


def test_an_interrupted_suite_is_finished(tmp_path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "clip_0000.mp4").write_bytes(b"half a file")
    spec = replace(LITTLE, motion_clips=0, camera_clips=0, cartoon_clips=0)
    manifest, _ = write_suite(tmp_path, spec, Silent())
    (clip,) = ClipTable.read(manifest)
    assert clip.path is not None
    assert decode(clip.path, Sampling(FRAMES, FPS, SIZE, SIZE)).frames.shape == (17, 128, 128, 3)
