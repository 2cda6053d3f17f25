"""Workers in this process, in others and on a cluster make the same files, whatever happens to them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from motive import verbs
from motive.attribution import features
from motive.attribution.features import HOPELESS, fitting
from motive.attribution.notes import read_notes
from motive.attribution.store import Store
from motive.config import load_config
from motive.errors import ClipError, ConfigError, EngineError, ModelError
from motive.sharing import crew, read_part, shares
from motive.status import status
from motive.verbs import index
from motive.video.write import write_video
from tests.conftest import moving_square, settings
from tests.engine.processes import alive, children, left_after

TRACKERS = "tests.engine.trackers"
SMALL_SHARDS = ["store.shard_size=2", "engine.threads=1"]
LOCAL = ["engine.workers=2"]
RAY = ["engine.kind=ray", "engine.workers=2"]
DEADLINE = 120


def shards(out: Path) -> dict[str, bytes]:
    files = [path for which in ("pool", "queries") for path in (out / which / "shards").glob("*")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> dict[str, bytes]:
    """The shards of an undisturbed run in one process."""
    out = tmp_path_factory.mktemp("engines") / "whole"
    index(load_config(None, settings(pool_folder, query_folder, tiny_wan, out, *SMALL_SHARDS)))
    found = shards(out)
    assert len(found) == 4
    return found


@pytest.fixture
def sets(pool_folder, query_folder, tiny_wan, tmp_path) -> list[str]:
    return settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", *SMALL_SHARDS)


def command(sets: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "motive", "index", *more, *(word for s in sets for word in ("--set", s))]


def until(true, process: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        if process is not None and process.poll() is not None:
            return
        time.sleep(0.002)


def hands(out: Path) -> list[int]:
    """Processes of workers that are at a clip."""
    return [note.pid for note in read_notes(out / "workers") if note.hand and not note.ended and alive(note.pid)]


@pytest.mark.parametrize("engine", [["engine.workers=1"], LOCAL, [*LOCAL, "store.cache=false"], RAY], ids="/".join)
def test_every_engine_makes_the_same_bytes(whole, sets, tmp_path, engine) -> None:
    before = children(os.getpid())
    done = index(load_config(None, [*sets, *engine]))
    assert (done.pool, done.queries, done.failed) == (6, 2, [])
    assert shards(tmp_path / "run") == whole
    assert not left_after(children(os.getpid()) - before, 10)


@pytest.mark.parametrize("engine", [LOCAL, RAY], ids=["local", "ray"])
def test_a_clip_that_kills_its_worker_is_given_up_and_the_run_goes_on(
    pool_folder, query_folder, tiny_wan, tmp_path, engine, monkeypatch
) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(pool_folder, pool)
    write_video(pool / "bright.mp4", 255 - moving_square(13, seed=7) // 8, 16)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    # Without decoders the tracker runs in the worker itself.
    more = [f"motion.tracker={TRACKERS}:segfaulting", "engine.decoders=0", "gradients.batch=2", "engine.threads=1", *engine]
    config = load_config(None, settings(pool, query_folder, tiny_wan, tmp_path / "run", *more))
    done = index(config)
    assert (done.pool, done.queries) == (6, 2)
    (reason,) = done.failed
    assert reason.startswith("bright.mp4: preparing or attributing it ")
    assert reason.endswith(", 2 times; see engine.tries")
    assert index(config) == done  # it stays recorded, and nothing is tried again
    plain = settings(
        pool_folder, query_folder, tiny_wan, tmp_path / "plain", *more[:1], "gradients.batch=2", "engine.threads=1"
    )
    index(load_config(None, plain))
    features = [
        {row["id"]: row["feature"] for table in Store.open(tmp_path / out / "pool").tables() for row in table.to_pylist()}
        for out in ("run", "plain")
    ]
    for id, feature in features[1].items():
        one, other = np.frombuffer(features[0][id], np.float32), np.frombuffer(feature, np.float32)
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_worker_that_dies_at_no_clip_ends_the_run_with_its_reason(sets, monkeypatch) -> None:
    monkeypatch.setattr("motive.indexing.worker", _dying)
    with pytest.raises(EngineError, match=r"at no clip in particular, .*exit code 7.*2 times"):
        index(load_config(None, [*sets, *LOCAL]))


def _dying(setup):
    return lambda task: os._exit(7)


def test_killed_workers_are_replaced_and_the_bytes_stay_the_same(whole, sets, tmp_path) -> None:
    """kill -9 a worker, again and again, while the driver lives."""
    with subprocess.Popen(
        command([*sets, *LOCAL, "engine.tries=100"]), stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    ) as process:
        for _ in range(4):
            until(lambda: hands(tmp_path / "run"), process)
            for pid in hands(tmp_path / "run")[:1]:
                os.kill(pid, signal.SIGKILL)
        told = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 0, told
    assert shards(tmp_path / "run") == whole
    assert not list((tmp_path / "run" / "pool" / "rows").glob("*.parquet"))


@pytest.mark.parametrize("engine", [LOCAL, RAY], ids=["local", "ray"])
def test_a_killed_driver_takes_its_workers_along_and_the_next_run_ends_with_the_same_bytes(
    whole, sets, tmp_path, engine
) -> None:
    with subprocess.Popen(command([*sets, *engine]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        until(lambda: hands(tmp_path / "run"), process)
        workers = [note.pid for note in read_notes(tmp_path / "run" / "workers")]
        process.kill()
    assert workers
    assert not left_after(workers, 30)
    index(load_config(None, [*sets, *engine]))
    assert shards(tmp_path / "run") == whole


def test_a_killed_actor_is_replaced_and_a_killed_head_ends_the_run_in_words(whole, sets, tmp_path) -> None:
    """On a cluster that others started."""
    ray = Path(sys.executable).with_name("ray")
    port = 20000 + os.getpid() % 20000
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "3"}
    start = [ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    where = [*sets, *RAY, f"engine.address=127.0.0.1:{port}", "engine.tries=100"]
    with subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
        try:
            with subprocess.Popen(
                command(where), env=environment, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
            ) as run:
                until(lambda: hands(tmp_path / "run"), run)
                actors = hands(tmp_path / "run")
                os.kill(actors[0], signal.SIGKILL)
                until(lambda: set(hands(tmp_path / "run")) - set(actors), run)
                for pid in _below(head.pid):
                    os.kill(pid, signal.SIGKILL)
                told = run.communicate(timeout=DEADLINE)[1]
            # It may also have been done by then, or Ray itself may have ended the driver.
            assert run.returncode == 0 or "Ray" in told or "ray" in told, told
        finally:
            for pid in _below(head.pid):
                os.kill(pid, signal.SIGKILL)
            head.kill()
    index(load_config(None, sets))
    assert shards(tmp_path / "run") == whole


def _below(pid: int) -> list[int]:
    """All processes under one, the deepest last."""
    found = []
    for child in children(pid):
        found += [child, *_below(child)]
    return found


def test_parts_made_by_runs_that_know_nothing_of_each_other_are_the_whole(whole, sets, tmp_path) -> None:
    runs = [subprocess.Popen(command(sets, "--shard", f"{n}/3"), stderr=subprocess.DEVNULL) for n in range(3)]
    assert [run.wait(DEADLINE) for run in runs] == [0, 0, 0]
    assert shards(tmp_path / "run") == whole
    assert not index(load_config(None, sets)).failed


def test_a_part_makes_its_own_shards_alone(whole, sets, tmp_path) -> None:
    index(load_config(None, sets), part=read_part("1/3"))
    made = shards(tmp_path / "run")
    assert 0 < len(made) < len(whole)
    assert made.items() <= whole.items()


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "a/b", "1/", "/2", "0/0"])
def test_a_part_that_is_none_is_told(text) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        read_part(text)


def test_a_cascade_cannot_be_made_in_parts(sets) -> None:
    config = load_config(None, [*sets, "cascade=[{share: 0.8, gradients: {dim: 64}}]"])
    with pytest.raises(ConfigError, match="cascade"):
        index(config, part=read_part("0/2"))


def test_a_pool_whose_folder_vanishes_ends_the_run_and_fails_no_clip(
    pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    pool, away = tmp_path / "pool", tmp_path / "away"
    shutil.copytree(pool_folder, pool)
    config = load_config(None, settings(pool, query_folder, tiny_wan, tmp_path / "run", *SMALL_SHARDS, "engine.decoders=0"))
    begin = verbs.index_stage

    def unmounted(*arguments):
        pool.rename(away)
        return begin(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(verbs, "index_stage", unmounted)
        with pytest.raises(EngineError, match=f"{pool}: this folder was there and is gone"):
            index(config)
    away.rename(pool)
    assert index(config).failed == []


@pytest.mark.parametrize("engine", [[], LOCAL], ids=["here", "workers"])
def test_a_full_disk_ends_the_run_in_words_and_with_room_it_goes_on(
    whole, pool_folder, query_folder, tiny_wan, tmp_path, engine
) -> None:
    """On a file system of 300 KB of this test's own, filled up to the last page while the run is on."""
    (tmp_path / "disk").mkdir()
    sets = settings(pool_folder, query_folder, tiny_wan, tmp_path / "disk" / "run", *SMALL_SHARDS, *engine)
    script = f"""
set -e
mount -t tmpfs -o size=300k motive {tmp_path / "disk"}
head -c 230000 /dev/zero > {tmp_path / "disk" / "ballast"}
code=0; "$@" 2> {tmp_path / "told"} || code=$?
rm {tmp_path / "disk" / "ballast"}
"$@" 2> {tmp_path / "told-again"}
cp -r {tmp_path / "disk" / "run"} {tmp_path / "run"}
exit $code
"""
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash", *command(sets)], capture_output=True, text=True
    )
    told = (tmp_path / "told").read_text()
    assert done.returncode == 1, (done.stderr, told)
    assert "No space left on device" in told
    assert "Traceback" not in told
    assert shards(tmp_path / "run") == whole


