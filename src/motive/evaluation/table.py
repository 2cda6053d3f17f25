"""metrics.json as Markdown."""

from collections.abc import Iterable
from typing import Any

from motive.text import markdown_text

ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def markdown(result: dict[str, Any]) -> str:
    """Arms by metrics, the same by motion, and the comparisons. Names and notes from outside are escaped."""
    arms = result["arms"]
    lines = ["# Metrics", "", *_arms({name: arm["metrics"] for name, arm in arms.items()}, "arm")]
    lines += ["", "Means with 95 % intervals, from resampling prompts, trainings and seeds; n videos."]
    for motion in sorted({motion for arm in arms.values() for motion in arm["motions"]}):
        rows = {name: arm["motions"][motion] for name, arm in arms.items() if motion in arm["motions"]}
        lines += ["", f"## {markdown_text(motion)}", "", *_arms(rows, "arm")]
    if result["comparisons"]:
        lines += ["", "## Pairs of the same prompt and seed", ""]
        lines += ["| metric | a | b | a - b | p | pairs |", "|---|---|---|--:|--:|--:|"]
        for row in result["comparisons"]:
            names = " | ".join(markdown_text(row[key]) for key in ("metric", "a", "b"))
            value = _number(row["difference"], row["low"], row["high"], sign="+")
            lines.append(f"| {names} | {value} | {row['p']:.4f} | {row['n']} |")
    if "official" in result:
        lines += ["", "## VBench", "", *_official(result["official"])]
    lines += ["", "Notes:", "", *(f"* {markdown_text(note)}" for note in result["notes"])]
    return "\n".join(lines) + "\n"


def _arms(rows: dict[str, dict[str, Any]], title: str) -> list[str]:
    """One line an arm, one column a metric."""
    found = {name: row for metrics in rows.values() for name, row in metrics.items()}
    units = {name: ", ".join(filter(None, [row["unit"]])) for name, row in found.items()}
    heads = [
        f"{markdown_text(name)}{ARROWS[row['better']]}{f' ({markdown_text(units[name])})' if units[name] else ''}"
        for name, row in found.items()
    ]
    lines = [f"| {title} | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    for arm, metrics in rows.items():
        cells = [_cell(metrics.get(name)) for name in found]
        lines.append(f"| {markdown_text(arm)} | {' | '.join(cells)} |")
    return lines


def _official(scores: dict[str, Any]) -> list[str]:
    dimensions = scores["dimensions"]
    lines = [f"| arm | {' | '.join(map(markdown_text, dimensions))} |", f"|---|{'--:|' * len(dimensions)}"]
    for arm, row in scores["arms"].items():
        lines.append(f"| {markdown_text(arm)} | {' | '.join(_plain(row[dimension]) for dimension in dimensions)} |")
    return lines


def _cell(row: dict[str, Any] | None) -> str:
    return "" if row is None else f"{_number(row['mean'], row['low'], row['high'])}, n {row['n']}"


def _number(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    digits = _digits([abs(number) for number in (value, low, high) if number is not None])
    ends = "" if low is None or high is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return f"{value:{sign}.{digits}f}{ends}"


def _digits(numbers: Iterable[float]) -> int:
    largest = max(numbers)
    return 1 if largest >= 100 else 2 if largest >= 10 else 3


def _plain(value: float) -> str:
    return f"{value:.4f}"
