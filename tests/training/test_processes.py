"""Several processes that train one arm, as people start them, and the commands."""

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

from motive.config import dump_config
from motive.files import read_jsonl
from motive.training.finetune import train
from tests.test_cli import call


def test_two_processes_train_what_one_does(run) -> None:
    settings = ("train.influence_every=2", "generate.seeds=3")
    (alone,) = train(run(*settings, name="alone"), ["motive"])
    config = run(*settings, name="both")
    (config.out / "motive.yaml").write_text(dump_config(config))
    launch = [
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    ]
    words = ["--dynamo_backend", "no", "--main_process_port", "0", "-m", "motive", "train", str(config.out), "--arm", "motive"]
    both = subprocess.run(
        [sys.executable, *launch, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    folder = config.out / "arms" / "motive"
    assert both.returncode == 0, both.stderr
    assert both.stdout.splitlines() == [f"trained: {folder}"]
    tensors = [load_file(next((one / "model" / "transformer").glob("*.safetensors"))) for one in (alone, folder)]
    torch.testing.assert_close(tensors[1], tensors[0], atol=2e-5, rtol=1e-4)
    lines = [read_jsonl(one / "influence.jsonl") for one in (alone, folder)]
    assert [sorted(line["clips"]) for line in lines[0]] == [sorted(line["clips"]) for line in lines[1]]


def test_the_commands_train_and_generate(run, capsys) -> None:
    config = run("arms=[base, motive]")
    (config.out / "motive.yaml").write_text(dump_config(config))
    assert call(capsys, "train", str(config.out))[:2] == (0, f"trained: {config.out / 'arms' / 'motive'}\n")
    assert call(capsys, "generate", str(config.out))[:2] == (0, f"videos in {config.out / 'samples'}\n")
    assert len(list((config.out / "samples").rglob("*.mp4"))) == 2
    code, _, told = call(capsys, "train", str(config.out), "--arm", "jepa")
    assert code == 1 and "motive baseline" in told
