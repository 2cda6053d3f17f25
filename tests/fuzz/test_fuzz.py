"""A short round of the fuzzer (the long one is `make fuzz`), and that it notices what it looks for."""

import os
import signal

import pytest

from tests.fuzz.mutations import MUTATIONS, mutate
from tests.fuzz.run import CORPORA, Reader, cases, fuzz, report


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    os.environ.setdefault("SVT_LOG", "1")


@pytest.mark.parametrize(("kind", "count"), [("video", 200), ("manifest", 200), ("settings", 100)])
def test_spoilt_files_give_what_was_asked_for_or_a_reason(tmp_path, kind, count) -> None:
    told = fuzz(kind, 0, range(count), list(CORPORA[kind](tmp_path)))
    print(report(told, 0))
    assert told.bad == []
    assert sum(told.outcomes.values()) == count
    assert told.outcomes["good"] > 0
    assert told.outcomes["refused"] > count / 4


def test_files_that_are_not_spoilt_are_good(tmp_path) -> None:
    with Reader() as reader:
        for name, content in CORPORA["video"](tmp_path):
            path = tmp_path / f"whole-{name}"
            path.write_bytes(content)
            assert reader.read("video", path)[:2] == ("good", ""), name


def test_a_case_is_the_same_every_time_and_unlike_others(tmp_path) -> None:
    files = list(CORPORA["settings"](tmp_path))
    first, second = list(cases(7, range(50), files)), list(cases(7, range(50), files))
    assert first == second
    assert first[13] == next(iter(cases(7, [13], files)))
    assert len({content for _, _, content in first}) > 40
    assert first != list(cases(8, range(50), files))


def test_every_mutation_works_on_every_length() -> None:
    import random

    for name in MUTATIONS:
        for length in (1, 2, 7, 5000):
            for number in range(50):
                spoilt = MUTATIONS[name](bytearray(bytes(range(256)) * 20)[:length], random.Random(number), [b"other"])  # noqa: S311
                assert isinstance(spoilt, bytearray), name
    assert mutate(b"", random.Random(0), [b"x"])[1] == b""  # noqa: S311


def test_a_reader_that_dies_or_hangs_is_noticed_and_another_takes_its_place(tmp_path) -> None:
    ((name, content), *_) = CORPORA["video"](tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with Reader() as reader:
        assert reader.read("video", path)[0] == "good"
        reader.seconds = 0.5
        os.kill(reader.process.pid, signal.SIGSTOP)  # stopped, as one that stands still
        assert reader.read("video", path)[0] == "hang"
        assert reader.process is None
    with Reader() as reader:
        reader.read("video", path)
        reader.process.kill()
        assert reader.read("video", path)[0] == "crash"
        assert reader.read("video", path)[0] == "good"


def test_what_is_wrong_is_told_with_its_case_and_fails_the_run(tmp_path, monkeypatch) -> None:
    answers = iter([("wrong", "TypeError: x", 0), ("hang", "no answer", 0), ("crash", "SIGSEGV", 0)])
    monkeypatch.setattr(Reader, "read", lambda self, kind, path: next(answers))
    told = fuzz("settings", 0, range(3), [("a.yaml", b"a: 1\n" * 9)])
    assert [line.split(", ")[0] for line in told.bad] == ["case 0: a.yaml", "case 1: a.yaml"]
    assert len(told.crashes) == 1
    assert "NOT AS IT MUST BE: case 0: a.yaml" in report(told, 0)
    assert "native crash, contained: case 2" in report(told, 0)
