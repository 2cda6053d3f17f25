import json

import pytest

from motive.errors import StudyError
from motive.evaluation.study.samples import PROMPT_LIMIT, read_samples
from tests.evaluation.study.conftest import ARMS, HOSTILE


def test_arms_prompts_and_seeds_come_from_names_and_all_else_is_told(samples) -> None:
    read = read_samples(samples)
    assert read.prompts == {id: text.strip() for id, text in HOSTILE.items()}
    assert set(read.videos) == set(ARMS)
    assert {("markup", 0), ("markup", 1), ("plain", 0)} <= read.videos[ARMS[0]].keys()
    assert ("plain", 1) not in read.videos[ARMS[2]]
    assert read.left_out == (
        "okapi-base/notes-x.mp4: is not named <prompt id>-<seed>",
        "okapi-base/unknown-3.mp4: prompts.jsonl has no id 'unknown'",
    )


def layout(folder, prompts: str, *files: str):
    folder.mkdir()
    if prompts:
        (folder / "prompts.jsonl").write_text(prompts)
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


def line(**values) -> str:
    return json.dumps(values) + "\n"


GOOD = line(id="a-b", prompt="p")


@pytest.mark.parametrize(
    ("prompts", "files", "said"),
    [
        ("", ["x/a-b-0.mp4", "y/a-b-0.mp4"], "prompts.jsonl: no such file"),
        ("not json\n", ["x/a-b-0.mp4", "y/a-b-0.mp4"], "line 1: is not JSON"),
        (line(id="a", text="p"), [], "line 1: has no text under 'prompt'"),
        (line(id=3, prompt="p"), [], "has no text under 'id'"),
        (line(id="a\x1b", prompt="p"), [], "do not print"),
        (line(id="", prompt="p"), [], "its id is empty"),
        (line(id="a", prompt="  "), [], "its prompt has 0 characters"),
        (line(id="a", prompt="p" * (PROMPT_LIMIT + 1)), [], "its prompt has 4,001 characters"),
        (GOOD + GOOD, [], "stands twice"),
        (GOOD, ["x/a-b-0.mp4"], "found 1 arms"),
        (GOOD, ["x/a-b-0.mp4", "y/a-b.mp4"], "found 1 arms"),
        (GOOD, ["x/a-b-0.mp4", "y\x1b[31m/a-b-0.mp4"], "'y [31m' needs a name"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(tmp_path, prompts, files, said) -> None:
    with pytest.raises(StudyError) as told:
        read_samples(layout(tmp_path / "samples", prompts, *files))
    assert said in str(told.value)
    assert str(told.value).isprintable()


def test_ids_may_hold_hyphens_and_seeds_are_numbers(tmp_path) -> None:
    folder = layout(tmp_path / "samples", GOOD, "x/a-b-07.mp4", "y/a-b-7.mp4", "y/a-b-7.webm", "y/a-b--1.mp4", "y/a-b-٣.mp4")
    read = read_samples(folder)
    assert set(read.videos["x"]) == set(read.videos["y"]) == {("a-b", 7)}
    assert read.left_out == (
        "y/a-b--1.mp4: prompts.jsonl has no id 'a-b-'",
        "y/a-b-7.webm: the same prompt and seed as a-b-7.mp4",
        "y/a-b-٣.mp4: is not named <prompt id>-<seed>",
    )


def test_a_missing_folder_is_told(tmp_path) -> None:
    with pytest.raises(StudyError, match="no such folder"):
        read_samples(tmp_path / "nowhere")
