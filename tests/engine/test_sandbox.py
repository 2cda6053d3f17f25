"""Tasks in processes of their own: equal to those in this one, bounded, and nobody's trouble but their own."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from motive.engine.ahead import Here, Workers, as_they_come, in_order
from motive.engine.messages import TaskError
from motive.engine.sandbox import Limits, Sandbox, _Child
from motive.errors import ClipError, ConfigError, EngineError, LeftOutError
from tests.engine import work
from tests.engine.processes import alive, children, left_after, mapped_memory, open_files

SHARED_MEMORY = Path("/dev") / "shm"
LONG = 60.0
"""Seconds; a limit that a busy machine does not meet by chance."""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox([work.build] * 2, Limits(seconds=LONG)) as sandbox:
        yield sandbox


def said(workers: Workers, *tasks: work.Task) -> list[object]:
    """Each task's packet as plain values, or its error as words."""
    found: list[object] = []
    for _, future in in_order(workers, tasks):
        error = future.exception()
        if error is not None:
            found.append(f"{type(error).__name__}: {error}")
        else:
            arrays = future.result().arrays
            found.append((future.result().facts, {name: (a.dtype.str, a.tolist()) for name, a in arrays.items()}))
    return found


MIXED: list[work.Task] = [
    ("square", 3),
    ("say", "größer \u2028 \x1b[31m"),
    ("raise_clip_error", "damaged"),
    ("say", [1, 2.5, None, {"nan": "x"}]),
    ("raise_left_out", "static"),
    ("raise_error", "wrong"),
    ("raise_error", ""),
    ("square", 0),
    *(("square", n) for n in range(20)),
]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_results_are_the_same_in_any_number_of_processes(number) -> None:
    here = said(Here(work.build), *MIXED)
    with Sandbox([work.build] * number) as sandbox:
        assert said(sandbox, *MIXED) == here
        assert said(sandbox, *MIXED[::-1]) == here[::-1]


def test_floats_come_back_to_the_last_bit(sandbox) -> None:
    values = [0.1, 1 / 3, 1e-310, math.inf, float(np.float32(0.7)), 2**53 + 1]
    assert sandbox.submit(("say", values)).result().facts["said"] == values
    assert math.isnan(sandbox.submit(("say", math.nan)).result().facts["said"])


def test_the_projects_errors_keep_their_class_and_others_are_told_in_words(sandbox) -> None:
    assert isinstance(sandbox.submit(("raise_left_out", "static")).exception(), LeftOutError)
    private = sandbox.submit(("raise_private_error", "damaged")).exception()
    assert (type(private), str(private)) == (ClipError, "damaged")
    other = sandbox.submit(("raise_error", "wrong")).exception()
    assert isinstance(other, TaskError)
    assert str(other).startswith("raised ValueError: wrong (work.py, line ")
    assert "raised SystemExit: 3" in str(sandbox.submit(("leave_politely", 3)).exception())
    for word in ("give_object", "give_objects", "give_nothing"):
        assert isinstance(sandbox.submit((word, 0)).exception(), TaskError)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        ("segfault", 0, "crashed its process (signal 11, SIGSEGV)"),
        ("leave", 7, "ended its process (exit code 7)"),
        ("leave", 0, "ended its process (exit code 0)"),
        ("be_killed", 0, "had its process killed (signal 9, SIGKILL), as the system does when memory runs out"),
    ],
)
def test_the_death_of_its_process_is_a_tasks_failure_with_the_reason(sandbox, word, value, reason) -> None:
    good = [("say", n) for n in range(4)]
    found = said(sandbox, *good, (word, value), *good)
    assert found[4] == f"TaskError: {reason}"
    assert found[:4] == found[5:] == said(Here(work.build), *good)


@pytest.mark.parametrize("word", ["hang", "hang_in_c"])
def test_a_task_that_hangs_is_ended_in_time(word) -> None:
    with Sandbox([work.build], Limits(seconds=1.5)) as sandbox:
        sandbox.submit(("say", 1)).result()
        begin = time.monotonic()
        error = sandbox.submit((word, 0)).exception()
        assert 1.4 < time.monotonic() - begin < 10
        assert isinstance(error, TaskError)
        assert (str(error), error.limit) == ("took longer than 1.5 s", "seconds")
        assert sandbox.submit(("say", 2)).result().facts == {"said": 2}


