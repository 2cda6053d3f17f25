"""`motive evaluate`: what the arms' generated videos come to, as metrics.json and metrics.md.

metrics.json
    version         1
    arms            by name: seeds of training, metrics, and the same by wanted motion; each metric with mean, low, high (its
                    95 % interval; null from one video), n, unit, and which way is better
    comparisons     metric, a, b, difference a - b of videos of the same prompt and seed, low, high, p, n
    samples         arm, name, seed (of training), prompt, sample_seed, file, and each metric's number
    notes           what to know before reading them
    official        VBench's own scores by arm and dimension, if they were asked for
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motive.config import Config
from motive.evaluation.measure import Measurement, measure
from motive.evaluation.metrics import make_metrics
from motive.evaluation.official import measure_officially
from motive.evaluation.study.samples import Samples, read_samples
from motive.evaluation.summary import comparisons, summarise
from motive.evaluation.table import markdown
from motive.files import write_atomic, write_json
from motive.models.registry import find_device
from motive.progress import Progress, Silent

VERSION = 1
FEW = 10
"""Prompts below which intervals are rough."""
SHOWN = 20
"""Files that a note names at most."""


def evaluate(config: Config, progress: Progress | None = None, official: bool = False) -> Path:
    """Measure every video in samples/ of the run; returns the path of metrics.json. official: also run VBench.

    Raises StudyError if there are no samples, ConfigError for metrics that cannot be made, EvaluationError if VBench fails.
    """
    progress = progress or Silent()
    section = config.evaluate
    samples = read_samples(config.out / "samples", fewest=1)
    metrics = make_metrics(section, str(find_device(config.model.device)))
    found, unusable = measure(samples, metrics, config.seed, config.out / "measured.json", progress)
    result: dict[str, Any] = {"version": VERSION}
    scores: dict[str, Any] | None = None
    if official:
        scores, found, vbench = measure_officially(section.official, samples, found, config.out / "official", progress)
        metrics = [*metrics, *vbench]
    result["arms"] = summarise(found, metrics, samples.motions, section.resamples)
    result["comparisons"] = comparisons(found, metrics, section.resamples)
    result["samples"] = [_sample(one, config.out) for one in found]
    result["notes"] = _notes(samples, found, unusable)
    if scores is not None:
        result["official"] = scores
    write_json(config.out / "metrics.json", result)
    write_atomic(config.out / "metrics.md", markdown(result).encode())
    return config.out / "metrics.json"


def _sample(one: Measurement, out: Path) -> dict[str, Any]:
    about = {"arm": one.arm, "name": one.name, "seed": one.training, "prompt": one.prompt, "sample_seed": one.seed}
    return about | {"file": one.file.relative_to(out).as_posix()} | one.values


def _notes(samples: Samples, found: Sequence[Measurement], unusable: Sequence[str]) -> list[str]:
    notes = []
    places: dict[str, set[tuple[str, int]]] = {}
    for one in found:
        places.setdefault(one.arm, set()).add((one.prompt, one.seed))
    if len(set(map(frozenset, places.values()))) > 1:
        counts = ", ".join(f"{arm} {len(own)}" for arm, own in places.items())
        notes.append(
            f"The arms do not have the same prompts and seeds, so their means are not comparable; pairs are ({counts})."
        )
    if len({one.prompt for one in found}) < FEW:
        notes.append(f"Fewer than {FEW} prompts: intervals are rough.")
    if trainings := Counter(one.name for one in {one.arm: one for one in found}.values()):
        alone = [name for name, count in trainings.items() if count == 1 and name != "base"]
        if alone:
            notes.append(
                f"One training each of {', '.join(alone)}: their intervals speak of these models, not of what another seed of "
                "training would give."
            )
    notes.append("p values come from flipping signs of prompts' differences; they are not corrected for their number.")
    for title, lines in (("cannot be measured", unusable), ("in samples/ are no samples", samples.left_out)):
        if lines:
            more = f", and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            notes.append(f"{len(lines)} videos {title}: {'; '.join(lines[:SHOWN])}{more}")
    return notes
