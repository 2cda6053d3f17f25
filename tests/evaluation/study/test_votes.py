import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motive.errors import StudyError
from motive.evaluation.study.votes import Vote, Votes


def test_the_last_vote_on_a_pair_counts_and_the_others_are_kept(tmp_path) -> None:
    with Votes(tmp_path) as votes:
        assert votes.enrol("anna")
        assert not votes.enrol("anna")
        for choice in ("x", "", "y"):
            votes.cast("anna", "p", choice)
        votes.cast("anna", "q", "")
        assert [(v.pair, v.choice) for v in votes.latest("anna")] == [("p", "y"), ("q", "")]
        assert votes.latest("ben") == []
    table = sqlite3.connect(tmp_path / "votes.sqlite")
    assert [row[0] for row in table.execute("SELECT choice FROM votes WHERE pair = 'p' ORDER BY at")] == ["x", "", "y"]
    assert table.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    table.close()


def test_a_clock_set_back_does_not_bring_an_old_vote_back(tmp_path, monkeypatch) -> None:
    with Votes(tmp_path) as votes:
        votes.enrol("anna")
        votes.cast("anna", "p", "old")
        monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
        votes.cast("anna", "p", "new")
        assert votes.latest()[0].choice == "new"


def test_many_raters_at_once_lose_nothing(tmp_path) -> None:
    with Votes(tmp_path) as here, Votes(tmp_path) as there, ThreadPoolExecutor(8) as pool:

        def rate(n: int) -> None:
            votes = here if n % 2 else there
            votes.enrol(f"r{n}")
            for pair in range(10):
                votes.cast(f"r{n}", f"p{pair}", "first")
                votes.cast(f"r{n}", f"p{pair}", str(n))

        list(pool.map(rate, range(8)))
        found = here.latest()
    assert {(v.rater, v.pair, v.choice) for v in found} == {(f"r{n}", f"p{p}", str(n)) for n in range(8) for p in range(10)}


def test_of_two_who_come_with_one_name_at_once_one_is_new(tmp_path) -> None:
    with Votes(tmp_path) as here, Votes(tmp_path) as there, ThreadPoolExecutor(8) as pool:
        for n in range(20):
            told = list(pool.map(lambda votes, n=n: votes.enrol(f"r{n}"), [here, there] * 4))
            assert sum(told) == 1


def test_votes_from_elsewhere_come_all_or_none(tmp_path) -> None:
    with Votes(tmp_path) as votes:
        good = [Vote("anna", "p", "x", 5), Vote("anna", "q", "", 6)]
        with pytest.raises(ZeroDivisionError):
            votes.add(vote if vote.pair == "p" else Vote("anna", str(1 / 0), "", 1) for vote in good)
        assert votes.latest() == []
        assert votes.add(good) == 2
        assert votes.add(good) == 0
        assert votes.add([Vote("anna", "p", "older", 4)]) == 1
        assert votes.latest() == good


@settings(max_examples=20)
@given(st.permutations([Vote("anna", "p", str(at), at) for at in range(6)]))
def test_the_order_of_adding_does_not_matter(tmp_path_factory, votes) -> None:
    with Votes(tmp_path_factory.mktemp("votes")) as kept:
        for vote in votes:
            kept.add([vote])
        assert kept.latest() == [Vote("anna", "p", "5", 5)]


def test_damaged_and_foreign_files_are_told(tmp_path) -> None:
    (tmp_path / "votes.sqlite").write_text("no database " * 100)
    with pytest.raises(StudyError, match="the votes cannot be used: file is not a database"):
        Votes(tmp_path)
    with pytest.raises(StudyError, match="unable to open"):
        Votes(tmp_path / "nowhere")
