import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.errors import StudyError
from motive.evaluation.study.export import export_study, import_votes
from motive.evaluation.study.page import page, policy
from motive.evaluation.study.sheet import code, sheet
from motive.evaluation.study.study import TIE, load_study
from motive.evaluation.study.votes import Votes
from tests.evaluation.study.conftest import ARMS, plain_study


@pytest.fixture(scope="module")
def pages(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages") / "out"
    study = load_study(made)
    return study, out, export_study(study, made, out, ["Anna", "<b>Ben</b> </script>"])


def data_of(file) -> dict:
    text = file.read_text()
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_no_file_names_an_arm_a_kind_of_check_or_a_source(pages) -> None:
    study, out, _ = pages
    files = [file for file in out.rglob("*") if file.is_file()]
    assert {file.name for file in out.iterdir()} == {"rater-01.html", "rater-02.html", "media"}
    assert len(files) == 2 + len(
        {id for name in ("anna", "<b>ben</b> </script>") for s in sheet(study, name) for id in s.sides}
    )
    for file in files:
        for secret in (*ARMS, "frozen", "identical", "original", "reversed", *study.files.values()):
            assert secret not in file.name
            assert secret.encode() not in file.read_bytes()
        assert re.fullmatch(r"rater-\d\d\.html|[0-9a-f]{16}\.mp4", file.name)


def test_each_page_holds_its_raters_sheet_and_proof(pages) -> None:
    study, _, done = pages
    for exported in done:
        data = data_of(exported.page)
        assert data["rater"] == exported.rater
        assert data["code"] == code(study, exported.rater)
        assert [(e["pair"], tuple(e["videos"])) for e in data["sheet"]] == [
            (s.pair.id, s.sides) for s in sheet(study, exported.rater)
        ]
        assert "seed" not in data


def test_text_from_outside_cannot_leave_the_pages_data(pages) -> None:
    _, _, done = pages
    for exported in done:
        text = exported.page.read_text()
        assert "<img src=x" not in text
        assert "<b>ben" not in text
        assert text.count("</script>") == 2
        assert text.count("<script") == 2


def test_the_policy_names_the_very_style_and_script_of_the_page() -> None:
    import base64
    import hashlib

    text = page({"study": "s", "question": "q", "pairs": 1}, served=False)
    for tag, part in (("style", "style-src"), ("script", "script-src")):
        body = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[-1]
        hashed = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{part} 'sha256-{hashed}'" in policy(served=False)
        assert f"{part} 'sha256-{hashed}'" in policy(served=True)
    assert "style=" not in text
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize("raters", [[], ["anna", "ANNA"], ["a\x1b"], [""]])
def test_names_must_be_names_and_stand_once(made, tmp_path, raters) -> None:
    with pytest.raises(StudyError):
        export_study(load_study(made), made, tmp_path / "out", raters)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(made, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match="not an empty folder"):
        export_study(load_study(made), made, tmp_path, ["anna"])
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


STUDY = plain_study(prompts=3)
SHEET = sheet(STUDY, "anna")
GOOD = {
    "study": STUDY.id,
    "rater": "anna",
    "code": code(STUDY, "anna"),
    "votes": [
        {"pair": SHEET[0].pair.id, "choice": SHEET[0].sides[0], "at": 1_800_000_000_000},
        {"pair": SHEET[1].pair.id, "choice": TIE, "at": 1_800_000_000_001},
    ],
}


def written(tmp_path, value: object):
    file = tmp_path / "votes.json"
    file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return file


def test_a_file_of_votes_is_read_once_and_an_older_one_takes_nothing_back(tmp_path) -> None:
    newer = GOOD | {"votes": [{"pair": SHEET[0].pair.id, "choice": SHEET[0].sides[1], "at": 1_800_000_000_009}]}
    with Votes(tmp_path) as votes:
        for value, new in ((GOOD, 2), (GOOD, 0), (newer, 1), (GOOD, 0)):
            assert import_votes(STUDY, votes, written(tmp_path, value)) == ("anna", new)
        assert {v.pair: v.choice for v in votes.latest()} == {SHEET[0].pair.id: SHEET[0].sides[1], SHEET[1].pair.id: TIE}


def bad_vote(**changes: object) -> dict:
    return GOOD | {"votes": [GOOD["votes"][1], GOOD["votes"][0] | changes]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not a file of votes"),
        (b"{" * 100_000, "not a file of votes"),
        (b"\xff\xfe", "not a file of votes"),
        ([GOOD], "not a file of votes"),
        ({key: GOOD[key] for key in ("study", "rater", "code")}, "not a file of votes"),
        (GOOD | {"more": 1}, "not a file of votes"),
        (GOOD | {"study": "0" * 16}, "votes of another study"),
        (GOOD | {"rater": "ben"}, "its code is not that of the rater 'ben'"),
        (GOOD | {"rater": "\x1b"}, "a rater's name"),
        (GOOD | {"code": ""}, "its code is not"),
        (bad_vote(pair="0" * 16), "vote 2 is for a pair or video that 'anna' was not shown"),
        (bad_vote(choice=SHEET[1].sides[0]), "vote 2 is for a pair or video"),
        (bad_vote(at=1), "not a file of votes"),
        (bad_vote(at=2**70), "not a file of votes"),
        (bad_vote(at="1800000000000"), "not a file of votes"),
        (bad_vote(choice=None), "not a file of votes"),
    ],
)
def test_a_file_with_anything_wrong_changes_nothing(tmp_path, value, said) -> None:
    with Votes(tmp_path) as votes:
        with pytest.raises(StudyError) as told:
            import_votes(STUDY, votes, written(tmp_path, value))
        assert said in str(told.value)
        assert votes.latest() == []


def test_a_huge_and_a_missing_file_are_told(tmp_path) -> None:
    with Votes(tmp_path) as votes:
        with (tmp_path / "huge.json").open("wb") as file:
            file.truncate(1 << 25)
        with pytest.raises(StudyError, match="33,554,432 bytes"):
            import_votes(STUDY, votes, tmp_path / "huge.json")
        with pytest.raises(StudyError, match="No such file"):
            import_votes(STUDY, votes, tmp_path / "missing.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "pair", "choice", "at"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(list(GOOD)), JSON, min_size=1, max_size=2))
def test_whatever_a_file_says_it_is_read_or_refused_in_words(tmp_path, changes) -> None:
    with Votes(tmp_path) as votes:
        try:
            import_votes(STUDY, votes, written(tmp_path, GOOD | changes))
        except StudyError:
            return
        assert all(v.pair in STUDY.by_id for v in votes.latest())
