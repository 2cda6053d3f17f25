"""A study as static files, which open from disk, and the files of votes that come back from them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from motive.errors import StudyError
from motive.evaluation.study.page import page
from motive.evaluation.study.sheet import code, rater_name, sheet, sheet_data
from motive.evaluation.study.study import TIE, Study
from motive.evaluation.study.votes import Vote, Votes
from motive.files import write_atomic
from motive.progress import Progress, Silent

VOTES_LIMIT = 1 << 24
"""Bytes of a file of votes; 16 MiB hold more than 100,000 of them."""


@dataclass(frozen=True)
class Exported:
    """A rater's name and page."""

    rater: str
    page: Path


def export_study(
    study: Study, folder: Path, out: Path, raters: Sequence[str], progress: Progress | None = None
) -> list[Exported]:
    """Write a page for each rater to `out`, rater-01.html and so on, with the videos they share in out/media.

    The pages open from disk, need no network and name no arm; each holds its own rater's sheet. Raises StudyError if the
    folder is not empty or a name is none or stands twice.
    """
    names = [rater_name(name) for name in raters]
    if not names or len(set(names)) < len(names):
        raise StudyError("give at least one rater, and each name once")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out}: not an empty folder; choose another one")
    sheets = [sheet(study, name) for name in names]
    shown = sorted({video for entries in sheets for entry in entries for video in entry.sides})
    (out / "media").mkdir(parents=True)
    with (progress or Silent()).steps("copying videos", len(shown)) as step:
        # In the order of ids and without the sources' times, so that listing by date tells nothing either.
        for video in shown:
            shutil.copyfile(folder / "media" / study.files[video], out / "media" / f"{video}.mp4")
            step()
    done = []
    for number, name in enumerate(names, start=1):
        data = {
            "study": study.id,
            "question": study.question,
            "pairs": study.sheet_size,
            "rater": name,
            "code": code(study, name),
            "number": f"{number:02}",
            "sheet": sheet_data(study, name),
        }
        file = out / f"rater-{number:02}.html"
        write_atomic(file, page(data, served=False).encode())
        done.append(Exported(name, file))
    return done


Text = Annotated[str, StringConstraints(max_length=200)]
Moment = Annotated[int, Field(ge=946_684_800_000, lt=4_102_444_800_000)]
"""Milliseconds since 1970, between the years 2000 and 2100."""


class VoteOnFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    pair: Text
    choice: Text
    at: Moment


class VotesOnFile(BaseModel):
    """What a rater's page saves."""

    model_config = ConfigDict(extra="forbid", strict=True)
    study: Text
    rater: Text
    code: Text
    votes: list[VoteOnFile]


def import_votes(study: Study, votes: Votes, file: Path) -> tuple[str, int]:
    """Record a rater's file of votes, all or nothing; returns the rater and how many votes were new.

    The same file again changes nothing, and an older one never takes back a newer answer. Raises StudyError if the file
    is not this study's, or was not made by its rater's page.
    """
    try:
        if file.stat().st_size > VOTES_LIMIT:
            raise StudyError(f"{file}: has {file.stat().st_size:,} bytes; a file of votes is smaller")
        said = VotesOnFile.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        words = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise StudyError(f"{file}: not a file of votes: {words}") from None
    if said.study != study.id:
        raise StudyError(f"{file}: votes of another study")
    rater = rater_name(said.rater)
    if said.code != code(study, rater):
        raise StudyError(f"{file}: its code is not that of the rater {rater!r}, so its page did not write it")
    sides = {shown.pair.id: shown.sides for shown in sheet(study, rater)}
    for number, vote in enumerate(said.votes, start=1):
        if vote.pair not in sides or vote.choice not in (TIE, *sides[vote.pair]):
            raise StudyError(f"{file}: vote {number} is for a pair or video that {rater!r} was not shown")
    return rater, votes.add(Vote(rater, vote.pair, vote.choice, vote.at) for vote in said.votes)
