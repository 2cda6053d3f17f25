"""A study: its pairs of videos and what hides behind them. The file is the key, which stays with the organiser."""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from motive.errors import StudyError
from motive.files import digest, write_json

VERSION = 1
"""Of the key's format and of how sheets follow from it."""

TIE = ""
"""The choice of neither video; any other choice is a video's id."""

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
File = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}(-[a-z]+)?\.mp4$")]
"""Patterns, because a key may come from elsewhere and its files are served."""


class Alteration(StrEnum):
    """What an attention check shows beside a video: its first frame standing still, itself played backwards, or itself."""

    FROZEN = "frozen"
    REVERSED = "reversed"
    IDENTICAL = "identical"


@dataclass(frozen=True)
class Video:
    """id: what raters see of it, another one in every pair. file: below media/. arm: of the sample that it shows."""

    id: Id
    file: File
    arm: str


@dataclass(frozen=True)
class Pair:
    """Two videos of one prompt and seed, to be compared.

    check: None for a pair of two arms; else it is an attention check, whose first video is a sample as it is and whose
    second one is the same sample, altered.
    """

    id: Id
    prompt: str
    caption: str
    seed: int
    videos: tuple[Video, Video]
    check: Alteration | None = None

    @property
    def right(self) -> str:
        """A check's right answer: a tie between identical videos, else the one that is not altered."""
        return TIE if self.check is Alteration.IDENTICAL else self.videos[0].id


@dataclass(frozen=True)
class Study:
    """Everything of a study but its votes.

    seed: orders, sides, ids and codes follow from it. arms: in the order of tables; a comparison's first arm comes first
    here. reference: the arm that all others were compared with, or None if all were compared with all. per_rater: pairs
    that one rater gets besides all checks, or None for all. notes: what was left out, and other things to know.
    """

    seed: int
    question: str
    arms: tuple[str, ...]
    reference: str | None
    per_rater: int | None
    pairs: tuple[Pair, ...]
    checks: tuple[Pair, ...]
    notes: tuple[str, ...]
    version: int = VERSION

    @cached_property
    def id(self) -> str:
        """What binds votes to the study."""
        return digest("study", *(str(value) for value in asdict(replace(self, notes=())).values()))[:16]

    @cached_property
    def by_id(self) -> dict[str, Pair]:
        return {pair.id: pair for pair in (*self.pairs, *self.checks)}

    @property
    def sheet_size(self) -> int:
        """How many pairs and checks a rater gets."""
        return min(len(self.pairs), self.per_rater or len(self.pairs)) + len(self.checks)

    @cached_property
    def files(self) -> dict[str, str]:
        """The file of every video id."""
        return {video.id: video.file for pair in self.by_id.values() for video in pair.videos}

    @cached_property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """The pairs of arms that are compared, in the order of tables."""
        return tuple(dict.fromkeys((pair.videos[0].arm, pair.videos[1].arm) for pair in self.pairs))


def key_file(folder: Path) -> Path:
    return folder / "key.json"


def save_study(study: Study, folder: Path) -> None:
    write_json(key_file(folder), asdict(study))


def load_study(folder: Path) -> Study:
    """Read a study's key. Raises StudyError if there is none, or one of another version."""
    file = key_file(folder)
    if not file.is_file():
        raise StudyError(f"{folder}: holds no study; `motive study make` makes one")
    try:
        study = TypeAdapter(Study).validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyError(f"{file}: not a study's key: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if study.version != VERSION:
        raise StudyError(f"{file}: of version {study.version}; this Motive reads version {VERSION}")
    return study