def test_a_read_only_pool_is_enough(whole, pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    sets = settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", *SMALL_SHARDS)
    script = f"""
set -e
mount --bind {pool_folder} {pool_folder}
mount -o remount,ro,bind {pool_folder}
! touch {pool_folder}/new 2> /dev/null
"$@"
"""
    subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script, "bash", *command(sets)], check=True, capture_output=True
    )
    assert shards(tmp_path / "run") == whole


def test_a_batch_too_large_for_the_device_is_halved_and_stays_so() -> None:
    asked = []

    def attribute(clips):
        asked.append(len(clips))
        if len(clips) > 3:
            raise torch.OutOfMemoryError
        return [f"feature of {clip}" for clip in clips]

    fit = fitting(attribute, "too large")
    assert fit(list("abcdefgh")) == [f"feature of {clip}" for clip in "abcdefgh"]
    assert asked == [8, 4, 2, 2, 2, 2]
    assert fit(list("xyz")) == [f"feature of {clip}" for clip in "xyz"]
    assert asked[6:] == [2, 1]


def test_one_clip_too_large_for_the_device_fails_alone() -> None:
    def attribute(clips):
        if "big" in clips:
            raise torch.OutOfMemoryError
        return list(clips)

    fit = fitting(attribute, "too large")
    found = fit(["a", "big", "c", "d"])
    assert [str(one) for one in found] == ["a", "too large", "c", "d"]
    assert isinstance(found[1], ClipError)
    assert all(isinstance(fit(["big"])[0], ClipError) for _ in range(5))  # others did fit


