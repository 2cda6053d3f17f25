"""Fine-tuning: what arms have in common, what comes out, and what a kill leaves."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motive.errors import ConfigError, StoreError
from motive.files import read_jsonl, sha256_file
from motive.training.finetune import train


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "transformer" / "diffusion_pytorch_model.safetensors")


def test_arms_are_trained_and_recorded(run) -> None:
    config = run()
    folders = train(config, ["base", "motive", "full@3"])
    assert [folder.name for folder in folders] == ["motive", "full@3"]
    for folder, seed, clips in zip(folders, (0, 3), (2, 6), strict=True):
        record = json.loads((folder / "arm.json").read_text())
        assert {key: record[key] for key in ("arm", "name", "seed", "steps", "clips", "state")} == {
            "arm": folder.name,
            "name": folder.name.split("@")[0],
            "seed": seed,
            "steps": 4,
            "clips": clips,
            "state": "done",
        }
        assert [line["step"] for line in read_jsonl(folder / "loss.jsonl")] == [0, 1, 2, 3]
        assert not (folder / "checkpoint.safetensors").exists()
    assert any((weights(folders[0])[name] != value).any() for name, value in weights(folders[1]).items())
