import json
from dataclasses import asdict, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.evaluation.study.result import study_result
from motive.evaluation.study.sheet import sheet
from motive.evaluation.study.study import TIE, Alteration
from motive.evaluation.study.table import markdown
from motive.evaluation.study.votes import Vote
from tests.evaluation.study.conftest import plain_study

CHECKS = (Alteration.FROZEN, Alteration.IDENTICAL, Alteration.REVERSED, Alteration.FROZEN)


def rate(study, rater: str, answers: str, wrong: int = 0) -> list[Vote]:
    """Votes on the pairs in order, "1" for the first video, "2" for the second, "=" for a tie, "." for none; and on all
    checks, the first `wrong` of them wrongly."""
    votes = []
    for pair, answer in zip(study.pairs, answers, strict=True):
        choice = {"1": pair.videos[0].id, "2": pair.videos[1].id, "=": TIE, ".": None}[answer]
        if choice is not None:
            votes.append(Vote(rater, pair.id, choice, 1))
    for n, check in enumerate(study.checks):
        votes.append(Vote(rater, check.id, check.videos[1].id if n < wrong else check.right, 1))
    return votes


def test_shares_are_those_of_the_votes_and_ties_count_half() -> None:
    study = plain_study(("motive", "base", "random"), prompts=4)
    votes = rate(study, "anna", "11=2" + "1111") + rate(study, "ben", "1==2" + "....")
    result = study_result(study, votes)
    base, random = result.comparisons
    assert (base.first, base.second, base.votes, base.prompts, base.raters) == ("motive", "base", 8, 4, 2)
    assert [share[0] for share in (base.win, base.tie, base.loss, base.preferred)] == [3 / 8, 3 / 8, 2 / 8, 3 / 8 + 3 / 16]
    assert (random.second, random.votes, random.raters, random.win[0], random.loss[0]) == ("random", 4, 1, 1.0, 0.0)
    assert random.win[1] < 1
    assert result.notes[0].startswith("one rater in a comparison")


def test_seeds_of_a_prompt_stand_in_one_cluster() -> None:
    """Eight seeds of one prompt are no eight prompts: with as many votes, the interval is wider."""
    many = plain_study(prompts=8)
    few = plain_study(prompts=2, seeds=4)
    answers = "11112222"
    widths = []
    for study in (many, few):
        votes = [vote for n in range(10) for vote in rate(study, f"r{n}", answers)]
        share = study_result(study, votes).comparisons[0].preferred
        assert share[0] == 0.5
        widths.append(share[2] - share[1])
    assert widths[1] > 1.3 * widths[0]


def test_raters_who_fail_checks_are_listed_and_left_out() -> None:
    study = plain_study(prompts=2, checks=CHECKS)
    votes = []
    for n in range(5):
        votes += rate(study, f"{n} wrong", "11" if n < 2 else "22", wrong=n)
    votes += [vote for vote in rate(study, "none", "22") if vote.pair not in {c.id for c in study.checks}]
    result = study_result(study, votes)
    assert {r.rater: r.left_out for r in result.raters} == {
        "0 wrong": "",
        "1 wrong": "",
        "2 wrong": "2 of 4 attention checks right",
        "3 wrong": "1 of 4 attention checks right",
        "4 wrong": "0 of 4 attention checks right",
        "none": "answered no attention check",
    }
    assert result.comparisons[0].votes == 4
    assert result.comparisons[0].win[0] == 1.0
    assert "75 %" in result.rule
    lenient = study_result(study, votes, checks_right=0.5)
    assert [r.rater for r in lenient.raters if r.left_out] == ["3 wrong", "4 wrong", "none"]
    assert study_result(study, votes, checks_right=0).comparisons[0].raters == 5


@pytest.mark.parametrize(("answered", "right", "threshold"), [(20, 11, 0.55), (10, 7, 0.7), (3, 2, 2 / 3), (5, 3, 0.6)])
def test_a_rater_exactly_at_the_threshold_counts(answered, right, threshold) -> None:
    study = plain_study(prompts=1, checks=(Alteration.FROZEN,) * answered)
    result = study_result(study, rate(study, "anna", "1", wrong=answered - right), threshold)
    assert result.raters[0].left_out == ""
    above = study_result(study, rate(study, "anna", "1", wrong=answered - right), threshold + 1e-9)
    assert above.raters[0].left_out == f"{right} of {answered} attention checks right"


