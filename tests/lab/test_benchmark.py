import json

import numpy as np
import pytest

from motive.errors import ConfigError
from motive.lab.benchmark import judge_method
from motive.lab.shipped import measured_effects
from motive.lab.suite import V1, plan, plan_digest
from motive.progress import Silent

POOL, QUERIES = plan(V1)
draw = np.random.default_rng(0)


def knows_the_motion(pool, pool_captions, queries, query_captions) -> np.ndarray:
    """A method that was told the answer: it checks what it is given, and reads the plan."""
    assert all(path.exists() for path in (*pool, *queries))
    assert (len(pool_captions), len(query_captions)) == (len(pool), len(queries))
    motions = {clip.name: clip.spec.motion for clip in (*POOL, *QUERIES)}
    return np.array([[motions[clip.stem] == motions[query.stem] for query in queries] for clip in pool], float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("suite")


def test_a_method_that_knows_the_motion_finds_it_all_and_predicts_something_of_training(folder) -> None:
    """By the effects of training that ship."""
    found = judge_method(knows_the_motion, folder, measured_effects(), Silent())
    for kind in ("looks", "motion"):
        assert found[kind]["recall"] == (1, 1, 1)
        assert found[kind]["map"] == (1, 1, 1)
    mean, low, _ = found["looks"]["lds"]
    assert 0 < low < mean < 0.9


def test_a_method_that_knows_nothing_predicts_nothing(folder) -> None:
    found = judge_method(
        lambda pool, _, queries, __: draw.normal(size=(len(pool), len(queries))), folder, measured_effects(), Silent()
    )
    for kind in ("looks", "motion"):
        mean, low, high = found[kind]["lds"]
        assert abs(mean) < 0.25
        assert low < 0 < high
        assert found[kind]["precision"][0] < 0.15


def test_measured_effects_judge_a_method_without_training(folder, tmp_path) -> None:
    """Effects made to follow the method exactly: a subset's losses fall with the motion's clips in it."""
    rng = np.random.default_rng(0)
    subsets = [sorted(rng.permutation(len(POOL))[: len(POOL) // 2].tolist()) for _ in range(8)]
    same = np.array([[clip.spec.motion == query.spec.motion for query in QUERIES] for clip in POOL])
    losses = np.array([np.exp(-0.01 * same[chosen].sum(axis=0)) for chosen in subsets])
    effects = {"subsets": subsets, "base": [1.0] * len(QUERIES), "losses": [losses.tolist(), losses.tolist()]}
    file = tmp_path / "effects.json"
    file.write_text(json.dumps({"plan": plan_digest(V1), "captions": {"looks": effects}}))
    found = judge_method(knows_the_motion, folder, file, Silent())
    assert found["looks"]["lds"][0] == pytest.approx(1, abs=0.01)  # rounding breaks ties
    assert found["motion"]["lds"] == "not measured"
    file.write_text(json.dumps({"plan": "another", "captions": {}}))
    with pytest.raises(ConfigError, match="another suite"):
        judge_method(knows_the_motion, folder, file, Silent())


def test_scores_of_the_wrong_shape_are_refused(folder) -> None:
    with pytest.raises(ConfigError, match="shape"):
        judge_method(lambda *_: np.zeros((3, 3)), folder, measured_effects(), Silent())
