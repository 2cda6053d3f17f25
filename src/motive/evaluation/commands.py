"""`motive evaluate`."""

import json
from typing import Annotated

import typer

from motive.command_line import AsJson, Settings, Source, print_result, progress_for, read_config


def evaluate(
    source: Source = None,
    official: Annotated[bool, typer.Option("--official", help="Also run VBench, in an environment of its own.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Measure the videos in samples/ of a run, and compare its arms: metrics.json and metrics.md."""
    from motive.evaluation.evaluate import evaluate as measure

    file = measure(read_config(source, settings), progress_for(as_json), official)
    table = file.with_suffix(".md")
    lines = [*table.read_text(encoding="utf-8").splitlines(), "", f"{file}", f"{table}"]
    facts = json.loads(file.read_text(encoding="utf-8"))
    print_result(as_json, {"file": str(file)} | facts, lines)
