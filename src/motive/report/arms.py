"""What came of the selection: training of the arms, their samples and metrics, as far as a run has made them."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.config import Config
from motive.errors import StudyError
from motive.evaluation.study.samples import Samples, read_samples
from motive.files import digest, each_json
from motive.report.films import CRF, VERSION, Film

POINTS = 400
"""Steps of a curve at most."""

NAMED = 15
"""Clips that influence during training lists at both ends."""


@dataclass(frozen=True)
class Arms:
    """value: what the page reads. films: of the samples. missing: what has not been made, each with its command."""

    value: dict[str, Any]
    films: list[Film]
    missing: list[dict[str, str]]


def read_arms(config: Config) -> Arms:
    """Of a run's arms/, samples/ and metrics.json; what is damaged there is told as a note, and stops nothing."""
    out = config.out
    notes: list[str] = []
    missing: list[dict[str, str]] = []
    files = {file.parent.name: file for file in (out / "arms").glob("*/arm.json")}
    arms = [_arm(files[arm], notes) for arm in _in_order(files, config)]
    if not arms:
        missing.append({"what": "No model has been trained on what was selected", "command": f"motive train {out}"})
    samples, films = _samples(config, notes)
    if not samples:
        missing.append({"what": "No videos have been generated", "command": f"motive generate {out}"})
    metrics = _metrics(out / "metrics.json", notes)
    if metrics is None:
        missing.append({"what": "Nothing has been measured on generated videos", "command": f"motive evaluate {out}"})
    if not (arms or samples or metrics):
        missing = [{"what": "What training on this selection brings has not been tried", "command": f"motive prove {out}"}]
    value = {"arms": arms, "samples": samples, "metrics": metrics, "notes": notes}
    return Arms(value, films, missing)


def _in_order(arms: Iterable[str], config: Config) -> list[str]:
    """As the configuration names them, then whatever else there is."""
    return sorted(arms, key=lambda arm: (config.arms.index(arm) if arm in config.arms else len(config.arms), arm))


def _arm(file: Path, notes: list[str]) -> dict[str, Any]:
    folder = file.parent
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise ValueError("holds no object")
    except (OSError, ValueError) as error:
        notes.append(f"{file}: cannot be read ({error})")
        told = {}
    known = {name: told.get(name) for name in ("name", "seed", "steps", "clips", "seconds", "state", "settings")}
    return known | {
        "arm": folder.name,
        "loss": _loss(folder / "loss.jsonl"),
        "influence": _influence(folder / "influence.jsonl"),
    }


def _loss(file: Path) -> list[list[float]]:
    """[step, loss], POINTS at most, each the mean of the steps that it stands for."""
    points = [(entry["step"], entry["loss"]) for entry in _lines(file) if _numbers(entry.get("step"), entry.get("loss"))]
    every = -(-len(points) // POINTS) or 1
    groups = [points[first : first + every] for first in range(0, len(points), every)]
    return [[group[-1][0], sum(loss for _, loss in group) / len(group)] for group in groups]


def _influence(file: Path) -> dict[str, Any] | None:
    """steps: [step, mean influence of its clips on each query]; total: of the clips that added most and least, the sum over
    the run, averaged over queries."""
    steps: list[list[Any]] = []
    queries: list[str] = []
    total: dict[str, float] = {}
    for line in _lines(file):
        clips, step = line.get("clips"), line.get("step")
        if not isinstance(clips, dict) or not _numbers(step):
            continue
        rows = [row for row in clips.values() if isinstance(row, list) and row and _numbers(*row)]
        rows = [row for row in rows if len(row) == len(rows[0])]
        if rows:
            steps.append([step, [sum(column) / len(rows) for column in zip(*rows, strict=True)]])
        queries = [str(query) for query in line.get("queries") or queries]
        added = line.get("total")
        for clip, row in added.items() if isinstance(added, dict) else ():
            if isinstance(row, list) and row and _numbers(*row):
                total[clip] = sum(row) / len(row)
    if not steps:
        return None
    order = sorted(total.items(), key=lambda entry: (-entry[1], entry[0]))
    last = max(0, min(NAMED, len(order) - NAMED))
    every = -(-len(steps) // POINTS)
    return {
        "steps": steps[::every],
        "queries": queries,
        "helping": [list(entry) for entry in order[:NAMED]],
        "hindering": [list(entry) for entry in order[len(order) - last :][::-1]],
        "clips": len(order),
    }


def _samples(config: Config, notes: list[str]) -> tuple[dict[str, Any] | None, list[Film]]:
    folder = config.out / "samples"
    if not (folder / "prompts.jsonl").exists():
        return None, []
    try:
        found = read_samples(folder, fewest=1)
    except StudyError as error:
        notes.append(str(error))
        return None, []
    notes += found.left_out
    films: list[Film] = []
    videos: dict[str, dict[str, list[list[Any]]]] = {arm: {} for arm in _in_order(found.videos, config)}
    for prompt, seed in _in_turn(found):
        row = [(arm, found.videos[arm][prompt, seed]) for arm in videos if (prompt, seed) in found.videos[arm]]
        if len(films) + len(row) > config.report.videos:
            notes.append(f"report.videos is {config.report.videos}: the videos of further prompts and seeds are not shown.")
            break
        for arm, file in row:
            film = Film(_sample_name(file, config.report.height), str(file), None, None)
            films.append(film)
            videos[arm].setdefault(prompt, []).append([seed, film.name])
    prompts = [{"id": id, "prompt": text, "motion": found.motions.get(id)} for id, text in found.prompts.items()]
    return {"prompts": prompts, "videos": videos}, films


def _in_turn(samples: Samples) -> Iterator[tuple[str, int]]:
    """Every prompt with its first seed, then every prompt with its second, ..."""
    seeds: dict[str, list[int]] = {prompt: [] for prompt in samples.prompts}
    for prompt, seed in sorted({sample for own in samples.videos.values() for sample in own}):
        seeds[prompt].append(seed)
    for n in range(max(map(len, seeds.values()), default=0)):
        yield from ((prompt, own[n]) for prompt, own in seeds.items() if n < len(own))


def _sample_name(file: Path, height: int) -> str:
    about = os.stat(file)  # noqa: PTH116
    return digest(str(file), str(about.st_size), str(about.st_mtime_ns), str(height), str(VERSION), str(CRF))[:16]


def _metrics(file: Path, notes: list[str]) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{file}: cannot be read ({error})")
        return None
    if not isinstance(told, dict) or not isinstance(told.get("arms"), dict):
        notes.append(f"{file}: holds no arms; `motive evaluate` makes it anew")
        return None
    return {name: told.get(name) for name in ("arms", "comparisons", "notes", "official")}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, up to a line that is still being written."""
    with suppress(OSError, ValueError):
        for entry in each_json(file):
            if isinstance(entry, dict):
                yield entry


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
