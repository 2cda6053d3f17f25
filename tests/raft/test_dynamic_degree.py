"""VBench's dynamic degree with RAFT, in an environment with torchvision: `make test-raft`.

A checkpoint whose flow is the same everywhere, whatever it sees, tells on which side of the threshold a video falls.
"""

import json

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_large
from typer.testing import CliRunner

from motive.cli import app
from motive.evaluation.metric import Video
from motive.evaluation.moving import dynamic_degree
from motive.motion.raft import ROUNDS
from motive.video.write import write_video
from tests.conftest import moving_square

HEIGHT, WIDTH = 128, 160
THRESHOLD = 6 * HEIGHT / 256


def constant_flow(file, pixels: float):
    """A RAFT checkpoint that sees everything move by so many pixels between any two frames."""
    torch.manual_seed(0)
    state = raft_large(weights=None).state_dict()
    state["update_block.flow_head.conv2.weight"].zero_()
    # Each round adds this at an eighth of the size; what enlarges it takes means of neighbours, times eight.
    state["update_block.flow_head.conv2.bias"][:] = torch.tensor([pixels / 8 / ROUNDS, 0.0])
    torch.save(state, file)
    return file


@pytest.mark.parametrize(("pixels", "dynamic"), [(0.9 * THRESHOLD, 0.0), (1.1 * THRESHOLD, 1.0), (-1.1 * THRESHOLD, 1.0)])
def test_the_threshold_is_six_pixels_at_256_lines(tmp_path, pixels, dynamic) -> None:
    metric = dynamic_degree(constant_flow(tmp_path / "raft.pth", pixels), "cpu")
    video = Video(moving_square(3, HEIGHT, WIDTH), 8.0, "a square")
    assert metric.measure(video) == dynamic
    assert (metric.name, metric.unit) == ("dynamic_degree", "share")
    assert metric.measure(Video(video.frames[:1], 8.0, "a square")) == 0.0


def test_numbers_are_kept_by_the_checkpoint_that_gave_them(tmp_path) -> None:
    one, other = (dynamic_degree(constant_flow(tmp_path / f"{n}.pth", n), "cpu") for n in (1.0, 2.0))
    assert one.identity != other.identity


def test_the_command_measures_with_it(tmp_path) -> None:
    """At 16 frames a second every other frame is looked at."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "prompts.jsonl").write_text(json.dumps({"id": "p", "prompt": "a square"}) + "\n")
    for seed in range(2):
        write_video(tmp_path / "samples" / "base" / f"p-{seed}.mp4", moving_square(5, HEIGHT, WIDTH, seed=seed), 16)
    checkpoint = constant_flow(tmp_path / "raft.pth", 2 * THRESHOLD)
    chosen = ["pool=.", "queries=.", "model.path=.", "model.device=cpu", f"out={tmp_path}", f"evaluate.raft={checkpoint}"]
    chosen.append('evaluate.metrics=["dynamic_degree"]')
    done = CliRunner().invoke(app, ["evaluate", *(word for setting in chosen for word in ("--set", setting))])
    assert done.exit_code == 0, done.output
    (row,) = json.loads((tmp_path / "metrics.json").read_text())["arms"]["base"]["metrics"].values()
    assert (row["mean"], row["n"]) == (1.0, 2)
    assert np.isfinite(row["low"])
