"""What the command line's files share: common options, reading the configuration, printing results."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from motive.config import Config, load_config
from motive.progress import Progress, Silent, for_terminal
from motive.text import printable

Source = Annotated[Path | None, typer.Argument(help="A YAML configuration, or the folder of an earlier run.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.key=value. Repeatable.")]
Tracker = Annotated[
    str | None,
    typer.Option(
        help="dis, dis-fast, farneback, raft, alltracker, alltracker-tiny, ..., or a function, as package.module:name."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs, and no progress.")]


def read_config(source: Path | None, settings: list[str] | None, no_cache: bool = False, **shortcuts: str | None) -> Config:
    """The configuration of a file or run's folder, with what a command's shortcuts and `--set` override."""
    keys = {
        "pool": "pool",
        "queries": "queries",
        "model": "model.path",
        "tracker": "motion.tracker",
        "out": "out",
        "engine": "engine.kind",
        "address": "engine.address",
    }
    given = [f"{keys[name]}={json.dumps(value, ensure_ascii=False)}" for name, value in shortcuts.items() if value is not None]
    return load_config(source, [*given, *(["store.cache=false"] if no_cache else []), *(settings or [])])


def progress_for(as_json: bool) -> Progress:
    return Silent() if as_json else for_terminal()


def print_result(as_json: bool, facts: dict[str, Any], lines: list[str]) -> None:
    """One JSON object, or the lines with nothing in them that a terminal would obey."""
    print(json.dumps(facts) if as_json else "\n".join(safe(line) for line in lines))


def safe(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
