"""`motive report`, `motive view` and `motive motion`: the pictures' part of the command line."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from motive.command_line import AsJson, Settings, Source, Tracker, print_result, progress_for, read_config


def report(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Write the run as pages that open from disk, to report/: the best and worst clips, and what came of them."""
    from motive.report.write import write_report

    index = write_report(read_config(source, settings), progress_for(as_json))
    print_result(as_json, {"file": str(index)}, [f"open in a browser: {index}"])


def view(
    source: Source = None,
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 8338,
    settings: Settings = None,
) -> None:
    """Serve the report on this machine alone, to choose queries, threshold and number of clips anew, and export that choice."""
    from motive.report.server import ReportServer
    from motive.report.write import write_report

    config = read_config(source, settings)
    write_report(config, progress_for(False))
    with ReportServer(config, port) as server:
        print(f"http://127.0.0.1:{server.server_port}/", "Ctrl-C stops.", sep="\n", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


def motion(
    clip: Annotated[Path, typer.Argument(help="A video file.")],
    out: Annotated[Path, typer.Option(help="Folder for the video and the sheet.")] = Path(),
    source: Annotated[Path | None, typer.Option("--config", help="A YAML configuration, or the folder of a run.")] = None,
    tracker: Tracker = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """See what tracker and mask make of a clip: a video and a contact sheet. Takes the settings of `video` and `motion`."""
    from motive.report.motion import show_motion

    # A run's other settings do not matter here, but a configuration has them.
    rest = [] if source else [f"{key}=." for key in ("pool", "queries", "model.path", "out")]
    config = read_config(source, [*rest, *(settings or [])], tracker=tracker)
    seen = show_motion(clip, config, out)
    moved = asdict(seen.motion)
    lines = [f"{seen.video}", f"{seen.sheet}", "; ".join(f"{name} {_short(value)}" for name, value in moved.items())]
    print_result(as_json, {"video": str(seen.video), "sheet": str(seen.sheet)} | moved, lines)


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