def test_a_task_that_eats_memory_is_ended_before_it_has_eaten_much_more() -> None:
    with Sandbox([work.build], Limits(LONG, memory=200)) as sandbox:
        error = sandbox.submit(("eat", 0)).exception()
        assert isinstance(error, TaskError)
        assert (str(error), error.limit) == ("needed more than 200 MiB", "memory")
        assert sandbox.submit(("say", 2)).result().facts == {"said": 2}


def test_memory_is_bounded_also_while_the_parent_does_not_look(monkeypatch) -> None:
    monkeypatch.setattr(_Child, "_memory", lambda _: 0.0)
    with Sandbox([work.build], Limits(LONG, memory=200)) as sandbox:
        assert "needed more than 200 MiB" in str(sandbox.submit(("eat", 0)).exception())


def test_a_process_that_has_kept_much_is_replaced_before_the_next_task_is_blamed() -> None:
    with Sandbox([work.build], Limits(LONG, memory=200)) as sandbox:
        pids = [sandbox.submit(("leak", 60)).result().facts["pid"] for _ in range(8)]
    assert len(set(pids)) == 4
    assert pids == sorted(pids, key=pids.index)
    assert pids[0] == pids[1] != pids[2]


def test_a_lost_task_is_tried_again_in_a_fresh_process_so_often_and_no_more(tmp_path) -> None:
    with Sandbox([work.build], Limits(LONG, tries=3)) as sandbox:
        for name, needed in (("third time", 3), ("fourth time", 4)):
            future = sandbox.submit(("crash_until", (str(tmp_path / name), needed)))
            error = future.exception()
            tried = (tmp_path / name).read_text().split()
            assert len(tried) == len(set(tried)) == 3
            assert (error is None) == (needed == 3)
        assert "SIGSEGV" in str(error)
        assert sandbox.submit(("raise_error", "told at once")).exception() is not None


def test_a_process_that_died_between_two_tasks_costs_no_try() -> None:
    with Sandbox([work.build], Limits(LONG, tries=1)) as sandbox:
        first = sandbox.submit(("pid", 0)).result().facts["pid"]
        os.kill(first, signal.SIGKILL)
        assert not left_after([first], 5)
        assert sandbox.submit(("pid", 0)).result().facts["pid"] != first


@pytest.mark.parametrize(
    "words",
    ["x", "\0" * 8 + "x" * 100, "\xff" * 8, "\0" * 7 + "\x02{}", "\0" * 7 + "\x04null", "\0" * 7 + "\x10" + '{"error": "open"'],
)
def test_an_answer_that_is_none_is_the_tasks_failure(words) -> None:
    with Sandbox([work.build], Limits(seconds=2)) as sandbox:
        error = sandbox.submit(("answer_nonsense", words)).exception()
        assert isinstance(error, TaskError)
        assert "cannot be read" in str(error) or "took longer" in str(error)
        assert sandbox.submit(("say", 2)).result().facts == {"said": 2}


def test_a_process_that_closes_its_connection_is_lost_at_once() -> None:
    with Sandbox([work.build], Limits(LONG)) as sandbox:
        assert str(sandbox.submit(("close_connection", 0)).exception()) == "closed its connection"


def test_what_cannot_be_built_stops_the_work_in_words() -> None:
    for build, kind, words in (
        (work.refuse, ConfigError, "this cannot be built"),
        (work.fail, EngineError, "cannot start: it raised ValueError: nor can this"),
        (work.crash, EngineError, r"cannot start: it crashed its process \(signal 6, SIGABRT\)"),
    ):
        with Sandbox([build]) as sandbox, pytest.raises(kind, match=words):
            sandbox.submit(("say", 1)).result()


def test_a_slow_task_holds_no_other_up_unless_order_is_asked_for(sandbox, tmp_path) -> None:
    tasks = [("wait_for", str(tmp_path / "end")), *(("say", n) for n in range(12))]
    come = []
    for task, _ in as_they_come(sandbox, tasks):
        come.append(task)
        if len(come) == 12:
            (tmp_path / "end").touch()
    assert sorted(come[:-1]) == tasks[1:]
    assert come[-1] == tasks[0]
    assert [task for task, _ in in_order(sandbox, tasks)] == tasks


