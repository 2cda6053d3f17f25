"""Vectors of clips, how alike they are, and the file in which those that took long are kept."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from motive.files import write_atomic

Vectors = NDArray[np.float32]

MakeMissing = Callable[[list[str]], Iterator[tuple[str, Vectors]]]

SAVED_EVERY = 256
"""New vectors after which they are kept."""


def cosines(pool: Vectors, queries: Vectors) -> NDArray[np.float32]:
    """[N, D], [Q, D] -> [N, Q], each vector less the pool's mean: what all clips share tells none apart."""
    mean = pool.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.asarray(units(pool - mean) @ units(queries - mean).T)


def units(vectors: Vectors) -> Vectors:
    """Each row over its length; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)


def kept_vectors(file: Path, mark: str, keys: Iterable[str], missing: MakeMissing) -> dict[str, Vectors]:
    """Vectors by key: those in `file`, if they were made with the same `mark`, and what `missing` gives for the other keys,
    which are kept as they come, so that a run that is stopped goes on from there."""
    known = _read(file, mark)
    new = 0
    for key, vector in missing([key for key in dict.fromkeys(keys) if key not in known]):
        known[key] = vector
        new += 1
        if new % SAVED_EVERY == 0:
            _write(file, mark, known)
    if new % SAVED_EVERY:
        _write(file, mark, known)
    return known


def _read(file: Path, mark: str) -> dict[str, Vectors]:
    try:
        with safe_open(file, framework="np") as held:
            about = held.metadata() or {}
            if about.get("mark") != mark:
                return {}
            vectors = held.get_tensor("vectors")
            keys = json.loads(about["keys"])
    except (OSError, SafetensorError, ValueError, KeyError):
        return {}  # nothing is lost but time
    return dict(zip(keys, vectors, strict=True)) if len(keys) == len(vectors) else {}


def _write(file: Path, mark: str, vectors: Mapping[str, Vectors]) -> None:
    stacked = np.stack(list(vectors.values())).astype(np.float32)
    write_atomic(file, save({"vectors": stacked}, {"mark": mark, "keys": json.dumps(list(vectors))}))
