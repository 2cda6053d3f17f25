"""What is generated: prompts from a file, or the queries' captions."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.attribution.run_stores import open_store
from motive.config import Config
from motive.errors import ConfigError
from motive.files import write_jsonl
from motive.text import printable
from motive.video.manifests import read_rows
from motive.video.rows import Row

ID = re.compile(r"[^\W_][\w.-]{0,79}")
"""A prompt's id is a part of its videos' file names."""

NAME_LIMIT = 80
"""Characters of a motion's label, of which readers of samples take no more."""

LONGEST = 4000
"""Characters of a prompt; no text encoder reads as many."""


@dataclass(frozen=True)
class Prompt:
    """motion: the label of what should move how, if it is known."""

    id: str
    text: str
    motion: str | None


def read_prompts(config: Config) -> list[Prompt]:
    """The prompts of `generate.prompts`, or the distinct captions of the run's queries, under the first one's name.

    Raises ConfigError for a prompt that cannot be used, StoreError if the queries are not indexed.
    """
    if config.generate.prompts is not None:
        prompts = [_from_row(row) for row in read_rows(config.generate.prompts)]
    else:
        prompts = list(_from_queries(config))
    if not prompts:
        raise ConfigError(f"{config.generate.prompts or config.queries}: has no prompts; give a file as generate.prompts")
    ids = [prompt.id for prompt in prompts]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ConfigError(f"{config.generate.prompts or config.queries}: the prompt id {twice[0]!r} stands twice")
    return prompts


def write_prompts(file: Path, prompts: Iterable[Prompt]) -> None:
    """A line a prompt: id, prompt, and motion if it is known."""
    lines = ({"id": one.id, "prompt": one.text} | ({"motion": one.motion} if one.motion else {}) for one in prompts)
    write_jsonl(file, lines)


def _from_row(row: Row) -> Prompt:
    values = row.values
    name, text = _text(row, "id"), _text(row, "prompt")
    if not ID.fullmatch(name):
        raise ConfigError(
            f"{row.where}: the id {printable(name)!r} cannot be part of a file's name; use letters, digits, . _ -"
        )
    return Prompt(name, text, _motion(values))


def _text(row: Row, column: str) -> str:
    value: Any = row.values.get(column)
    text = value.strip() if isinstance(value, str) and not row.problem else ""
    if not text or len(text) > LONGEST:
        raise ConfigError(f"{row.where}: {row.problem or f'needs 1 to {LONGEST:,} characters under {column!r}'}")
    return text


def _from_queries(config: Config) -> Iterable[Prompt]:
    """In order of the queries' names."""
    rows = open_store(config, "queries").rows(["name", "caption", "extra"])
    seen: set[str] = set()
    names: set[str] = set()
    for row in sorted(rows, key=lambda row: (row["name"] or "", row["id"])):
        text = row["caption"].strip()
        if not text or text in seen:
            continue
        seen.add(text)
        name = _free_name(re.sub(r"[^\w.-]+", "-", Path(row["name"] or row["id"]).stem).strip("-._")[:70] or "query", names)
        names.add(name)
        yield Prompt(name, text[:LONGEST], _motion(json.loads(row["extra"])))


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _motion(values: Any) -> str | None:
    motion = values.get("motion") if isinstance(values, dict) else None
    return printable(motion).strip()[:NAME_LIMIT] or None if isinstance(motion, str) else None
