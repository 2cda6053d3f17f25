"""How much each clip of an arm counts in training."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from motive.config import Config
from motive.errors import StoreError
from motive.files import each_json


def clip_weights(config: Config, clips: Sequence[str]) -> dict[str, float]:
    """The weight of each clip, by id, of mean 1; a clip that is not among them is left out of training.

    With `train.weights` influence: 1 for the first of the pool's N clips in the ranking, falling by 1 / N a place; that times
    `train.harmful` for the harmful ones. Raises StoreError if a clip is not ranked, or all are left out.
    """
    if config.train.weights == "none":
        return dict.fromkeys(clips, 1.0)
    ranks, harmful = _ranks(config.out / "ranking.parquet"), _harmful(config.out / "harmful.jsonl")
    missing = [clip for clip in clips if clip not in ranks]
    if missing:
        raise StoreError(f"train.weights is influence, but {len(missing)} clips have no rank, such as {missing[0]}")
    raw = {clip: 1 - (ranks[clip] - 1) / len(ranks) for clip in clips}
    raw = {clip: weight * (config.train.harmful if clip in harmful else 1) for clip, weight in raw.items()}
    kept = {clip: weight for clip, weight in raw.items() if weight > 0}
    if not kept:
        raise StoreError("train.weights leaves out all clips of this arm: all are harmful; set train.harmful above 0")
    mean = sum(kept.values()) / len(kept)
    return {clip: weight / mean for clip, weight in kept.items()}


def _ranks(file: Path) -> dict[str, int]:
    if not file.exists():
        raise StoreError(f"{file}: missing; train.weights needs it, so run `motive select` first")
    table = pq.read_table(file, columns=["id", "rank"])
    return dict(zip(table["id"].to_pylist(), table["rank"].to_pylist(), strict=True))


def _harmful(file: Path) -> set[str]:
    if not file.exists():
        raise StoreError(f"{file}: missing; train.weights needs it, so run `motive select` first")
    return {entry["id"] for entry in each_json(file)}
