"""Generated videos of several arms, as a folder: what a human study compares.

    samples/
      prompts.jsonl               one line a prompt: {"id": "bounce-01", "prompt": "a ball bounces"}, and if it is known
                                  the motion that it asks for, as "motion": "bounce"
      <arm>/<prompt id>-<seed>.mp4

An arm is a model or a way of choosing training clips; its folder's name is its name. Videos of two arms are comparable where
prompt and seed are the same.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.errors import ManifestError, StudyError
from motive.text import printable
from motive.video.manifests import read_rows
from motive.video.rows import VIDEO_SUFFIXES, Row

NAME_LIMIT = 80
"""Characters of an arm's name or a prompt's id."""
PROMPT_LIMIT = 4_000
"""Characters of a prompt; no text encoder reads as many, and a rater would not."""

Sample = tuple[str, int]
"""A prompt's id and the seed of its noise."""


@dataclass(frozen=True)
class Samples:
    """prompts: texts by id. videos: for each arm, by name, its files. left_out: a line for each file that is no sample.
    motions: the wanted motion of those prompts whose line names one."""

    prompts: dict[str, str]
    videos: dict[str, dict[Sample, Path]]
    left_out: tuple[str, ...]
    motions: dict[str, str]


def read_samples(folder: Path, fewest: int = 2) -> Samples:
    """Read the folder described above. Raises StudyError unless `fewest` arms have videos and every prompt is usable."""
    if not folder.is_dir():
        raise StudyError(f"{folder}: no such folder; give one that holds prompts.jsonl and a folder of videos for each arm")
    prompts, motions = _prompts(folder / "prompts.jsonl")
    left_out: list[str] = []
    videos = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if not _is_name(place.name):
            raise StudyError(
                f"{folder}: the arm {printable(place.name)!r} needs a name of printable characters, {NAME_LIMIT} at most"
            )
        videos[place.name] = _videos(place, prompts, left_out)
    videos = {arm: found for arm, found in videos.items() if found}
    if len(videos) < fewest:
        hint = f" (left out: {'; '.join(left_out[:3])})" if left_out else ""
        raise StudyError(
            f"{folder}: found {len(videos)} arms with videos named <prompt id>-<seed>.mp4, and {fewest} are needed{hint}"
        )
    return Samples(prompts, videos, tuple(left_out), motions)


def _prompts(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Texts and motions by id."""
    try:
        rows = read_rows(file)
    except ManifestError as error:
        raise StudyError(str(error)) from None
    prompts: dict[str, str] = {}
    motions: dict[str, str] = {}
    for row in rows:
        id, text = _cell(row, "id"), _cell(row, "prompt").strip()
        if not _is_name(id):
            raise StudyError(f"{row.where}: its id is empty, longer than {NAME_LIMIT} or has characters that do not print")
        if not text or len(text) > PROMPT_LIMIT:
            raise StudyError(f"{row.where}: its prompt has {len(text):,} characters; 1 to {PROMPT_LIMIT:,} are possible")
        if id in prompts:
            raise StudyError(f"{row.where}: the id {id!r} stands twice")
        prompts[id] = text
        motion = row.values.get("motion")
        if motion is not None and not (isinstance(motion, str) and _is_name(motion)):
            raise StudyError(f"{row.where}: its motion is not a name of printable characters, {NAME_LIMIT} at most")
        if motion is not None:
            motions[id] = motion
    return prompts, motions


def _cell(row: Row, name: str) -> str:
    value: Any = row.values.get(name)
    if row.problem or not isinstance(value, str):
        raise StudyError(f"{row.where}: {row.problem or f'has no text under {name!r}'}")
    return value


def _videos(place: Path, prompts: dict[str, str], left_out: list[str]) -> dict[Sample, Path]:
    found: dict[Sample, Path] = {}
    for file in sorted(path for path in place.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES):
        name = printable(f"{place.name}/{file.name}")
        prompt, _, seed = file.stem.rpartition("-")
        if not (seed.isascii() and seed.isdigit() and len(seed) <= 18):
            left_out.append(f"{name}: is not named <prompt id>-<seed>")
        elif prompt not in prompts:
            left_out.append(f"{name}: prompts.jsonl has no id {printable(prompt)!r}")
        elif (prompt, int(seed)) in found:
            left_out.append(f"{name}: the same prompt and seed as {found[prompt, int(seed)].name}")
        else:
            found[prompt, int(seed)] = file
    return found


def _is_name(name: str) -> bool:
    return bool(name.strip()) and len(name) <= NAME_LIMIT and name.isprintable()
