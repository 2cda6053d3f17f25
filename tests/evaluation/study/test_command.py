"""`motive study ...` as people run it."""

import json

from motive.evaluation.study.sheet import code, sheet
from motive.evaluation.study.study import load_study
from tests.evaluation.study.conftest import ARMS
from tests.test_cli import call


def test_from_samples_to_a_table(samples, tmp_path, capsys) -> None:
    folder, pages = tmp_path / "study", tmp_path / "pages"
    words = ["make", str(samples), str(folder), "--reference", ARMS[0], "--pairs", "2", "--per-rater", "3", "--checks", "1"]
    code_, out, _ = call(capsys, "study", *words, "--check-kind", "reversed", "--question", "Which \x1b[31mone?", "--seed", "4")
    assert code_ == 0
    assert "4 pairs of 2 comparisons and 1 attention checks; a rater gets 4" in out
    assert "\x1b" not in out
    code_, out, _ = call(capsys, "study", "export", str(folder), str(pages), "--rater", "Anna", "--rater", "ben")
    assert code_ == 0
    assert f"{pages}/rater-01.html: for anna" in out
    study = load_study(folder)
    assert study.checks[0].check == "reversed"
    for rater in ("anna", "ben"):
        votes = [
            {"pair": s.pair.id, "choice": s.pair.right if s.pair.check else s.pair.videos[0].id, "at": 1_800_000_000_000 + n}
            for n, s in enumerate(sheet(study, rater))
        ]
        file = tmp_path / f"{rater}.json"
        file.write_text(json.dumps({"study": study.id, "rater": rater, "code": code(study, rater), "votes": votes}))
    code_, out, _ = call(capsys, "study", "import", str(folder), str(tmp_path / "anna.json"), str(tmp_path / "ben.json"))
    assert (code_, out.count("4 new votes of")) == (0, 2)
    code_, out, _ = call(capsys, "study", "result", str(folder))
    assert code_ == 0
    assert f"| {ARMS[0]} against {ARMS[1]} | 100.0 [" in out
    assert (folder / "result.md").read_text() == out
    code_, out, _ = call(capsys, "study", "result", str(folder), "--json", "--checks-right", "1")
    facts = json.loads(out)
    assert facts == json.loads((folder / "result.json").read_text())
    assert sum(row["votes"] for row in facts["comparisons"]) == 6
    assert [rater["right"] for rater in facts["raters"]] == [1, 1]


def test_users_errors_are_one_line(samples, made, tmp_path, capsys) -> None:
    for words, said in (
        (["make", str(tmp_path), str(tmp_path / "s")], "prompts.jsonl"),
        (["make", str(samples), str(made)], "holds a study already"),
        (["serve", str(tmp_path)], "holds no study"),
        (["result", str(tmp_path)], "holds no study"),
        (["export", str(made), str(samples), "--rater", "a"], "not an empty folder"),
        (["import", str(made), str(samples / "prompts.jsonl")], "not a file of votes"),
    ):
        code_, out, err = call(capsys, "study", *words)
        assert (code_, out, err.count("\n")) == (1, "", 1), words
        assert said in err
    assert not (tmp_path / "votes.sqlite").exists()
