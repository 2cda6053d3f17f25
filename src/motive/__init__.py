"""Motive: which training clips teach a video diffusion model motion.

The verbs of the command line, as functions, and the few types they take and give. Importing this loads none of the
heavy libraries; they come with the first name used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motive.attribution.scores import Scores as Scores
    from motive.attribution.selection import Selection as Selection
    from motive.attribution.store import Store as Store
    from motive.config import Config as Config
    from motive.config import load_config as load_config
    from motive.errors import MotiveError as MotiveError
    from motive.models.registry import load_model as load_model
    from motive.proving import prove as prove
    from motive.verbs import export as export
    from motive.verbs import index as index
    from motive.verbs import prepare as prepare
    from motive.verbs import run as run
    from motive.verbs import score as score
    from motive.verbs import select as select
    from motive.video.table import ClipTable as ClipTable

_HOMES = {
    "ClipTable": "motive.video.table",
    "Config": "motive.config",
    "MotiveError": "motive.errors",
    "Scores": "motive.attribution.scores",
    "Selection": "motive.attribution.selection",
    "Store": "motive.attribution.store",
    "export": "motive.verbs",
    "index": "motive.verbs",
    "load_config": "motive.config",
    "load_model": "motive.models.registry",
    "prepare": "motive.verbs",
    "prove": "motive.proving",
    "run": "motive.verbs",
    "score": "motive.verbs",
    "select": "motive.verbs",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'motive' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