def test_a_study_without_checks_counts_every_rater() -> None:
    study = plain_study(prompts=2)
    result = study_result(study, rate(study, "anna", "1."))
    assert result.raters[0].left_out == ""
    assert "every rater counts" in result.rule


VOTERS = st.dictionaries(st.sampled_from("abcde"), st.text("12=.", min_size=6, max_size=6), min_size=1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(VOTERS, st.randoms(use_true_random=False))
def test_the_order_of_votes_changes_nothing(voters, random) -> None:
    study = plain_study(("a", "b", "c"), prompts=3, checks=CHECKS[:2])
    votes = [vote for rater, answers in voters.items() for vote in rate(study, rater, answers)]
    shuffled = random.sample(votes, len(votes))
    assert study_result(study, shuffled) == study_result(study, votes)
    assert markdown(study_result(study, shuffled)) == markdown(study_result(study, votes))
    json.dumps(asdict(study_result(study, votes)), allow_nan=False)


def test_agreement_is_told_with_what_it_is_of() -> None:
    study = plain_study(prompts=6)
    same = study_result(study, rate(study, "anna", "12=12=") + rate(study, "ben", "12=12=")).agreement
    assert (same.pairs, same.percent, same.nominal, same.ordinal) == (6, 1.0, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    opposed = study_result(study, rate(study, "anna", "121212") + rate(study, "ben", "212121")).agreement
    assert opposed.percent == 0
    assert opposed.ordinal[0] < -0.5
    partly = study_result(study, rate(study, "anna", "121212") + rate(study, "ben", "121=21")).agreement
    assert partly.nominal[1] < partly.nominal[0] < partly.nominal[2]
    near = study_result(study, rate(study, "anna", "121212") + rate(study, "ben", "=2=2=2")).agreement
    assert near.ordinal[0] > near.nominal[0]
    alone = study_result(study, rate(study, "anna", "121212")).agreement
    assert (alone.pairs, alone.percent, alone.nominal) == (0, None, None)
    constant = study_result(study, rate(study, "anna", "111111") + rate(study, "ben", "111111")).agreement
    assert (constant.percent, constant.nominal) == (1.0, None)


def test_who_always_takes_one_side_shows() -> None:
    study = plain_study(prompts=20)
    left = [Vote("anna", s.pair.id, s.sides[0], 1) for s in sheet(study, "anna")]
    assert study_result(study, left).left[0] == 1
    assert study_result(study, rate(study, "anna", "=" * 20)).left is None
    fair = study_result(study, [v for n in range(30) for v in rate(study, f"r{n}", "1" * 20)]).left
    assert fair[1] < 0.5 < fair[2]


def test_votes_on_pairs_that_the_study_lacks_do_not_count() -> None:
    study = plain_study(prompts=2)
    assert study_result(study, [Vote("anna", "0" * 16, "", 1)]).comparisons == ()


def test_no_votes_are_no_error() -> None:
    result = study_result(plain_study(checks=CHECKS), [])
    assert "no votes count yet" in markdown(result)
    assert "no pair was rated twice" in markdown(result)


def test_the_table_is_that_of_papers() -> None:
    study = plain_study(("motive", "base"), prompts=10)
    votes = [v for n in range(10) for v in rate(study, f"r{n:02}", "11111112=2" if n % 2 else "111111111=")]
    lines = markdown(study_result(study, votes)).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][:3]
    row = dict(zip(table[0], table[2], strict=True))
    assert row["comparison"] == "motive against base"
    assert row["win %"].startswith("80.0 [")
    assert row["tie %"].startswith("10.0 [")
    assert row["loss %"].startswith("10.0 [")
    assert row["preferred %"].startswith("85.0 [")
    assert (row["votes"], row["prompts"], row["raters"]) == ("100", "10", "10")


def test_names_from_outside_cannot_shape_the_table() -> None:
    hostile = "a|b <img src=x>\x1b[2J**bold** [x](y)"
    study = replace(plain_study((hostile, "base")), notes=(hostile,), question=hostile)
    text = markdown(study_result(study, rate(study, hostile, "1111")))
    assert "\x1b" not in text
    assert "<img" not in text
    assert "**" not in text.replace("\\*", "")
    rows = [line for line in text.splitlines() if line.startswith("| a")]
    assert len(rows) == 2
    assert all(row.replace("\\|", "").count("|") in (6, 9) for row in rows)
