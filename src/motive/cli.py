"""The command line: parse, call one function, print. Everything else is in the library."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from motive.attribution.selection import UNTRAINED
from motive.baselines.commands import baseline
from motive.command_line import AsJson, Settings, Source, Tracker, print_result, progress_for, read_config, safe
from motive.errors import MotiveError
from motive.evaluation.commands import evaluate
from motive.evaluation.study.commands import app as study_app
from motive.lab.commands import app as lab_app
from motive.report.commands import motion, report, view
from motive.store_commands import app as store_app
from motive.training.commands import generate, train

if TYPE_CHECKING:
    from motive.verbs import Indexed


class Verbs(TyperGroup):
    """A user's error is told in words and ends with exit code 1, an interruption with exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MotiveError as error:
            print(f"motive: {safe(str(error))}", file=sys.stderr)
            raise typer.Exit(1) from None
        except (OSError, MemoryError, RuntimeError) as error:
            # torch tells a lack of memory by a RuntimeError; any other one is a defect of ours, shown whole.
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            print(f"motive: {safe(str(error))}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("motive: interrupted; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Verbs,
    help="Which training clips teach a video diffusion model motion, and the best tenth of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Pool = Annotated[str | None, typer.Option(help="Clips to choose from: a folder of videos or a manifest.")]
Queries = Annotated[str | None, typer.Option(help="Clips that show the wanted motion, likewise.")]
Model = Annotated[str | None, typer.Option(help="A diffusers pipeline folder or hub id.")]
Out = Annotated[str | None, typer.Option(help="Folder of the run.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Stream clips; keep no prepared inputs on disk.")]
Engine = Annotated[str | None, typer.Option(help="Where workers run: local, or ray.")]
Address = Annotated[str | None, typer.Option(help="Of a running Ray cluster, or auto.")]
Shard = Annotated[str | None, typer.Option(help="Only part i of n of the shards, as i/n, i from 0: for job arrays.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try clips again that are recorded as failed.")]


@app.command()
def run(
    source: Source = None,
    pool: Pool = None,
    queries: Queries = None,
    model: Model = None,
    tracker: Tracker = None,
    out: Out = None,
    no_cache: NoCache = False,
    prove_it: Annotated[bool, typer.Option("--prove", help="Then also do what `motive prove` does.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Everything: index, score, select, export, report. The same command again goes on from where it stopped."""
    from motive import verbs
    from motive.proving import prove
    from motive.report.write import write_report

    config = read_config(source, settings, pool=pool, queries=queries, model=model, tracker=tracker, out=out, no_cache=no_cache)
    progress = progress_for(as_json)
    done = verbs.run(config, progress)
    shown = verbs.show(config)
    page = (prove if prove_it else write_report)(config, progress)
    lines = [*_counts(done), "", shown.text, "", f"for trainers: {config.out / 'export'}", f"open in a browser: {page}"]
    print_result(as_json, asdict(done) | asdict(shown) | {"report": str(page)}, lines)


@app.command()
def prove(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Fine-tune the model on every arm's clips, generate, measure, compare, and report: whether the selection was right."""
    from motive.proving import prove as prove_run

    config = read_config(source, settings)
    page = prove_run(config, progress_for(as_json))
    table = config.out / "metrics.md"
    lines = [*table.read_text(encoding="utf-8").splitlines(), "", f"open in a browser: {page}"]
    print_result(as_json, {"report": str(page), "metrics": str(config.out / "metrics.json")}, lines)


@app.command()
def prepare(
    source: Source = None,
    pool: Pool = None,
    queries: Queries = None,
    model: Model = None,
    tracker: Tracker = None,
    out: Out = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The first half of index, which needs no denoiser: decode, track motion, encode."""
    from motive import verbs

    config = read_config(source, settings, pool=pool, queries=queries, model=model, tracker=tracker, out=out)
    failed = verbs.prepare(config, progress_for(as_json))
    folder = config.out / "prepared"
    lines = [f"prepared in {folder}", *(f"  not {line}" for line in failed)]
    print_result(as_json, {"folder": str(folder), "failed": failed}, lines)


@app.command()
def index(
    source: Source = None,
    pool: Pool = None,
    queries: Queries = None,
    model: Model = None,
    tracker: Tracker = None,
    out: Out = None,
    no_cache: NoCache = False,
    retry_failed: RetryFailed = False,
    engine: Engine = None,
    address: Address = None,
    shard: Shard = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Prepare and attribute every clip of the pool and every query; what is done is not done again."""
    from motive import verbs
    from motive.sharing import read_part

    part = None if shard is None else read_part(shard)
    config = read_config(
        source,
        settings,
        no_cache,
        pool=pool,
        queries=queries,
        model=model,
        tracker=tracker,
        out=out,
        engine=engine,
        address=address,
    )
    done = verbs.index(config, progress_for(as_json), retry_failed, part)
    print_result(as_json, asdict(done), _counts(done))


@app.command()
def status(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """How far an index is, how fast, and when it will be done; from its files alone, from any machine that sees them."""
    from motive.status import status as look
    from motive.status import told

    found = look(read_config(source, settings))
    print_result(as_json, asdict(found), told(found))


@app.command()
def score(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Influence of every indexed pool clip on every query, to scores.parquet."""
    from motive import verbs

    config = read_config(source, settings)
    scores = verbs.score(config)
    clips, queries = len(scores), len(scores.queries)
    file = config.out / "scores.parquet"
    facts = {"clips": clips, "queries": queries, "error_bar": scores.error_bar, "trained": scores.trained, "file": str(file)}
    within = "" if scores.error_bar is None else f", each to about +-{scores.error_bar:.3f}"
    line = f"scored {clips} clips against {queries} queries{within}: {file}"
    print_result(as_json, facts, [line, *([] if scores.trained else [UNTRAINED])])


@app.command()
def select(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Vote, rank, and keep the best share, to selection.jsonl and its companions."""
    from motive import verbs

    config = read_config(source, settings)
    verbs.select(config)
    shown = verbs.show(config)
    print_result(as_json, asdict(shown), [shown.text])


@app.command()
def union(
    folder: Annotated[Path, typer.Argument(help="A new folder for the selection.")],
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of scored runs.")],
    keep: Annotated[float | None, typer.Option(help="Share of all clips to keep; by default the runs' own.")] = None,
    export: Annotated[bool, typer.Option("--export", help="Also write the clips for trainers, as the first run says.")] = False,
    as_json: AsJson = False,
) -> None:
    """One selection over the pools of several runs with the same settings and queries."""
    from motive import verbs
    from motive.union import select_union

    configs = [read_config(run, None) for run in runs]
    selection, text = select_union(configs, folder, keep)
    failed = verbs.export(configs[0], progress_for(as_json), folder) if export else []
    facts = {"folder": str(folder), "kept": len(selection.kept), "clips": len(selection.order), "failed": failed}
    print_result(as_json, facts, [text, *(f"  not {line}" for line in failed)])


@app.command()
def export(source: Source = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Write the selection in the formats that trainers read, to export/."""
    from motive import verbs

    config = read_config(source, settings)
    failed = verbs.export(config, progress_for(as_json))
    folder = config.out / "export"
    print_result(as_json, {"folder": str(folder), "failed": failed}, [f"exported to {folder}", *(f"  not {f}" for f in failed)])


@app.command()
def show(
    source: Source = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet of best and worst clips, a PNG.")] = None,
    query: Annotated[str | None, typer.Option(help="Make the sheet for this query alone: its id or its file's stem.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The ranking of a run, what failed in it and why."""
    from motive import verbs
    from motive.report.sheet import write_query_sheet, write_sheet

    config = read_config(source, settings)
    shown = verbs.show(config)
    lines = [shown.text, *(f"not scored: {line}" for line in shown.not_scored)]
    if sheet is not None:
        if query is None:
            write_sheet(config, sheet)
        else:
            write_query_sheet(config, query, sheet)
        lines.append(f"contact sheet: {sheet}")
    print_result(as_json, asdict(shown), lines)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check versions, devices and codecs, and run the method on one small clip."""
    from motive.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            print(f"{'ok ' if finding.well else 'BAD'}  {finding.what:24} {finding.detail}", flush=True)
    well = all(finding.well for finding in findings)
    if as_json:
        print(json.dumps({"well": well, "findings": [vars(finding) for finding in findings]}))
    raise typer.Exit(0 if well else 1)


@app.command()
def build_model(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
) -> None:
    """Build a small Wan folder with random weights, for tests and trials."""
    from motive.models.build import build_wan

    build_wan(folder, seed=seed)
    print(f"{folder}: a WanPipeline with random weights; it generates noise")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put everything.")] = Path("demo"),
    clips: Annotated[
        int, typer.Option(help="How many clips of each of ten motions; half as many of each control.", min=1)
    ] = 16,
    as_json: AsJson = False,
) -> None:
    """Render a pool whose motion is known, run the whole method on it, and say how right it was."""
    from motive import verbs
    from motive.lab.demo import run_demo
    from motive.lab.suite import SuiteSpec

    few = max(1, clips // 2)
    spec = SuiteSpec("demo", 0, clips, 1, static_clips=few, camera_clips=few, cartoon_clips=few)
    done = run_demo(folder.resolve(), spec, progress_for(as_json))
    shown = verbs.show(done.config)
    lines = [*_counts(done.indexed), "", shown.text, "", "Clips with the query's motion in the best tenth of the pool:", ""]
    lines += [f"{row[0]:24} {row[1]:20} {row[2]:20} {row[3]}" for row in done.table]
    lines += ["", f"contact sheet of one query: {done.sheet}", f"for trainers: {done.config.out / 'export'}"]
    lines += ["", f"open in a browser: {done.report}"]
    facts = {"table": done.table, "sheet": str(done.sheet), "report": str(done.report)}
    print_result(as_json, asdict(done.indexed) | asdict(shown) | facts, lines)


app.command()(train)
app.command()(generate)
app.command()(motion)
app.command()(report)
app.command()(view)
app.command()(baseline)
app.command()(evaluate)
app.add_typer(lab_app, name="lab")
app.add_typer(store_app, name="store")
app.add_typer(study_app, name="study")


def main() -> None:
    """The `motive` command."""
    app()


def _counts(done: "Indexed") -> list[str]:
    lines = [f"{done.pool} clips and {done.queries} queries attributed"]
    for title, reasons in (("failed", done.failed), ("left out", done.left_out)):
        if reasons:
            lines += [f"{len(reasons)} {title}:", *(f"  {reason}" for reason in reasons)]
    return lines + [f"note: {note}" for note in done.notes] + ([] if done.trained else [f"note: {UNTRAINED}"])
