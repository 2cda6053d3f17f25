"""`motive store ...`: the store's part of the command line."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from motive.command_line import AsJson, print_result, progress_for

app = typer.Typer(
    help="Look after feature stores: check, compact, keep a snapshot, compare, export.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Source = Annotated[str, typer.Argument(help="A run's folder or YAML, or a store itself: its folder or s3://bucket/prefix.")]
Which = Annotated[Literal["pool", "queries"] | None, typer.Option(help="Of a run, only this store; by default both.")]
Pool = Annotated[Literal["pool", "queries"], typer.Option("--which", help="Of a run, which of its stores.")]
Snapshot = Annotated[str | None, typer.Option(help="Its clips as this snapshot has them, instead of the current ones.")]


@app.command()
def verify(
    source: Source,
    which: Which = None,
    remove_damaged: Annotated[
        bool, typer.Option("--remove-damaged", help="Delete what is damaged, so that `motive index` makes it again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every file and compare it with its checksum, its name and the plan. Exit code 1 if one is damaged and stays."""
    from motive.attribution import upkeep
    from motive.attribution.run_stores import find_stores

    facts, lines, bad = {}, [], False
    for store in find_stores(source, which):
        found = upkeep.verify(store, progress_for(as_json))
        facts[str(store.folder)] = asdict(found)
        attributed = ", ".join(f"{count} {status}" for status, count in sorted(found.statuses.items())) or "none made"
        lines.append(f"{store.folder}: {found.shards} shards with {found.rows} rows")
        lines.append(f"  {found.clips} clips: {attributed}; {found.missing} missing, {found.repeated} in several shards")
        lines += [f"  damaged: {file}: {reason}" for file, reason in found.damaged.items()]
        if remove_damaged:
            upkeep.remove_damaged(store, found.damaged)
            lines += [f"  removed {len(found.damaged)} files; `motive index` makes them again"] if found.damaged else []
        bad = bad or bool(found.damaged)
    print_result(as_json, facts, lines)
    raise typer.Exit(1 if bad and not remove_damaged else 0)


@app.command()
def compact(
    source: Source,
    which: Which = None,
    rows: Annotated[int, typer.Option(help="Rows of a new shard.", min=2)] = 65_536,
    as_json: AsJson = False,
) -> None:
    """Make few large shards of many small ones. May be stopped at any moment, and readers and writers may be at work."""
    from motive.attribution import upkeep
    from motive.attribution.run_stores import find_stores

    facts, lines = {}, []
    for store in find_stores(source, which):
        done = upkeep.compact(store, rows, progress_for(as_json))
        facts[str(store.folder)] = asdict(done)
        lines.append(f"{store.folder}: {done.before} shards, now {done.after}")
    print_result(as_json, facts, lines)


@app.command()
def snapshot(
    source: Source,
    name: Annotated[str, typer.Argument(help="A new name.")],
    which: Which = None,
    as_json: AsJson = False,
) -> None:
    """Keep the current clips and shards under a name, to score against: `motive score RUN --set influence.snapshot=NAME`."""
    from motive.attribution.run_stores import find_stores
    from motive.attribution.snapshots import take_snapshot

    facts = {str(store.folder): take_snapshot(store, name, progress_for(as_json)) for store in find_stores(source, which)}
    print_result(as_json, facts, [f"{folder}: snapshot {name} of {count} clips" for folder, count in facts.items()])


@app.command()
def diff(
    here: Source,
    there: Annotated[str, typer.Argument(help="Another one, or the same with another snapshot.")],
    which: Pool = "pool",
    snapshot: Annotated[str | None, typer.Option(help="Of the first, this snapshot.")] = None,
    other_snapshot: Annotated[str | None, typer.Option(help="Of the second, this snapshot.")] = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two stores or snapshots: settings, clips, features."""
    from motive.attribution.comparing import compare, describe_difference
    from motive.attribution.run_stores import find_stores

    ((one,), (other,)) = (find_stores(here, which, snapshot), find_stores(there, which, other_snapshot))
    found = compare(one, other)
    print_result(as_json, asdict(found), describe_difference(found))


@app.command()
def export(
    source: Source,
    target: Annotated[Path, typer.Argument(help="A new file (parquet) or folder (lance, faiss).")],
    form: Annotated[Literal["parquet", "lance", "faiss"], typer.Option("--format", help="What to write.")] = "parquet",
    which: Pool = "pool",
    snapshot: Snapshot = None,
    as_json: AsJson = False,
) -> None:
    """Write features for other tools: Parquet with float32 lists, a Lance data set, or a FAISS index."""
    from motive.attribution.run_stores import find_stores
    from motive.attribution.vectors import export_vectors

    (store,) = find_stores(source, which, snapshot)
    count = export_vectors(store, target, form, progress_for(as_json))
    print_result(as_json, {"target": str(target), "clips": count}, [f"{target}: features of {count} clips"])
