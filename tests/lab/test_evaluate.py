"""The whole evaluation, small: what is measured here means nothing, that it is measured whole does."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from motive.lab import frontier, masks
from motive.lab.counterfactual import Tuning
from motive.lab.evaluate import BEST, Effort, effects_of_halves, evaluate
from motive.lab.inputs import lab_config, read_inputs
from motive.lab.metrics import Judge
from motive.lab.results import page
from motive.lab.rows import score_rows
from motive.lab.shipped import shipped_model
from motive.lab.suite import SuiteSpec, plan
from motive.progress import Silent
from motive.verbs import index, score

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


@pytest.mark.parametrize(
    ("row", "sections"),
    [
        ("paper", {"preset": "paper"}),
        ("motion x1, kernel", {"gradients": {"sigmas": [0.75], "dim": 2048}, "influence": {"hessian": "kernel"}}),
        (
            "temporal attention x1, kernel",
            {
                "gradients": {
                    "sigmas": [0.75],
                    "dim": 2048,
                    "weighting": "queries",
                    "error": "temporal",
                    "parameters": ["*.attn1.*"],
                },
                "influence": {"hessian": "kernel"},
            },
        ),
        ("plain to motion x1", {"gradients": {"sigmas": [0.75], "dim": 2048, "weighting": "queries"}}),
    ],
)
def test_the_lab_scores_what_the_product_computes(measured, tmp_path, row, sections) -> None:
    """Through files, store and `motive score`, in other processes with other threads: the same to rounding and float16."""
    folder, _ = measured
    manifests = [folder / "suite" / which / "metadata.csv" for which in ("pool", "queries")]
    config = lab_config(tmp_path / "run", *manifests, shipped_model(), **sections)
    index(config)
    scores = score(config)
    pool, queries = read_inputs(config, plan(SPEC), Silent())
    expected = score_rows(pool, queries, str(shipped_model()), folder / "looks" / "draws", 1, 1, Silent())[row]
    rows = [[clip.name for clip in pool.clips].index(Path(name).stem) for name in scores.clips["name"].to_pylist()]
    columns = [[clip.name for clip in queries.clips].index(Path(query["name"]).stem) for query in scores.queries]
    expected = expected[np.ix_(rows, columns)]
    tolerance = 0.1 if row == "paper" else 2e-3 * abs(expected).max()
    assert abs(scores.influence - expected).max() < tolerance
    assert np.corrcoef(scores.influence.ravel(), expected.ravel())[0, 1] > (0.98 if row == "paper" else 0.9999)


# Of four subsets a resampled score can be exactly zero, and the ratio of two then has no value.
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_cheaper_attribution_costs_is_measured_whole(measured, tmp_path) -> None:
    folder, results = measured
    manifests = [folder / "suite" / which / "metadata.csv" for which in ("pool", "queries")]
    config = lab_config(tmp_path / "run", *manifests, shipped_model())
    fewer = config.video.model_copy(update={"frames": frontier.FEW_FRAMES})
    short = config.model_copy(update={"out": tmp_path / "short", "video": fewer})
    (pool, queries), few = (read_inputs(each, plan(SPEC), Silent()) for each in (config, short))
    judge = Judge(pool, queries, *effects_of_halves(results["captions"]["looks"], len(pool)))
    found = frontier.measure(judge, few, shipped_model(), tmp_path / "draws", 1, 2, Silent())
    parts = found["parts"]
    assert parts.keys() == {"all parameters", *frontier.WAYS}
    assert all(
        row["cost"] > 0 and np.isfinite([row["spearman"], *row["lds"], *row["precision"]]).all() for row in parts.values()
    )
    # Fewer blocks, other scores; and what is kept in a byte a number hardly differs.
    assert 0.2 < parts["the last 4 of 6 blocks"]["spearman"] < 0.999
    assert found["storage"]["2048 x int8"]["lds"] == pytest.approx(found["storage"]["2048 x float32"]["lds"], abs=0.2)
    assert [row["coarse"] for row in found["cascade"]] == list(frontier.WAYS)
    assert all(value is None or 0 <= value <= 1 for row in found["cascade"] for value in row["recall"].values())
    assert "## Cheaper attribution" in page(results | {"frontier": found})


def test_a_score_finds_its_own_best_tenth_in_any_shortlist(measured) -> None:
    clips = plan(SPEC)[1]
    scores = np.random.default_rng(0).standard_normal((60, len(clips)))
    judge = SimpleNamespace(queries=SimpleNamespace(clips=clips))
    assert frontier._recall(scores, scores, judge, 0.3) == 1
    assert frontier._recall(scores, -scores, judge, 0.3) == 0


# As above: of four subsets a score may have no spread.
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_masks_are_measured_against_the_truth_and_by_what_they_find(measured, tmp_path) -> None:
    folder, results = measured
    manifests = [folder / "suite" / which / "metadata.csv" for which in ("pool", "queries")]
    pool, queries = read_inputs(lab_config(tmp_path / "run", *manifests, shipped_model()), plan(SPEC), Silent())
    judge = Judge(pool, queries, *effects_of_halves(results["captions"]["looks"], len(pool)))
    some = {name: masks.MASKS[name] for name in ("dis, default", "dis, dilated by 4 px", "true displacement, binary")}
    found = masks.what_they_find(judge, shipped_model(), tmp_path / "draws", 1, 2, Silent(), some)
    assert found.keys() == some.keys()
    assert found["dis, default"]["over default"] == (0, 0, 0)
    assert all(np.isfinite([*row["both"]["lds"], *row["best"]["precision"]]).all() for row in found.values())
    assert len({row["both"]["lds"] for row in found.values()}) > 1
    truth, still = masks.against_truth(3), masks.without_motion(2)
    for name in masks.SEEN_BY:
        # Half of the picture is nothing but noise to DIS; dropping what is unseen brings the moving region back.
        assert truth[name]["noise, noise dropped"]["iou"] > truth[name]["noise"]["iou"]
        assert still[name]["still, noise 12"] == 1
    assert "## Masks" in page(results | {"masks": {"truth": truth, "still": still, "found": found}})
