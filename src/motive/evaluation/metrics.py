"""From the settings to the metrics. A new one is a function that makes it and a line here; anyone's own is its import path."""

from collections.abc import Callable, Sequence
from pathlib import Path

from motive.errors import ConfigError
from motive.evaluation import moving, pictures
from motive.evaluation.metric import Metric, own_metrics
from motive.evaluation.section import EvaluateSection

METRICS: dict[str, Callable[[EvaluateSection, str], Metric]] = {
    "temporal_flickering": lambda _, __: moving.temporal_flickering(),
    "mean_motion": lambda _, __: moving.mean_motion(),
    "dynamic_degree_dis": lambda _, __: moving.dynamic_degree_dis(),
    "dynamic_degree": lambda section, device: moving.dynamic_degree(_given(section.raft, "raft", "dynamic_degree"), device),
    "subject_consistency": lambda section, device: pictures.subject_consistency(
        _given(section.dino, "dino", "subject_consistency"), device
    ),
    "background_consistency": lambda section, device: pictures.background_consistency(
        _given(section.clip, "clip", "background_consistency"), device
    ),
    "aesthetic_quality": lambda section, device: pictures.aesthetic_quality(
        _given(section.aesthetic_clip, "aesthetic_clip", "aesthetic_quality"),
        _given(section.aesthetic_head, "aesthetic_head", "aesthetic_quality"),
        device,
    ),
}
"""Metrics by name, each made from the settings and the name of a torch device."""


def make_metrics(section: EvaluateSection, device: str) -> list[Metric]:
    """What `evaluate.metrics` asks for. Raises ConfigError for a name that there is not, and for one that comes twice."""
    made = [metric for name in section.metrics for metric in _of(name, section, device)]
    names = [metric.name for metric in made]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"evaluate.metrics: {', '.join(twice)} comes twice")
    return made


def _of(name: str, section: EvaluateSection, device: str) -> Sequence[Metric]:
    if ":" in name:
        return own_metrics(name)
    if name not in METRICS:
        raise ConfigError(
            f"evaluate.metrics {name!r} is unknown; there are {', '.join(METRICS)}, or your own as package.module:name"
        )
    return [METRICS[name](section, device)]


def _given(path: Path | None, key: str, name: str) -> Path:
    if path is None:
        raise ConfigError(f"evaluate.metrics: {name} needs evaluate.{key}; see docs/how-to.md")
    return path
