"""A scored run, made once, that each test links what it needs of into a folder of its own."""

from pathlib import Path

import pytest

from motive import verbs
from motive.config import Config, load_config
from motive.files import read_jsonl, write_jsonl
from tests.conftest import settings

SMALL = (
    "train.steps=4",
    "train.batch=3",
    "train.rate=0.001",
    "train.precision=float32",
    "train.log=none",
    "generate.steps=2",
    "generate.guidance=3",
    "gradients.dim=64",
    "engine.decoders=0",
)


@pytest.fixture(scope="session")
def scored(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Path:
    """The folder of a run that is scored, with a baseline of three clips called random."""
    out = tmp_path_factory.mktemp("training") / "run"
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out, *SMALL))
    verbs.index(config)
    verbs.score(config)
    verbs.select(config)
    ranked = [*read_jsonl(out / "selection.jsonl"), *read_jsonl(out / "harmful.jsonl")]
    write_jsonl(out / "baselines" / "random" / "selection.jsonl", ranked[1:4])
    return out


@pytest.fixture
def run(scored, tmp_path):
    """Gives the configuration of a run of one's own, with these settings, whose clips are scored already."""

    def make(*more: str, name: str = "run") -> Config:
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        for part in scored.iterdir():
            if part.name not in ("motive.yaml", "arms", "samples") and not (out / part.name).exists():
                (out / part.name).symlink_to(part)
        return load_config(scored, [f"out={out}", *more])

    return make
