"""Every metric of every sample; numbers that were computed before are not computed again."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.errors import ClipError
from motive.evaluation.metric import Metric, Video
from motive.evaluation.study.media import frames_of
from motive.evaluation.study.samples import Samples
from motive.files import digest, sha256_file, write_json
from motive.progress import Progress

SAVED_EVERY = 100
"""Videos after which numbers are kept."""


@dataclass(frozen=True)
class Measurement:
    """One sample's numbers. arm: the folder's name, NAME or NAME@SEED; name and training: the two; seed: of the sample's noise.
    values: by metric, without those that say nothing about it."""

    arm: str
    name: str
    training: int
    prompt: str
    seed: int
    file: Path
    values: dict[str, float]


def measure(
    samples: Samples, metrics: Sequence[Metric], training: int, kept: Path, progress: Progress
) -> tuple[list[Measurement], list[str]]:
    """Measurements of all samples, and a line for each that cannot be measured.

    training: the seed of an arm whose name gives none. kept: a JSON file of numbers by video and metric, for the next time.
    """
    known = _Known(kept)
    found: list[Measurement] = []
    unusable: list[str] = []
    total = sum(len(videos) for videos in samples.videos.values())
    with progress.steps("measuring videos", total) as step:
        for arm, videos in samples.videos.items():
            name, seed = split_arm(arm, training)
            for (prompt, sample_seed), file in sorted(videos.items()):
                wanted = samples.prompts[prompt], samples.motions.get(prompt)
                try:
                    values = _values(file, wanted, metrics, known)
                except ClipError as error:
                    unusable.append(f"{arm}/{file.name}: {error}")
                else:
                    found.append(Measurement(arm, name, seed, prompt, sample_seed, file, values))
                step()
                known.save(SAVED_EVERY)
    known.save(1)
    return found, unusable


def split_arm(arm: str, training: int) -> tuple[str, int]:
    """`motive@1` as ("motive", 1); an arm without a seed has that of the configuration."""
    name, at, seed = arm.rpartition("@")
    if at and name and seed.isascii() and seed.isdigit() and len(seed) <= 18:
        return name, int(seed)
    return arm, training


def _values(file: Path, wanted: tuple[str, str | None], metrics: Sequence[Metric], known: "_Known") -> dict[str, float]:
    # A metric may look at what was wanted, so the same video of another prompt is another one.
    mark = digest(sha256_file(file), *(text or "" for text in wanted))
    values = {metric.name: known.get(mark, metric) for metric in metrics if known.has(mark, metric)}
    missing = [metric for metric in metrics if metric.name not in values]
    if missing:
        video = Video(*frames_of(file), *wanted, file)
        for metric in missing:
            values[metric.name] = _finite(metric, metric.measure(video))
            known.add(mark, metric, values[metric.name])
    return {metric.name: value for metric in metrics if (value := values[metric.name]) is not None}


def _finite(metric: Metric, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ClipError(f"{metric.name} gives {value} for it")
    return None if value is None else float(value)


class _Known:
    """Numbers by video and metric, in a JSON file; of metrics with an identity alone."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.new = 0
        self.numbers: dict[str, dict[str, Any]] = {}
        try:
            held: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # nothing is lost but time
        if isinstance(held, dict):
            self.numbers = {mark: dict(values) for mark, values in held.items() if isinstance(values, dict)}

    def has(self, mark: str, metric: Metric) -> bool:
        values = self.numbers.get(mark, {})
        value = values.get(_key(metric))
        number = isinstance(value, float | int) and math.isfinite(value)
        return metric.identity is not None and _key(metric) in values and (value is None or number)

    def get(self, mark: str, metric: Metric) -> float | None:
        value = self.numbers[mark][_key(metric)]
        return None if value is None else float(value)

    def add(self, mark: str, metric: Metric, value: float | None) -> None:
        if metric.identity is not None:
            self.numbers.setdefault(mark, {})[_key(metric)] = value
            self.new += 1

    def save(self, at_least: int) -> None:
        if self.new >= at_least:
            write_json(self.file, self.numbers)
            self.new = 0


def _key(metric: Metric) -> str:
    return f"{metric.name}:{metric.identity}"