@pytest.mark.parametrize("way", [in_order, as_they_come])
def test_no_more_is_asked_for_than_may_wait(sandbox, way) -> None:
    asked = []

    def tasks():
        for n in range(30):
            asked.append(n)
            yield "square", n

    for taken, _ in enumerate(way(sandbox, tasks()), start=1):
        assert len(asked) <= taken + sandbox.ahead
    assert len(asked) == 30


@pytest.mark.parametrize("way", [in_order, as_they_come])
def test_what_is_taken_and_let_go_is_freed(sandbox, way) -> None:
    before = mapped_memory(), open_files()
    for _, future in way(sandbox, [("square", 9)] * 20):
        future.result()
        assert mapped_memory() <= before[0] + sandbox.ahead + 2
    del future
    sandbox.submit(("say", 0)).result()
    assert mapped_memory() == before[0]
    assert open_files() <= before[1]  # an earlier test's may have been let go meanwhile


def test_work_that_is_given_up_leaves_no_process_and_no_memory() -> None:
    def give_up(tasks: list[work.Task]) -> None:
        with Sandbox([work.build] * 2) as sandbox:
            for _ in as_they_come(sandbox, tasks):
                raise KeyboardInterrupt

    before = mapped_memory(), open_files(), children(os.getpid())
    try:
        give_up([("square", 5), *[("hang_in_c", 0), ("square", 5)] * 4])
    except KeyboardInterrupt as error:
        traceback.clear_frames(error.__traceback__)
    assert (mapped_memory(), open_files(), children(os.getpid())) == before


def test_closing_does_not_wait_for_what_hangs() -> None:
    with Sandbox([work.build] * 2) as sandbox:
        hanging = [sandbox.submit(("hang_in_c", 0)) for _ in range(6)]
        while len(children(os.getpid())) < 2:
            time.sleep(0.01)
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    assert all(future.done() for future in hanging)


def test_processes_start_when_they_are_needed_and_stay(sandbox) -> None:
    before = children(os.getpid())
    with Sandbox([work.build] * 3) as other:
        assert children(os.getpid()) == before
        pids = {other.submit(("pid", 0)).result().facts["pid"] for _ in range(20)}
        assert children(os.getpid()) - before == pids
        assert len(pids) <= 3


def test_a_process_takes_along_what_it_started(tmp_path) -> None:
    file = tmp_path / "pid"
    with Sandbox([work.build]) as sandbox:
        assert "SIGSEGV" in str(sandbox.submit(("start_another", str(file))).exception())
    assert not left_after([int(file.read_text())], 2)


def test_a_child_prints_where_it_spoils_no_output(capfd) -> None:
    with Sandbox([work.build]) as sandbox:
        sandbox.submit(("speak", "hello from below")).result()
    assert capfd.readouterr().out == ""


def test_a_child_has_its_own_number_of_threads_and_dumps_no_core() -> None:
    with Sandbox([work.build], threads=3) as sandbox:
        assert sandbox.submit(("threads", 0)).result().facts == {"OMP_NUM_THREADS": "3"}
        assert sandbox.submit(("core", 0)).result().facts["core"] in (0, 1)


PARENT = textwrap.dedent("""
    import os, sys, time
    from motive.engine.sandbox import Limits, Sandbox
    from tests.engine import work

    with Sandbox([work.build] * 2, Limits(seconds=600)) as sandbox:
        pids = [sandbox.submit(("pid", 0)) for _ in range(2)]
        hanging = [sandbox.submit((word, 0)) for word in ("hang_in_c", "hang")]
        print(pids[0].result().facts["pid"], flush=True)
        hanging[0].result()
""")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_their_parent_however_it_ends(number) -> None:
    """Also while they hold the interpreter's lock in C, and could not see a closed connection."""
    before = set(SHARED_MEMORY.iterdir())
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 30
        while len(pids := children(process.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3)
        assert len(pids) == 2
        assert all(map(alive, pids))
        process.send_signal(number)
        assert process.wait(10) != 0
    assert not left_after(pids, 1)
    assert {file for file in SHARED_MEMORY.iterdir() if "motive" in file.name} <= before
