"""A training that is killed ends, when it is started again, with the same bits as one that never was."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from safetensors.torch import load_file

from motive.config import dump_config
from motive.errors import StoreError
from motive.files import read_jsonl
from motive.progress import Silent
from motive.training.finetune import train

LONG = (
    "train.steps=60",
    "train.save_every=7",
    "train.ema=0.9",
    "train.warmup=5",
    "train.schedule=linear",
    "train.decay=0.01",
    "train.influence_every=10",
)


def same_results(one, other) -> None:
    results = [path.relative_to(other) for path in other.rglob("*.safetensors")]
    assert results
    for path in results:
        # Not the files' bytes: where a file tells of two things, safetensors writes them in any order.
        tensors, others = load_file(one / path), load_file(other / path)
        assert tensors.keys() == others.keys()
        assert all(value.equal(others[name]) for name, value in tensors.items())
    for name in ("loss.jsonl", "influence.jsonl"):
        assert read_jsonl(one / name) == read_jsonl(other / name)


class StopAt(Silent):
    """Ends a training like Ctrl-C after some steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    @contextmanager
    def steps(self, label, total):
        def tick() -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

        yield tick


def test_an_arm_that_somebody_else_is_training_is_refused_and_after_a_kill_is_not(run) -> None:
    config = run()
    folder = config.out / "arms" / "motive"
    hold = "import sys, time\nfrom pathlib import Path\nfrom motive.files import held\nwith held(Path(sys.argv[1])):\n"
    hold += "    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match="motive: another process is training this arm"):
        train(config, ["motive"])
    assert not list(folder.iterdir())
    train(config, ["bottom"])
    holder.kill()
    holder.communicate()
    train(config, ["motive"])
    assert json.loads((folder / "arm.json").read_text())["state"] == "done"


def test_after_a_kill_the_same_command_ends_with_the_same_bits(run) -> None:
    (whole,) = train(run(*LONG, name="whole"), ["motive"])
    config = run(*LONG, name="killed")
    (config.out / "motive.yaml").write_text(dump_config(config))
    folder = config.out / "arms" / "motive"
    command = [sys.executable, "-m", "motive", "train", str(config.out), "--arm", "motive"]
    victim = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.safetensors").exists():
        assert victim.poll() is None and time.monotonic() < deadline, victim.stderr.read().decode()
        time.sleep(0.002)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert json.loads((folder / "arm.json").read_text())["state"] == "started"
    with (folder / "loss.jsonl").open("ab") as torn:
        torn.write(b'{"step": 9')
    train(config, ["motive"])
    same_results(folder, whole)
    assert not (folder / "checkpoint.safetensors").exists()


def test_after_interruptions_an_adapter_ends_with_the_same_bits(run) -> None:
    lora = (*LONG, "train.method=lora", "train.rank=4")
    (whole,) = train(run(*lora, name="whole"), ["motive"])
    config = run(*lora, name="stopped")
    for steps in (3, 17, 8):
        with pytest.raises(KeyboardInterrupt):
            train(config, ["motive"], StopAt(steps))
    (folder,) = train(config, ["motive"])
    same_results(folder, whole)


def test_a_damaged_checkpoint_is_told(run) -> None:
    config = run()
    folder = config.out / "arms" / "motive"
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"damaged.*delete it"):
        train(config, ["motive"])
