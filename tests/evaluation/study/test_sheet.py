from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motive.errors import StudyError
from motive.evaluation.study.sheet import code, rater_name, sheet, sheet_data
from motive.evaluation.study.study import Alteration
from tests.evaluation.study.conftest import plain_study

KINDS = tuple(Alteration)
NAMES = st.text(min_size=1, max_size=8)


@given(seed=st.integers(0, 2**53), rater=NAMES, prompts=st.integers(1, 12), checks=st.integers(0, 6))
def test_a_rater_gets_every_pair_and_check_once_with_checks_spread(seed, rater, prompts, checks) -> None:
    study = plain_study(prompts=prompts, checks=tuple(KINDS[n % 3] for n in range(checks)), seed=seed)
    shown = sheet(study, rater)
    assert Counter(s.pair.id for s in shown) == Counter(study.by_id.keys())
    assert all(set(s.sides) == {video.id for video in s.pair.videos} for s in shown)
    # Before the n-th of C checks stand at least (n - 1) / C and at most n / C of the pairs.
    pairs = 0
    done = 0
    for entry in shown:
        if entry.pair.check:
            done += 1
            assert (done - 1) * prompts // checks <= pairs <= done * prompts // checks
        else:
            pairs += 1


@given(rater=NAMES, prompts=st.integers(2, 9), per_rater=st.integers(1, 20))
def test_a_rater_with_fewer_pairs_gets_the_comparisons_alike(rater, prompts, per_rater) -> None:
    study = plain_study(("a", "b", "c", "d"), prompts=prompts, per_rater=per_rater, checks=KINDS)
    shown = [s.pair for s in sheet(study, rater) if not s.pair.check]
    assert len(sheet(study, rater)) == study.sheet_size == min(per_rater, 3 * prompts) + 3
    each = Counter(pair.videos[1].arm for pair in shown)
    assert len({pair.id for pair in shown}) == len(shown)
    assert max(each.values()) - min(each[arm] for arm in "bcd") <= 1


def test_order_and_sides_follow_from_seed_and_name_alone() -> None:
    study = plain_study(prompts=20)
    assert sheet(study, "anna") == sheet(plain_study(prompts=20), "anna")
    assert sheet(study, "anna") != sheet(study, "ben")
    assert sheet(study, "anna") != sheet(plain_study(prompts=20, seed=6), "anna")
    orders = [[s.pair.id for s in sheet(study, name)] for name in ("anna", "ben")]
    assert orders[0] != orders[1]


def test_sides_and_places_are_fair() -> None:
    study = plain_study(prompts=20, checks=(Alteration.FROZEN,))
    left, first, check_places = 0, Counter(), set()
    raters = 200
    for n in range(raters):
        shown = sheet(study, f"rater {n}")
        left += sum(s.sides[0] == s.pair.videos[0].id for s in shown)
        first[shown[0].pair.prompt] += 1
        check_places.add(next(place for place, s in enumerate(shown) if s.pair.check))
    sides = raters * 21
    assert abs(left / sides - 0.5) < 4 * 0.5 / sides**0.5
    assert max(first.values()) < 30
    assert len(check_places) > 15


def test_a_shares_pairs_are_fair_too() -> None:
    study = plain_study(prompts=10, per_rater=3)
    shown = Counter(s.pair.id for n in range(400) for s in sheet(study, f"rater {n}"))
    assert len(shown) == 10
    assert all(abs(times - 120) < 5 * 9.2 for times in shown.values())


def test_the_page_learns_neutral_ids_and_the_text_alone() -> None:
    study = plain_study(("arm-x", "arm-y"), checks=KINDS)
    for entry in sheet_data(study, "anna"):
        assert set(entry) == {"pair", "prompt", "videos"}
    assert "arm-" not in str(sheet_data(study, "anna"))


@given(text=st.text(max_size=80))
def test_a_name_is_one_printable_line_however_it_is_spelt(text) -> None:
    try:
        name = rater_name(text)
    except StudyError:
        return
    assert name.isprintable()
    assert name.strip()
    assert len(name) <= 60
    assert rater_name(f"  {text} ") == name


def test_case_spaces_and_widths_do_not_make_another_rater() -> None:
    assert rater_name(" Anna   Maria ") == rater_name("anna maria") == rater_name("ＡＮＮＡ maria") == "anna maria"


@pytest.mark.parametrize("name", ["", "  ", "a" * 61, "a\x1b[0m", "a\u202eb", "\ud800", None, 3])
def test_no_name_is_told(name) -> None:
    with pytest.raises(StudyError, match="1 to 60 characters"):
        rater_name(name)


def test_codes_differ_between_raters_seeds_and_studies() -> None:
    study = plain_study()
    codes = {code(study, "anna"), code(study, "ben"), code(plain_study(seed=6), "anna"), code(plain_study(prompts=5), "anna")}
    assert len(codes) == 4
    assert code(plain_study(), "anna") in codes
