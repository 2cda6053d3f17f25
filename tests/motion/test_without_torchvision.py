"""RAFT where its extra is not installed. With it: tests/raft, which `make test-raft` runs."""

import sys

import pytest
from typer.testing import CliRunner

from motive.cli import app
from motive.errors import ConfigError
from motive.motion.registry import make_tracker

NAME = "torchvision"


@pytest.fixture(
    params=["", "raise RuntimeError('operator torchvision::nms does not exist')"], ids=["missing", "of another build"]
)
def unusable(request, tmp_path, monkeypatch) -> None:
    """An environment without torchvision, or with one that does not fit its torch."""
    for module in [name for name in sys.modules if name.split(".")[0] == NAME]:
        monkeypatch.delitem(sys.modules, module)
    if request.param:
        (tmp_path / f"{NAME}.py").write_text(request.param)
        monkeypatch.syspath_prepend(tmp_path)
    else:
        monkeypatch.setitem(sys.modules, NAME, None)


@pytest.mark.parametrize("name", ["raft", "raft-small"])
def test_raft_says_how_its_extra_is_installed(unusable, name, tmp_path) -> None:
    weights = tmp_path / "weights.pth"
    weights.touch()
    for given in ({}, {"weights": weights}):
        with pytest.raises(ConfigError, match=rf"{name} needs {NAME}.*pip install .motive\[raft\]"):
            make_tracker(name, **given)


def test_the_command_says_so_without_a_traceback(unusable, pool_folder, tmp_path) -> None:
    clip = str(pool_folder / "clip3.mp4")
    size = ["--set", "video.frames=9", "--set", "video.height=48", "--set", "video.width=64"]
    chosen = ["--out", str(tmp_path / "look"), "--set", "motion.tracker=raft"]
    done = CliRunner().invoke(app, ["motion", clip, *size, *chosen])
    assert done.exit_code == 1
    assert "pip install" in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "look").exists()
