"""Arms: ways of choosing training clips that are to be compared, and the clips of each.

    base        no training at all
    full        every scored clip of the pool
    motive      selection.jsonl
    bottom      harmful.jsonl
    NAME        baselines/NAME/selection.jsonl

NAME@SEED is the same with another seed of training than the run's.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.attribution.scores import load_scores
from motive.config import Config
from motive.errors import ConfigError, StoreError
from motive.files import each_json
from motive.video.table import Clip

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
SEED = re.compile(r"\d{1,18}")

CHOSEN = {"motive": ("selection.jsonl", "motive select"), "bottom": ("harmful.jsonl", "motive select")}
"""Files of arms that Motive's own selection gives, and the command that writes each."""


@dataclass(frozen=True)
class Arm:
    """text: how the arm is called, NAME or NAME@SEED, also on disk."""

    name: str
    seed: int
    text: str

    def folder(self, out: Path) -> Path:
        """Where what training it gave lies."""
        return out / "arms" / self.text


def read_arms(config: Config, arms: Sequence[str] | None) -> list[Arm]:
    """The arms meant by `arms`, or by the configuration if there are none, each once. Raises ConfigError for what is no arm."""
    return list(dict.fromkeys(_read_arm(text, config.seed) for text in (arms or config.arms)))


def arm_clips(config: Config, arm: Arm) -> list[Clip]:
    """The clips that an arm trains on, best first where they have an order. Raises StoreError if they are not chosen yet."""
    if arm.name == "full":
        # Of a cascade the whole pool is what its first stage scored.
        place = config.out / "coarse-1" if config.cascade else config.out
        clips = _scored(place / "scores.parquet")
    else:
        clips = [_clip(entry) for entry in _chosen(config.out, arm)]
    if not clips:
        raise StoreError(f"{config.out}: the arm {arm.name} has no clips")
    if len({clip.id for clip in clips}) < len(clips):
        raise StoreError(f"{config.out}: the arm {arm.name} lists a clip twice")
    return clips


def _read_arm(text: str, seed: int) -> Arm:
    name, at, given = text.partition("@")
    if not NAME.fullmatch(name) or (at and not SEED.fullmatch(given)):
        raise ConfigError(f"{text!r} is no arm; write NAME or NAME@SEED, such as motive or random@1")
    own = seed if not at or name == "base" else int(given)
    return Arm(name, own, name if own == seed else f"{name}@{own}")


def _chosen(out: Path, arm: Arm) -> Iterable[dict[str, Any]]:
    name, command = CHOSEN.get(arm.name, (f"baselines/{arm.name}/selection.jsonl", f"motive baseline {out} {arm.name}"))
    file = out / name
    if not file.exists():
        raise StoreError(
            f"{file}: missing, so the arm {arm.name} has no clips; run `{command}` first, or leave it out of `arms`"
        )
    try:
        return list(each_json(file))
    except ValueError as error:
        raise StoreError(f"{file}: damaged ({error}); write it again") from None


def _scored(file: Path) -> list[Clip]:
    """From what stands beside the scores, block by block: the influence itself may be large."""
    blocks = load_scores(file).blocks(["id", "key", "name", "caption", "sha256"])
    return [_clip(entry) for _, table in blocks for entry in table.to_pylist()]


def _clip(entry: dict[str, Any]) -> Clip:
    """A clip as its prepared inputs are found: where its video lies no longer matters."""
    try:
        name = entry.get("name") or entry["id"]
        return Clip(entry["id"], entry["key"], name, entry["caption"], None, entry.get("sha256"), name)
    except (KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"a line of a selection lacks {error}; write the selection again") from None
