"""VBench's results are read strictly, and it runs as a program of its own."""

import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motive.errors import ConfigError, EvaluationError
from motive.evaluation.measure import Measurement
from motive.evaluation.official import measure_officially
from motive.evaluation.section import OfficialSection
from motive.evaluation.study.samples import Samples
from motive.evaluation.vbench import DIMENSIONS, read_results
from motive.progress import Silent

NAMES = ("000000.mp4", "000001.mp4")
TWO = ("subject_consistency", "dynamic_degree")


def good(names=NAMES) -> dict:
    videos = [{"video_path": f"/some/where/{name}", "video_results": 0.5, "more": [1]} for name in names]
    moving = [{"video_path": name, "video_results": n == 0} for n, name in enumerate(names)]
    return {"subject_consistency": [0.5, videos], "dynamic_degree": [0.5, moving]}


def written(folder: Path, held, name: str = "results.json") -> Path:
    file = folder / name
    file.write_text(held if isinstance(held, str) else json.dumps(held))
    return file


def test_good_results_are_read(tmp_path) -> None:
    scores, numbers = read_results(written(tmp_path, good()), TWO, NAMES)
    assert scores == {"subject_consistency": 0.5, "dynamic_degree": 0.5}
    assert numbers["dynamic_degree"] == {NAMES[0]: 1.0, NAMES[1]: 0.0}
    imaging = {"imaging_quality": [0.6, [{"video_path": name, "video_results": 60.0} for name in NAMES]]}
    scores, numbers = read_results(written(tmp_path, imaging), ("imaging_quality",), NAMES)
    assert numbers["imaging_quality"][NAMES[0]] == pytest.approx(scores["imaging_quality"])


SPOILT = {
    "another dimension": lambda held: held.update(color=[1, []]),
    "a dimension too few": lambda held: held.pop("dynamic_degree"),
    "no list": lambda held: held.update(dynamic_degree={"a": 1}),
    "no videos": lambda held: held.update(dynamic_degree=[0.5, []]),
    "a video too few": lambda held: held["dynamic_degree"][1].pop(),
    "a video twice": lambda held: held["dynamic_degree"][1].append(held["dynamic_degree"][1][0]),
    "another video": lambda held: held["dynamic_degree"][1][0].update(video_path="/etc/passwd"),
    "no path": lambda held: held["dynamic_degree"][1][0].pop("video_path"),
    "no number": lambda held: held["dynamic_degree"][1][0].update(video_results=None),
    "a text": lambda held: held["dynamic_degree"][1][0].update(video_results="0.5"),
    "not a number": lambda held: held["dynamic_degree"][1][0].update(video_results=math.nan),
    "endless": lambda held: held.update(dynamic_degree=[math.inf, held["dynamic_degree"][1]]),
    "too large": lambda held: held["subject_consistency"][1][0].update(video_results=1.5),
    "far too large": lambda held: held["subject_consistency"][1][0].update(video_results=10**400),
    "negative": lambda held: held["subject_consistency"][1][0].update(video_results=-0.5),
}


@pytest.mark.parametrize("what", SPOILT)
def test_anything_else_is_refused(tmp_path, what) -> None:
    held = good()
    SPOILT[what](held)
    with pytest.raises(EvaluationError, match=r"results\.json"):
        read_results(written(tmp_path, held), TWO, NAMES)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 1}', "[" * 100_000, "\x00", "1e999", '"\ud800"'])
def test_what_is_no_json_object_is_refused(tmp_path, text) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(EvaluationError, match=r"results\.json"):
        read_results(file, TWO, NAMES)
    with pytest.raises(EvaluationError, match="wrote no results"):
        read_results(tmp_path / "none.json", TWO, NAMES)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*TWO, "video_path", "video_results"]) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(anything)
def test_no_json_makes_it_fail_otherwise(tmp_path_factory, held) -> None:
    """Whatever the file holds: results as promised, or an EvaluationError on one printable line."""
    file = written(tmp_path_factory.getbasetemp(), held, "any.json")
    try:
        scores, numbers = read_results(file, TWO, NAMES)
    except EvaluationError as error:
        assert str(error).isprintable()
    else:
        assert set(scores) == set(numbers) == set(TWO)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1))
