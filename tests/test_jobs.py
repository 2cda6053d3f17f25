"""The job files of docs/jobs/: each one's command is run as its scheduler would, on a small run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from motive.config import dump_config, load_config
from motive.status import status
from motive.verbs import index
from tests.conftest import settings

JOBS = Path(__file__).parents[1] / "docs" / "jobs"


@pytest.fixture
def run(pool_folder, query_folder, tiny_wan, tmp_path) -> Path:
    config = load_config(
        None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", "store.shard_size=2", "engine.threads=1")
    )
    (tmp_path / "motive.yaml").write_text(dump_config(config), encoding="utf-8")
    return tmp_path / "motive.yaml"


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """With `motive` on the path."""
    command = tmp_path / "bin" / "motive"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m motive "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}


def parts(name: str, tasks: int) -> list[tuple[list[str], dict[str, str]]]:
    """The command of each task, and what its scheduler sets."""
    if name == "slurm.sh":
        array = {"SLURM_ARRAY_TASK_COUNT": str(tasks)}
        return [(["bash", str(JOBS / name)], array | {"SLURM_ARRAY_TASK_ID": str(n)}) for n in range(tasks)]
    job = yaml.safe_load((JOBS / name).read_text(encoding="utf-8"))
    if name == "kubernetes.yaml":
        assert (job["spec"]["completionMode"], job["spec"]["parallelism"]) == ("Indexed", job["spec"]["completions"])
        (container,) = job["spec"]["template"]["spec"]["containers"]
        words = [*container["command"], *container["args"]]
        assert f"/{job['spec']['completions']}" in words[-1]
        words[-1] = words[-1].replace(f"/{job['spec']['completions']}", f"/{tasks}")
        return [(words, {"JOB_COMPLETION_INDEX": str(n)}) for n in range(tasks)]
    nodes = {"SKYPILOT_NUM_NODES": str(tasks)}
    return [(["sh", "-c", job["run"]], nodes | {"SKYPILOT_NODE_RANK": str(n)}) for n in range(tasks)]


@pytest.mark.parametrize("name", ["slurm.sh", "kubernetes.yaml", "skypilot.yaml"])
def test_a_job_arrays_tasks_make_the_whole(name, run, environment) -> None:
    for words, given in parts(name, 2):
        words = [word.replace("/runs/motive.yaml", str(run)) for word in words]
        subprocess.run(words, cwd=run.parent, env=environment | given, check=True, stderr=subprocess.DEVNULL)
    config = load_config(run)
    assert [(store.done, store.clips, store.failed) for store in status(config).stores] == [(6, 6, 0), (2, 2, 0)]
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*.parquet")}
    index(config)
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*.parquet")} == before


def test_kuberays_command_is_one_that_motive_takes(run, environment) -> None:
    """There is no cluster where it looks for one; a command with a wrong word would fail with 2."""
    job = yaml.safe_load((JOBS / "kuberay.yaml").read_text(encoding="utf-8"))
    words = shlex.split(job["spec"]["entrypoint"].replace("/runs/motive.yaml", str(run)))
    assert words[-4:] == ["--engine", "ray", "--address", "auto"]
    nowhere = {"RAY_ADDRESS": "127.0.0.1:9"}  # tests at work beside this one have clusters of their own
    done = subprocess.run(words, cwd=run.parent, env=environment | nowhere, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Ray: no cluster at auto" in done.stderr
    assert "Traceback" not in done.stderr
    gpus = [group["template"]["spec"]["containers"][0] for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    assert all(container["resources"]["limits"]["nvidia.com/gpu"] == 1 for container in gpus)
