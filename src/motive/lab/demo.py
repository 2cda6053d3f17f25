"""The demo: the whole method on clips it renders itself, with a model it builds itself."""

from pathlib import Path

from motive.config import Config, parse_config
from motive.lab.shapes import write_pool
from motive.models.build import build_wan
from motive.progress import Progress


def set_up_demo(folder: Path, clips: int, progress: Progress) -> Config:
    """Render the pool and the queries and build a model in `folder`, where they are not there yet; the run to do on them."""
    if not (folder / "queries" / "metadata.csv").exists():
        progress.say(f"rendering {clips} clips and 3 queries to {folder}")
        write_pool(folder, clips)
    if not (folder / "model" / "UNTRAINED").exists():
        progress.say(f"building a small Wan model with random weights in {folder / 'model'}")
        build_wan(folder / "model")
    tree = {
        "out": folder / "run",
        "pool": folder / "pool" / "metadata.csv",
        "queries": folder / "queries" / "metadata.csv",
        "model": {"path": str(folder / "model")},
        "video": {"frames": 25, "height": 96, "width": 160},
        "gradients": {"dim": 2048},
    }
    return parse_config(tree, "the demo")
