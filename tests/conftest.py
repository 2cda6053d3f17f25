"""What several tests share: a small model on disk, made once, and small clips."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

from motive.models.base import VideoModel
from motive.models.build import SMALL, build_wan
from motive.models.registry import load_model
from motive.video.write import write_video
from tests.browser import browser as browser
from tests.object_server import object_server

torch.set_num_threads(1)
hypothesis.settings.register_profile("motive", deadline=None)  # a busy machine makes no statement false
hypothesis.settings.load_profile("motive")

# A shell that starts the tests in the background lets them, and the processes they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY = SMALL | {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 2, "ffn_dim": 32, "text_dim": 16}
SHARED = Path(__file__).parents[1].parent / "shared"
"""Real data beside the checkout; tests that use it are skipped where it is absent, and CI has it."""


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "wan"
    build_wan(folder, TINY)
    return folder


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a bucket on an object server that runs for these tests."""
    with object_server(tmp_path_factory.mktemp("objects")) as address:
        yield address


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A place for a store that nothing is in yet: a folder, then one in a bucket."""
    return tmp_path / "there" if request.param == "disk" else f"{request.getfixturevalue('bucket')}/{os.urandom(8).hex()}/there"


@pytest.fixture
def model(tiny_wan: Path) -> VideoModel:
    return load_model(str(tiny_wan), [0.75075], device="cpu")


def moving_square(frames: int = 9, height: int = 48, width: int = 64, speed: float = 3.0, seed: int = 0) -> np.ndarray:
    """uint8 [F, H, W, 3]: a textured square moving right by `speed` px/frame over a textured still background."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 255, (height, width, 3), dtype=np.uint8) // 4 + 60
    square = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    video = np.repeat(texture[None], frames, axis=0)
    for f in range(frames):
        x = int(4 + speed * f) % (width - 16)
        video[f, height // 2 - 8 : height // 2 + 8, x : x + 16] = square
    return video


@pytest.fixture(scope="session")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small mp4 files with captions beside them: five moving squares and a still."""
    folder = tmp_path_factory.mktemp("pool")
    for n in range(6):
        speed = 0.0 if n == 5 else 1.0 + n
        write_video(folder / f"clip{n}.mp4", moving_square(13, speed=speed, seed=n), fps=16)
        (folder / f"clip{n}.txt").write_text(f"a square number {n}\n")
    return folder


@pytest.fixture(scope="session")
def query_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queries")
    for n in range(2):
        write_video(folder / f"query{n}.mp4", moving_square(13, speed=2.5 + n, seed=100 + n), fps=16)
        (folder / f"query{n}.txt").write_text("a square moves\n")
    return folder


def settings(pool: Path, queries: Path, model: Path, out: Path, *more: str) -> list[str]:
    """Overrides for `load_config` that make a run small enough for a test."""
    return [
        f"pool={pool}",
        f"queries={queries}",
        f"model.path={model}",
        f"out={out}",
        "video.frames=9",
        "video.height=48",
        "video.width=64",
        "selection.keep=0.34",
        *more,
    ]
