"""Is this machine fit: versions, devices, codecs, and the whole method on one small clip."""

import importlib.metadata
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "torch diffusers transformers accelerate safetensors av opencv-python-headless numpy pyarrow pydantic typer rich"
).split()

DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4")


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was found or what to do."""

    what: str
    well: bool
    detail: str


def examine() -> Iterator[Finding]:
    """Findings, one by one as they are made; the last is a self-test of a few seconds."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.machine()}")
    for library in LIBRARIES:
        try:
            yield Finding(library, True, importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(library, False, f"missing: pip install {library}")
    for check in (_devices, _codecs, _self_test):
        yield check()


def _finding(what: str) -> Callable[[Callable[[], str]], Callable[[], Finding]]:
    """Make a Finding of a function that returns what it found, or raises what is wrong."""

    def wrap(look: Callable[[], str]) -> Callable[[], Finding]:
        def check() -> Finding:
            try:
                return Finding(what, True, look())
            except Exception as error:  # noqa: BLE001, a doctor reports whatever is wrong
                return Finding(what, False, f"{type(error).__name__}: {error}")

        return check

    return wrap


@_finding("devices")
def _devices() -> str:
    import torch

    cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    names = [f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards]
    return ", ".join([*names, f"CPU ({torch.get_num_threads()} threads)"])


@_finding("codecs")
def _codecs() -> str:
    import av

    missing = [name for name in (*DECODERS, "libx264") if name not in av.codecs_available]
    if missing:
        raise LookupError(f"PyAV lacks {', '.join(missing)}: install the wheel from PyPI")
    return f"decode {', '.join(DECODERS)}; encode h264"


@_finding("self-test")
def _self_test() -> str:
    """One rendered clip as pool and as query, through a model with random weights: its influence on itself is 1."""
    from motive.config import parse_config
    from motive.lab.world import FPS, Looks, Spec, render
    from motive.models.build import build_wan
    from motive.verbs import index, score
    from motive.video.write import write_video

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_wan(folder / "model")
        looks = Looks("disc", "red", "striped", "large", "grey", "bright")
        write_video(folder / "clips" / "clip.mp4", render(0, Spec("bounce", looks)).frames, FPS)
        tree = {
            "out": folder / "run",
            "pool": folder / "clips",
            "queries": folder / "clips",
            "model": {"path": str(folder / "model")},
            "video": {"frames": 9, "height": 64, "width": 96},
        }
        config = parse_config(tree, "the self-test")
        index(config)
        itself = float(score(config).influence[0, 0])
    if abs(itself - 1) > 1e-4:
        raise ArithmeticError(f"a clip's influence on itself is {itself}, not 1")
    return "a clip decoded, masked, encoded, attributed and scored; its influence on itself is 1"
