"""What a run came to, from its files alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from motive.attribution.run_stores import WHICH, open_store
from motive.attribution.scores import load_scores
from motive.attribution.selection_files import SHOWN
from motive.attribution.store import Row
from motive.config import Config, stage_config
from motive.errors import StoreError
from motive.files import each_json


@dataclass(frozen=True)
class Shown:
    """A run's outcome: its description in Markdown, the first 1,000 entries of selection.jsonl and of harmful.jsonl, `name:
    reason` of every clip without a score, and whether the model is trained."""

    text: str
    kept: list[dict[str, Any]]
    harmful: list[dict[str, Any]]
    not_scored: list[str]
    trained: bool


def show(config: Config) -> Shown:
    """What a run chose, from its files alone; raises StoreError if it has not come that far."""
    description = config.out / "selection.md"
    if not description.exists():
        raise StoreError(f"{config.out}: no selection here; run `motive select` first")
    return Shown(
        text=description.read_text(encoding="utf-8").rstrip("\n"),
        kept=list(islice(each_json(config.out / "selection.jsonl"), SHOWN)),
        harmful=list(islice(each_json(config.out / "harmful.jsonl"), SHOWN)),
        not_scored=each_once(line for stage in _stages(config) for which in WHICH for line in _not_scored(stage, which)),
        trained=load_scores(config.out / "scores.parquet").trained,
    )


def _stages(config: Config) -> list[Config]:
    """The configurations of a run's stages, the coarse ones first."""
    return [*(stage_config(config, number) for number in range(1, len(config.cascade) + 1)), config]


def _not_scored(config: Config, which: str) -> list[str]:
    return reasons(open_store(config, which).rows(), "failed", "left-out")


def reasons(rows: list[Row], *statuses: str) -> list[str]:
    """`name: reason` of the rows that have one of these statuses."""
    return [f"{row['name'] or row['id']}: {row['reason']}" for row in rows if row["status"] in statuses]


def each_once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