def test_numbers_come_back_as_they_were(tmp_path_factory, values, score) -> None:
    videos = [{"video_path": f"x\\{name}", "video_results": value} for name, value in zip(NAMES, values, strict=True)]
    file = written(tmp_path_factory.getbasetemp(), {"motion_smoothness": [score, videos]}, "numbers.json")
    scores, numbers = read_results(file, ("motion_smoothness",), NAMES)
    assert scores == {"motion_smoothness": score}
    assert list(numbers["motion_smoothness"].values()) == values


STANDS_IN = '''"""What VBench's package gives to the driver, in an environment that has neither it nor torch."""
import json, os, sys
class VBench:
    def __init__(self, device, info, output):
        self.output = output
    def evaluate(self, videos_path, name, prompt_list, dimension_list, mode, **more):
        assert mode == "custom_input" and os.environ.get("PYTHONPATH") is None
        videos = sorted(os.listdir(videos_path))
        assert sorted(prompt_list) == videos
        {body}
        found = {{d: [0.25, [{{"video_path": os.path.join(videos_path, v), "video_results": 0.25}} for v in videos]]
                  for d in dimension_list}}
        with open(os.path.join(self.output, name + "_eval_results.json"), "w") as file:
            json.dump(found, file)
'''


def environment(folder: Path, body: str = "pass") -> Path:
    """A Python whose `vbench` and `torch` are ours: the driver, the process and its files are real."""
    packages = folder / "packages"
    packages.mkdir(parents=True)
    (packages / "vbench.py").write_text(STANDS_IN.format(body=body))
    (packages / "torch.py").write_text("def device(name): return name\n")
    python = folder / "python"
    start = f"import sys, runpy; sys.path.insert(0, {str(packages)!r}); sys.argv = sys.argv[1:]; "
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -c "{start}" "$@"\n')
    python.chmod(0o755)
    return python


def two_arms(folder: Path) -> tuple[Samples, list[Measurement]]:
    prompts = {"p": 'a "quoted"; $(touch pwned) prompt'}
    found, videos = [], {}
    for arm in ("base", "../évil"):
        file = folder / f"{len(videos)}.mp4"
        file.write_bytes(b"")
        videos[arm] = {("p", 0): file}
        found.append(Measurement(arm, arm, 0, "p", 0, file, {"mean_motion": 1.0}))
    return Samples(prompts, videos, (), {}), found


def test_vbench_runs_in_its_own_environment_for_each_arm(tmp_path) -> None:
    samples, found = two_arms(tmp_path)
    section = OfficialSection(python=environment(tmp_path / "env"), dimensions=TWO)
    scores, more, metrics = measure_officially(section, samples, found, tmp_path / "official", Silent())
    assert scores == {"dimensions": list(TWO), "arms": {arm: dict.fromkeys(TWO, 0.25) for arm in samples.videos}}
    assert more[0].values == {"mean_motion": 1.0, "vbench:subject_consistency": 0.25, "vbench:dynamic_degree": 0.25}
    assert [metric.name for metric in metrics] == ["vbench:subject_consistency", "vbench:dynamic_degree"]
    assert all(place.parent == tmp_path / "official" for place in (tmp_path / "official").iterdir())
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit('no \\x1b[31mGPU')", "no  .31mGPU"),
        ("import time; time.sleep(60)", "more than"),
        ("return", "wrote no results"),
        ("videos = videos * 2", "second time"),
    ],
)
def test_a_vbench_that_fails_is_told(tmp_path, body, said) -> None:
    samples, found = two_arms(tmp_path)
    seconds = 1.5 if "sleep" in body else 60
    section = OfficialSection(python=environment(tmp_path / "env", body), dimensions=TWO, seconds=seconds)
    with pytest.raises(EvaluationError, match=said):
        measure_officially(section, samples, found, tmp_path / "official", Silent())


def test_settings_that_cannot_work_are_told(tmp_path) -> None:
    samples, found = two_arms(tmp_path)
    for section, said in (
        (OfficialSection(), "give the Python"),
        (OfficialSection(python=tmp_path / "none"), "no such file"),
        (OfficialSection(python=Path(sys.executable), dimensions=("color",)), f"computes {next(iter(DIMENSIONS))}"),
    ):
        with pytest.raises(ConfigError, match=said):
            measure_officially(section, samples, found, tmp_path / "official", Silent())
