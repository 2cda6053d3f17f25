"""Clips are decoded and tracked in processes of their own: the same results, and no clip can stop a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from motive.attribution.store import Store
from motive.config import Config, load_config
from motive.errors import ConfigError
from motive.verbs import index, prepare
from motive.video.write import write_video
from tests.conftest import moving_square, settings
from tests.engine.processes import children, left_after, mapped_memory, open_files

ROOT = Path(__file__).parents[2]
TRACKERS = "tests.engine.trackers"


@pytest.fixture(scope="module")
def mixed_pool(pool_folder, tmp_path_factory) -> Path:
    """Three good clips, one that is no video, one that is cut off, and a bright one that the trackers here do not bear."""
    folder = tmp_path_factory.mktemp("mixed")
    for n in range(3):
        (folder / f"clip{n}.mp4").write_bytes((pool_folder / f"clip{n}.mp4").read_bytes())
    whole = (pool_folder / "clip3.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "none.mp4").write_text("no video")
    write_video(folder / "bright.mp4", 255 - moving_square(13, seed=7) // 8, 16)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """Every file that holds results: prepared clips and shards."""
    files = [path for part in ("prepared/clips", "pool/shards", "queries/shards") for path in (out / part).glob("*")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def reasons(out: Path) -> dict[str, str]:
    return {row["name"]: row["reason"] for row in Store.open(out / "pool").rows() if row["status"] != "ok"}


@pytest.mark.parametrize("cache", ["true", "false"])
def test_results_are_the_same_bytes_with_any_number_of_decoders(mixed_pool, query_folder, tiny_wan, tmp_path, cache) -> None:
    found = []
    for decoders in (0, 1, 2, 3):
        more = [f"engine.decoders={decoders}", f"store.cache={cache}", "gradients.batch=2", "motion.camera=affine"]
        config = load_config(None, settings(mixed_pool, query_folder, tiny_wan, tmp_path / str(decoders), *more))
        done = index(config)
        assert (done.pool, done.queries, len(done.failed)) == (4, 2, 2)
        found.append(contents(config.out))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == (8 + 2 if cache == "true" else 2)


@pytest.mark.parametrize(
    ("tracker", "limits", "reason"),
    [
        ("segfaulting", [], "preparing it crashed its process (signal 11, SIGSEGV)"),
        ("leaving", ["store.cache=false"], "preparing it ended its process (exit code 3)"),
        ("raising", [], "preparing it raised ValueError: 3 (work.py, line "),
        ("raising", ["engine.decoders=0", "store.cache=false"], "preparing it raised ValueError: 3 (work.py, line "),
        (
            "hanging",
            ["engine.clip_seconds=10", "engine.tries=1"],
            "preparing it took longer than 10 s, see engine.clip_seconds",
        ),
        (
            "hanging_in_c",
            ["engine.clip_seconds=10", "engine.tries=1", "store.cache=false"],
            "preparing it took longer than 10 s, see engine.clip_seconds",
        ),
        ("eating", ["engine.clip_memory=300"], "preparing it needed more than 300 MiB, see engine.clip_memory"),
    ],
)
def test_a_clip_that_is_the_end_of_its_process_is_recorded_and_the_run_goes_on(
    mixed_pool, query_folder, tiny_wan, tmp_path, tracker, limits, reason
) -> None:
    before = children(os.getpid()), mapped_memory(), open_files()
    more = [f"motion.tracker={TRACKERS}:{tracker}", *limits]
    config = load_config(None, settings(mixed_pool, query_folder, tiny_wan, tmp_path, *more))
    done = index(config)
    assert (done.pool, done.queries) == (3, 2)
    told = reasons(tmp_path)
    assert sorted(told) == ["bright.mp4", "cut.mp4", "none.mp4"]
    assert told["bright.mp4"].startswith(reason)
    assert "not readable as video" in told["none.mp4"]
    assert (children(os.getpid()), mapped_memory(), open_files()) == before
    # It stays recorded: the run is finished, and finishing it again starts nothing.
    assert index(config) == done


def test_a_clip_may_take_no_more_memory_than_allowed(query_folder, tiny_wan, tmp_path) -> None:
    """A small file with huge frames."""
    pool = tmp_path / "pool"
    pool.mkdir()
    write_video(pool / "small.mp4", moving_square(13), 16)
    write_video(pool / "huge.mp4", np.repeat(np.zeros((1, 2304, 4096, 3), np.uint8), 13, axis=0), 16)
    assert (pool / "huge.mp4").stat().st_size < 1e6
    for memory, bad in ((40, ["huge.mp4"]), (2000, [])):
        out = tmp_path / str(memory)
        config = load_config(None, settings(pool, query_folder, tiny_wan, out, f"engine.clip_memory={memory}"))
        index(config)
        assert list(reasons(out)) == bad
    assert reasons(tmp_path / "40") == {"huge.mp4": "preparing it needed more than 40 MiB, see engine.clip_memory"}


def test_a_tracker_of_ones_own_is_found_where_the_caller_finds_it(
    mixed_pool, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    (tmp_path / "my_tracker.py").write_text(
        "import os\nfrom pathlib import Path\nfrom motive.motion.trackers import dis\n"
        "def track(frames):\n"
        "    Path(os.environ['SEEN']).joinpath(str(os.getpid())).touch()\n"
        "    return dis(frames)\n"
    )
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("SEEN", str(seen))
    more = ["motion.tracker=my_tracker:track", "engine.decoders=1"]
    overrides = settings(mixed_pool, query_folder, tiny_wan, tmp_path / "run", *more)
    with pytest.raises(ConfigError, match="cannot be imported"):
        prepare(load_config(None, overrides))
    monkeypatch.syspath_prepend(tmp_path)
    assert len(prepare(load_config(None, overrides))) == 2
    pids = [int(path.name) for path in seen.iterdir()]
    assert len(pids) == 1
    assert pids != [os.getpid()]


def command(config: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "motive", "index", *(word for setting in (*config, *more) for word in ("--set", setting))]


def environment(**more: object) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *sys.path])
    return os.environ | {"PYTHONPATH": path} | {name: str(value) for name, value in more.items()}


def test_what_a_tracker_prints_does_not_spoil_the_commands_output(mixed_pool, query_folder, tiny_wan, tmp_path) -> None:
    overrides = settings(mixed_pool, query_folder, tiny_wan, tmp_path / "run", f"motion.tracker={TRACKERS}:talking")
    done = subprocess.run(
        [*command(overrides), "--json"], capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path
    )
    assert json.loads(done.stdout)["pool"] == 4
    assert "a bright one" in done.stderr


@pytest.fixture(scope="module")
def whole(mixed_pool, query_folder, tiny_wan, tmp_path_factory) -> dict[str, bytes]:
    """What the run below leaves when nothing stops it."""
    out = tmp_path_factory.mktemp("whole")
    overrides = settings(mixed_pool, query_folder, tiny_wan, out, f"motion.tracker={TRACKERS}:waiting")
    subprocess.run(command(overrides), env=environment(WAIT_WHILE=out / "never"), capture_output=True, check=True)
    return contents(out)


@pytest.mark.parametrize(("number", "cache"), [(signal.SIGINT, "true"), (signal.SIGKILL, "false")])
def test_a_run_that_is_stopped_leaves_nothing_behind_and_ends_with_the_same_bytes(
    mixed_pool, query_folder, tiny_wan, tmp_path, whole, number, cache
) -> None:
    waiting, out = tmp_path / "waiting", tmp_path / "run"
    more = [f"motion.tracker={TRACKERS}:waiting", f"store.cache={cache}", "engine.decoders=2"]
    words = command(settings(mixed_pool, query_folder, tiny_wan, out, *more))
    waiting.touch()
    with subprocess.Popen(words, env=environment(WAIT_WHILE=waiting), stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        # A child waits in the bright clip by then, which comes first; with a cache the other has gone on.
        while not (len(children(process.pid)) == 2 and (cache == "false" or list(out.glob("prepared/clips/*.safetensors")))):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        pids = children(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert not left_after(pids, 1)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert ("the same command goes on" in err) == (number == signal.SIGINT)
    assert "Traceback" not in err
    waiting.unlink()
    again = subprocess.run(words, env=environment(WAIT_WHILE=waiting), capture_output=True, text=True, check=True)
    assert "4 clips and 2 queries attributed" in again.stdout
    kept = {name: data for name, data in whole.items() if cache == "true" or not name.startswith("prepared")}
    assert contents(out) == kept


def test_what_reads_clips_loads_no_torch() -> None:
    code = "import sys; from motive.attribution import reading; print(sorted({'torch', 'pydantic'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()).stdout
    assert printed.strip() == "[]"


def test_the_engine_is_no_part_of_what_results_depend_on(mixed_pool, query_folder, tiny_wan, tmp_path) -> None:
    def config(*more: str) -> Config:
        return load_config(None, settings(mixed_pool, query_folder, tiny_wan, tmp_path / "run", *more))

    done = index(config())
    assert index(config("engine.decoders=1", "engine.clip_seconds=7", "engine.clip_memory=99", "engine.tries=9")) == done
