"""What people and programs read of a selection."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from motive.attribution.ranking import ranked, write_ranking
from motive.attribution.scores import DESCRIBING, Scores
from motive.attribution.selection import Selection, caveats
from motive.files import new_file, write_atomic, write_jsonl
from motive.text import printable

SHOWN = 1000
"""Clips that a page for people lists at most, of those kept and of those harmful, and per_query.json of each query."""


def save_selection(selection: Selection, scores: Scores, folder: Path) -> None:
    """Write what people and programs read:

    selection.jsonl, harmful.jsonl   the kept clips, best first, and the harmful ones, worst first
    ranking.parquet                  every clip: rank, votes, mean influence, influence on each query
    per_query.json                   each query's cut and its own best and worst clips, up to 1,000 of each
    selection.md                     a table of up to 1,000 kept and harmful clips, and how sure the cut is
    """
    file, count = folder / "ranking.parquet", len(scores)
    write_ranking(file, selection, scores)
    kept, harmful = len(selection.kept), len(selection.harmful)
    write_jsonl(folder / "selection.jsonl", (_entry(row, scores) for row in ranked(file, 0, kept)))
    worst = ranked(file, count - harmful, count, backward=True)
    write_jsonl(folder / "harmful.jsonl", (_entry(row, scores) for row in worst))
    _write_per_query(folder / "per_query.json", selection, scores)
    write_atomic(folder / "selection.md", (describe(selection, scores) + "\n").encode())


def describe(selection: Selection, scores: Scores) -> str:
    """The outcome in Markdown: what it rests on, the kept clips, the harmful clips."""
    total, queries = len(scores), len(scores.queries)

    def table(chosen: NDArray[np.int64], ranks: range) -> list[str]:
        head = ["rank", "clip", "votes", "mean influence", "px/frame", "label", "caption"]
        clips = scores.rows(chosen[:SHOWN], ["name", "motion_sustained", "label", "caption"]).to_pylist()
        rows: list[list[object]] = [
            [rank, clip["name"], f"{selection.votes[n]}/{queries}", f"{selection.mean[n]:+.4f}",
             f"{clip['motion_sustained']:.2f}", clip["label"], clip["caption"][:60]]
            for n, rank, clip in zip(chosen, ranks, clips, strict=False)
        ]  # fmt: skip
        more = ["", f"and {len(chosen) - SHOWN:,} more"] if len(chosen) > SHOWN else []
        return [*_markdown_table(head, rows), *more]

    lines = [f"Kept {len(selection.kept)} of {total} clips by the votes of {queries} queries."]
    lines += caveats(selection, scores)
    lines += ["", "## Kept", "", *table(selection.kept, range(1, total + 1))]
    if len(selection.harmful):
        lines += ["", "## Harmful, worst first", "", *table(selection.harmful[::-1], range(total, 0, -1))]
    return "\n".join(lines)


def _entry(row: dict[str, Any], scores: Scores) -> dict[str, Any]:
    clip = {name: row[name] for name in DESCRIBING} | {"extra": json.loads(row["extra"])}
    judged = {name: row[name] for name in ("rank", "votes", "mean_influence")}
    names = zip(scores.queries, scores.facts.columns, strict=True)
    return clip | judged | {"influence": {query["id"]: row[column] for query, column in names}}


def _write_per_query(file: Path, selection: Selection, scores: Scores) -> None:
    """A query at a time, as the indented JSON that `write_json` makes of the whole."""
    with new_file(file) as aside, aside.open("w", encoding="utf-8") as text:
        start = "["
        for entry in _per_query(selection, scores):
            body = json.dumps(entry, indent=1, ensure_ascii=False)
            text.write(start + "\n " + body.replace("\n", "\n "))
            start = ","
        text.write("\n]\n")


def _per_query(selection: Selection, scores: Scores) -> Iterator[dict[str, Any]]:
    kept = len(selection.kept)
    sizes = min(SHOWN, kept), min(SHOWN, kept, len(scores) - kept)
    for q, query in enumerate(scores.queries):
        best, worst = _ends(scores, q, *sizes)
        about = {"id": query["id"], "name": query["name"], "caption": query["caption"]}
        yield {"query": about, "cut": float(selection.cuts[q]), "best": best, "worst": worst}


def _ends(scores: Scores, query: int, best: int, worst: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A query's best clips, best first, and its worst, worst first; of equal ones the first id is better."""
    column = scores.column(query)
    highest = np.partition(column, -best)[-best]
    lowest = np.partition(column, worst - 1)[worst - 1] if worst else -np.inf
    places = np.flatnonzero((column >= highest) | (column <= lowest))
    clips = pa.table({"id": scores.rows(places, ["id"])["id"], "influence": column[places]})
    clips = clips.sort_by([("influence", "descending"), ("id", "ascending")])
    return clips.slice(0, best).to_pylist(), clips.slice(len(clips) - worst).to_pylist()[::-1]


def _markdown_table(head: list[str], rows: list[list[object]]) -> list[str]:
    """Lines of a Markdown table whose columns also align as plain text."""
    cells = [head, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _cell(value: object) -> str:
    """A value as one cell of a Markdown table, with nothing in it that a terminal or a page would obey."""
    return printable(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "\\`")