def test_settings_that_fit_no_clip_end_the_run() -> None:
    def attribute(clips):
        raise torch.OutOfMemoryError

    fit = fitting(attribute, "too large")
    for _ in range(HOPELESS - 1):
        assert isinstance(fit(["clip"])[0], ClipError)
    with pytest.raises(ModelError, match="none of the first 3 clips"):
        fit(["clip"])


def test_a_run_on_a_device_with_little_memory_has_the_features_of_one_with_more(sets, tmp_path, monkeypatch) -> None:
    index(load_config(None, [*sets, "gradients.batch=2", f"out={tmp_path / 'roomy'}"]))
    plain = features.project_gradients

    def narrow(denoiser, projector, losses, count):
        if count > 1:
            raise torch.OutOfMemoryError
        return plain(denoiser, projector, losses, count)

    monkeypatch.setattr(features, "project_gradients", narrow)
    index(load_config(None, [*sets, "gradients.batch=2"]))
    found = []
    for out in ("roomy", "run"):
        store = Store.open(tmp_path / out / "pool")
        found.append(np.concatenate([store.unpack(table) for table in store.tables()]))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_status_counts_what_is_durable_and_says_who_is_at_work(sets, tmp_path) -> None:
    config = load_config(None, sets)
    with subprocess.Popen(command([*sets, *LOCAL]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        until(lambda: hands(tmp_path / "run"), process)
        seen = status(config)
        process.wait(DEADLINE)
    assert {store.name: store.clips for store in seen.stores} == {"pool": 6, "queries": 2}
    assert any(not note.ended for note in seen.workers)
    after = status(config)
    assert [(store.name, store.done, store.failed) for store in after.stores] == [("pool", 6, 0), ("queries", 2, 0)]
    assert sum(sum(note.done.values()) for note in after.workers) == 8
    assert after.left is None or after.left == 0
    printed = subprocess.run(
        [sys.executable, "-m", "motive", "status", str(tmp_path / "run"), "--json"], capture_output=True, text=True, check=True
    )
    assert [store["done"] for store in json.loads(printed.stdout)["stores"]] == [6, 2]


def test_a_machine_is_shared_out_without_remainder(sets) -> None:
    config = load_config(None, [*sets, "engine.workers=3", "engine.decoders=4", "engine.threads=null", "model.device=cpu"])
    own = shares(config)
    assert [share.engine.decoders for share in own] == [2, 2, 2]
    assert {share.model.device for share in own} == {"cpu"}
    assert shares(load_config(None, [*sets, "model.device=cpu"])) == []
    team = crew(load_config(None, [*sets, "engine.threads=null"]), cpus=64, gpus=8)
    assert (team.count, team.cpus, team.gpus, team.share.engine.decoders) == (8, 1, 1, 4)
    team = crew(load_config(None, [*sets, "engine.threads=4", "model.device=cpu"]), cpus=64, gpus=8)
    assert (team.count, team.cpus, team.gpus) == (16, 4, 0)
