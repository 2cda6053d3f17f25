"""The whole evaluation, small: what is measured here means nothing, that it is measured whole does."""

import json

import numpy as np
import pytest

from motive.lab.counterfactual import Tuning
from motive.lab.evaluate import BEST, Effort, evaluate
from motive.lab.results import page
from motive.lab.shipped import shipped_model
from motive.lab.suite import SuiteSpec
from motive.progress import Silent

SPEC = SuiteSpec("tiny", 3, 1, 1, 1, 1, 1)
EFFORT = Effort(subsets=4, seeds=2, draws=1, tuning=Tuning(steps=1, batch=2, draws=2), ablations=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    return folder, evaluate(folder, shipped_model(), Silent(), EFFORT, SPEC, ["looks"])


def test_every_row_has_retrieval_and_a_datamodelling_score(measured) -> None:
    _, results = measured
    looks = results["captions"]["looks"]
    assert looks["retrieval"].keys() == looks["lds"].keys()
    assert {"paper", "plain x1", "motion x1", "temporal x1, kernel", "random", "flow histogram"} <= looks["lds"].keys()
    for row in looks["lds"].values():
        assert np.isfinite(row).all()
    assert np.shape(looks["losses"]) == (2, 4, 10)


def test_evaluating_again_measures_nothing_again(measured) -> None:
    folder, results = measured
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.suffix in (".npy", ".mp4", ".safetensors")}
    again = evaluate(folder, shipped_model(), Silent(), EFFORT, SPEC, ["looks"])
    assert again["captions"] == results["captions"]
    assert stamps == {file: file.stat().st_mtime_ns for file in stamps}


def test_the_page_shows_every_row(measured) -> None:
    folder, results = measured
    written = page(json.loads((folder / "results.json").read_text()))
    for row in results["captions"]["looks"]["lds"]:
        assert row in written
    assert BEST in written or BEST not in results["captions"]["looks"]["lds"]
