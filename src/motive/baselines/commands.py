"""`motive baseline`."""

from typing import Annotated

import typer

from motive.command_line import AsJson, Settings, Source, print_result, progress_for, read_config


def baseline(
    source: Source,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="full, random, magnitude, nomask, latents, embedding, diverse, or your own."),
    ],
    export: Annotated[bool, typer.Option("--export", help="Also write the clips for trainers.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Choose clips of a scored run in other ways than Motive's, to compare with: baselines/<name>/."""
    from motive.baselines.make import export_baseline, make_baseline

    config, progress = read_config(source, settings), progress_for(as_json)
    facts, lines = {}, []
    for name in names:
        folder = make_baseline(config, name, progress)
        failed = export_baseline(config, name, progress) if export else []
        facts[name] = {"folder": str(folder), "failed": failed}
        lines += [f"{name}: {folder}", *(f"  not {line}" for line in failed)]
    print_result(as_json, facts, lines)
