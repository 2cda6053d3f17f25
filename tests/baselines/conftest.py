"""A scored run on a few real files with a small model, made once."""

import shutil
from pathlib import Path

import pytest

from motive import verbs
from motive.config import Config, load_config
from tests.conftest import settings


@pytest.fixture(scope="session")
def scored_run(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "out"
    config = load_config(None, [*settings(pool_folder, query_folder, tiny_wan, out), "engine.decoders=0"])
    verbs.index(config)
    verbs.score(config)
    verbs.select(config)
    return out


@pytest.fixture
def config(scored_run, tmp_path) -> Config:
    """The scored run in a folder of its own."""
    out = tmp_path / "out"
    shutil.copytree(scored_run, out)
    return load_config(scored_run, [f"out={out}"])
