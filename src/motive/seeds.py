"""All randomness: one seed and a name give one stream, the same on every machine."""

import numpy as np

from motive.files import digest

STREAM_VERSION = 1
"""Raised whenever the same (seed, name) would give other numbers; part of every store's fingerprint."""


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """A generator keyed by the run's seed and what the numbers are for, e.g. `stream(seed, "noise", 0)`.

    Philox is counter-based and NumPy draws on the CPU with the same code everywhere, so neither device, worker count nor
    the order of calls can change what a name yields. The name is hashed: neighbouring seeds and names share nothing.
    """
    key = digest(str(STREAM_VERSION), str(seed), *(f"{type(part).__name__}:{part}" for part in name))
    return np.random.Generator(np.random.Philox(key=int(key[:32], 16)))
