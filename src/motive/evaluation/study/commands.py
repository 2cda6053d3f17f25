"""`motive study ...`: the human study's part of the command line."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from motive.evaluation.study.study import Alteration
from motive.progress import for_terminal
from motive.text import printable

app = typer.Typer(
    help="Let people compare videos of two or more arms, blind: make a study, serve or export it, read its result.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="The study's folder. It holds the key; raters get none of it.")]


@app.command()
def make(
    samples: Annotated[Path, typer.Argument(help="A folder with prompts.jsonl and <arm>/<prompt id>-<seed>.mp4 for each arm.")],
    folder: Annotated[Path, typer.Argument(help="A new folder for the study.")],
    question: Annotated[str | None, typer.Option(help="What raters are asked about each pair.")] = None,
    reference: Annotated[str | None, typer.Option(help="Compare this arm with all others, instead of all with all.")] = None,
    pairs: Annotated[int | None, typer.Option(help="The most pairs for each two arms, spread over prompts.", min=1)] = None,
    per_rater: Annotated[
        int | None, typer.Option(help="The most pairs for one rater, spread over comparisons; by default all.", min=1)
    ] = None,
    checks: Annotated[int, typer.Option(help="Attention checks that every rater gets besides.", min=0, max=100)] = 4,
    check_kind: Annotated[
        list[Alteration] | None,
        typer.Option(
            help="Kind of check, repeatable, taken in turn: a video beside its first frame standing still, beside "
            "itself backwards, or beside itself. By default frozen and identical."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Everything random follows from it. By default drawn; who knows it can tell sides.", min=0),
    ] = None,
) -> None:
    """Plan a study and encode its videos, all in one way and under neutral names."""
    from motive.evaluation.study.make import KINDS, QUESTION, Design, make_study
    from motive.evaluation.study.samples import read_samples

    kinds = tuple(check_kind or ())
    design = Design(question or QUESTION, reference, pairs, per_rater, checks, kinds or KINDS, seed)
    made = make_study(read_samples(samples), folder, design, for_terminal())
    _say(
        f"{folder}: {len(made.pairs)} pairs of {len(made.comparisons)} comparisons and {len(made.checks)} attention checks; "
        f"a rater gets {made.sheet_size}",
        *(f"note: {note}" for note in made.notes),
        f"next: motive study serve {folder}, or motive study export {folder} PAGES --rater NAME",
    )


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 8337,
    name: Annotated[
        list[str] | None, typer.Option(help="A host name that raters may use besides addresses and localhost. Repeatable.")
    ] = None,
) -> None:
    """Serve the page to raters until Ctrl-C. Every vote is on disk before the rater sees the next pair."""
    from motive.evaluation.study.server import StudyServer
    from motive.evaluation.study.study import load_study
    from motive.evaluation.study.votes import Votes

    study = load_study(folder)
    with Votes(folder) as votes, StudyServer(study, folder, votes, host, port, name or ()) as server:
        shown = f"[{host}]" if ":" in host else host
        _say(f"http://{shown}:{server.server_port}/", "Ctrl-C stops; votes are kept, and raters go on where they were.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _say("stopped", f"the result: motive study result {folder}")


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="A new folder for pages and videos.")],
    rater: Annotated[list[str], typer.Option(help="A rater's name, repeatable; each gets a page.")],
) -> None:
    """Write pages that open from disk, without a server. Raters save their votes to a file: see `motive study import`."""
    from motive.evaluation.study.export import export_study
    from motive.evaluation.study.study import load_study

    done = export_study(load_study(folder), folder, out, rater, for_terminal())
    _say(*(f"{page.page}: for {page.rater}" for page in done), f"each needs {out / 'media'} beside it")


@app.command("import")
def import_(folder: Folder, files: Annotated[list[Path], typer.Argument(help="Files of votes that raters saved.")]) -> None:
    """Read votes that were cast on exported pages. The same file again changes nothing."""
    from motive.evaluation.study.export import import_votes
    from motive.evaluation.study.study import load_study
    from motive.evaluation.study.votes import Votes

    study = load_study(folder)
    with Votes(folder) as votes:
        for file in files:
            rater, new = import_votes(study, votes, file)
            _say(f"{file}: {new} new votes of {rater}")


@app.command()
def result(
    folder: Folder,
    checks_right: Annotated[
        float, typer.Option(help="The share of attention checks that a rater must have right to count.", min=0, max=1)
    ] = 0.75,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
) -> None:
    """Wins, ties and losses with 95 % intervals, agreement, and who was left out; also to result.md and result.json."""
    from motive.evaluation.study.result import study_result
    from motive.evaluation.study.study import load_study
    from motive.evaluation.study.table import markdown
    from motive.evaluation.study.votes import Votes
    from motive.files import write_atomic, write_json

    study = load_study(folder)
    with Votes(folder) as votes:
        found = study_result(study, votes.latest(), checks_right)
    table, facts = markdown(found), asdict(found)
    write_atomic(folder / "result.md", table.encode())
    write_json(folder / "result.json", facts)
    print(json.dumps(facts) if as_json else table, end="\n" if as_json else "")


def _say(*lines: str) -> None:
    for line in lines:
        print(printable(line), flush=True)
