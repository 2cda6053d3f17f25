"""The experiment from a small suite to its page."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from motive.errors import ConfigError, StoreError
from motive.files import read_jsonl
from motive.lab.arms import OWN, SHARED, Effort
from motive.lab.experiment import check_settings, experiment, write_prompts
from motive.lab.experiment_page import page
from motive.lab.shipped import shipped_model
from motive.lab.suite import V1, SuiteSpec, plan
from motive.lab.world import caption
from motive.progress import Silent

SPEC = SuiteSpec("small", 5, motion_clips=1, queries=1, static_clips=2, camera_clips=0, cartoon_clips=0)
EFFORT = Effort(motions=("swing",), seeds=(0, 1), steps=1, prompts=2, sampling=2)


def test_the_experiment_goes_from_a_suite_to_a_page_and_is_not_done_twice(tmp_path) -> None:
    found = experiment(tmp_path, shipped_model(), Silent(), SPEC, EFFORT)
    assert set(found["arms"]) == {*SHARED, *OWN}
    for arm, measured in found["arms"].items():
        assert measured["right"]["n"] == 2 * 2, arm
        assert np.isclose(sum(measured["seen"].values()), 1)
    assert set(found["motive less"]) == {*SHARED, *OWN} - {"motive"}
    steps = [json.loads(file.read_text())["steps"] for file in tmp_path.glob("*/arms/*/arm.json")]
    assert set(steps) == {1}
    # full, random and magnitude once a seed; four arms for each motion and seed.
    assert len(steps) == 3 * 2 + 4 * 2
    chosen = {(tmp_path / "shared" / "baselines" / f"random-{seed}" / "selection.jsonl").read_text() for seed in EFFORT.seeds}
    assert len(chosen) == 2
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.mp4")}
    again = experiment(tmp_path, shipped_model(), Silent(), SPEC, EFFORT)
    assert again["arms"] == found["arms"]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.mp4")} == before
    text = page(found, "# Training on what is chosen\n\nold\n\n## What this says\n\nkept\n")
    assert "| **Motive** |" in text
    with pytest.raises(ConfigError, match="not overwritten"):
        page(found, "# Results in the lab\n")
    assert text.endswith("## What this says\n\nkept\n")


def test_other_settings_in_the_same_folder_are_refused(tmp_path) -> None:
    (tmp_path / "shared" / "samples" / "base").mkdir(parents=True)
    (tmp_path / "shared" / "samples" / "base" / "seen.json").write_text("{}")
    check_settings(tmp_path / "empty", shipped_model(), SPEC, EFFORT)
    shutil.copy(tmp_path / "empty" / "made.json", tmp_path)
    check_settings(tmp_path, shipped_model(), SPEC, replace(EFFORT, motions=("fall",), seeds=(3,)))
    with pytest.raises(StoreError, match="steps"):
        check_settings(tmp_path, shipped_model(), SPEC, replace(EFFORT, steps=2))


def test_a_motion_that_there_is_not_is_told(tmp_path) -> None:
    with pytest.raises(ConfigError, match="falling"):
        experiment(tmp_path, shipped_model(), Silent(), SPEC, replace(EFFORT, motions=("falling",)))


def test_prompts_name_looks_that_no_clip_has(tmp_path) -> None:
    prompts = {row["prompt"] for row in read_jsonl(write_prompts(tmp_path / "prompts.jsonl", V1, 50))}
    assert len(prompts) == 50
    assert not prompts & {caption(clip.spec, False) for clips in plan(V1) for clip in clips}
