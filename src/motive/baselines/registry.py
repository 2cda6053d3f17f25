"""From a baseline's name to the baseline. A new one is a function and a line here; anyone's own is its import path."""

import importlib

from motive.baselines.choice import Baseline
from motive.baselines.diverse import diverse
from motive.baselines.embedding import embedding
from motive.baselines.latents import latents
from motive.baselines.nomask import nomask
from motive.baselines.plain import full, magnitude, random
from motive.baselines.section import BaselinesSection
from motive.errors import ConfigError

BASELINES: dict[str, Baseline] = {
    "full": full,
    "random": random,
    "magnitude": magnitude,
    "nomask": nomask,
    "latents": latents,
    "embedding": embedding,
    "diverse": diverse,
}

ARMS = ("base", "motive", "bottom")
"""Arms that are no baselines, whose names none can have."""


def find_baseline(name: str, section: BaselinesSection) -> Baseline:
    """Raises ConfigError if there is no baseline of that name, or it cannot be imported."""
    if name in BASELINES and name in section.own:
        raise ConfigError(f"baselines.own: {name!r} is the name of a baseline that there is; use another")
    if name in BASELINES:
        return BASELINES[name]
    if name not in section.own:
        known = ", ".join((*BASELINES, *section.own))
        raise ConfigError(f"{name}: no such baseline; there are {known}, or your own with baselines.own")
    if name in ARMS or not (name.isascii() and name.replace("-", "").replace("_", "").isalnum()) or len(name) > 60:
        raise ConfigError(f"baselines.own: {name!r} is no name for a baseline; use letters, digits, - and _, none of {ARMS}")
    path = section.own[name]
    module, _, function = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"baselines.own.{name} {path!r}: cannot be imported ({error})") from None
    if not callable(found):
        raise ConfigError(f"baselines.own.{name} {path!r}: is not callable")
    made: Baseline = found
    return made
