"""VBench's results, read strictly: a file from another program is believed only as far as it is what was asked for.

{"<dimension>": [score, [{"video_path": "...", "video_results": number or true or false, ...}, ...]], ...}
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from motive.errors import EvaluationError
from motive.text import printable

BYTES = 64 << 20
"""Of a results file; one of VBench's has some hundred a video and dimension."""

DIMENSIONS: dict[str, tuple[float, float]] = {
    "subject_consistency": (0.0, 1.0),
    "background_consistency": (0.0, 1.0),
    "aesthetic_quality": (0.0, 1.0),
    "imaging_quality": (0.0, 100.0),
    "temporal_flickering": (0.0, 1.0),
    "motion_smoothness": (0.0, 1.0),
    "dynamic_degree": (0.0, 1.0),
    "overall_consistency": (-1.0, 1.0),
    "temporal_style": (-1.0, 1.0),
}
"""Dimensions that take one's own videos and prompts, and the least and the largest number that a video can get in each."""

SLACK = 1e-3
"""By which a number may leave its range: cosines of rounded vectors do."""

Bounds = tuple[float, float]

Numbers = dict[str, dict[str, float]]
"""By dimension, by name of a video's file: its number, over the largest there can be."""


def read_results(file: Path, dimensions: Sequence[str], names: Sequence[str]) -> tuple[dict[str, float], Numbers]:
    """VBench's score in each of `dimensions`, and each video's number.

    Raises EvaluationError, with the place, unless the file holds exactly these dimensions and in each exactly the videos of
    `names`, each with one finite number in its range.
    """
    held = _object(file)
    if sorted(held) != sorted(dimensions):
        _refuse(file, f"has the dimensions {_some(held)}, not {_some(dimensions)}")
    scores, numbers = {}, {}
    for dimension in dimensions:
        where = f"under {dimension}"
        value = held[dimension]
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], list):
            _refuse(file, f"{where} has no pair of a score and a list")
        bounds = DIMENSIONS[dimension]
        # VBench divides the score of imaging quality by 100, and not the videos' numbers.
        scores[dimension] = _number(file, where, value[0], (bounds[0], 1.0))
        numbers[dimension] = _videos(file, where, value[1], names, bounds)
    return scores, numbers


def _videos(file: Path, where: str, entries: list[Any], names: Sequence[str], bounds: Bounds) -> dict[str, float]:
    found: dict[str, float] = {}
    for n, entry in enumerate(entries):
        place = f"{where}, video {n},"
        if not isinstance(entry, dict) or not isinstance(entry.get("video_path"), str):
            _refuse(file, f"{place} has no video_path")
        # VBench gives the path that it was given; only the name at its end is ours to compare.
        name = entry["video_path"].replace("\\", "/").rpartition("/")[2]
        if name in found:
            _refuse(file, f"{place} is {name} for the second time")
        found[name] = _number(file, place, entry.get("video_results"), bounds) / bounds[1]
    if found.keys() != set(names):
        _refuse(file, f"{where} has {len(found)} videos, {_some(found.keys() ^ set(names))} amiss")
    return found


def _number(file: Path, where: str, value: Any, bounds: Bounds) -> float:
    # Compared before anything is converted: JSON's whole numbers have no end.
    if not isinstance(value, bool | int | float) or not -1e6 < value < 1e6:
        _refuse(file, f"{where} has no finite number")
    low, top = bounds
    if not low - SLACK * top <= value <= top + SLACK * top:
        _refuse(file, f"{where} has {float(value):.6g}, which is not between {low:g} and {top:g}")
    return min(max(float(value), low), top)


def _object(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            text = opened.read(BYTES + 1)
        if len(text) > BYTES:
            _refuse(file, f"is larger than {BYTES:,} bytes")
        held = json.loads(text.decode(), object_pairs_hook=_once)
    except FileNotFoundError:
        raise EvaluationError(f"{file}: VBench wrote no results; see log.txt beside it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise EvaluationError(f"{file}: is not readable as JSON ({printable(error)[:200]})") from None
    if not isinstance(held, dict):
        _refuse(file, "holds no JSON object")
    return held


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, none of whose keys comes twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key comes twice")
    return made


def _some(names: Any) -> str:
    shown = [printable(name)[:60] for name in sorted(map(str, names))[:5]]
    return ", ".join(shown) or "none"


def _refuse(file: Path, reason: str) -> NoReturn:
    raise EvaluationError(f"{file}: {printable(reason)}; results of this VBench are not understood")
