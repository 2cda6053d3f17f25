"""`motive report` and `motive view`: the pages' part of the command line."""

from typing import Annotated

import typer

from motive.command_line import AsJson, Settings, Source, print_result, progress_for, read_config


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
