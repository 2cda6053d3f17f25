"""From influence to a subset: majority vote, ranking, and how sure the cut is (METHOD.md 3)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.influence import Scores
from motive.files import write_atomic, write_json, write_jsonl
from motive.text import printable

UNTRAINED = "The model is UNTRAINED: its scores exercise the method and say nothing about motion."


@dataclass(frozen=True)
class Selection:
    """The pool, ranked; arrays are over its N clips in order of id unless they say otherwise.

    order: clip indices, best first. kept, harmful: the first K and the last K of `order` (fewer harmful ones if the two
    would overlap). votes: queries that voted for a clip. mean: mean influence. cuts: tau_q, [Q].
    margin: how far the scores of the last kept and the first other clip would have to move toward each other for the two
    to change places; None if every clip is kept. sure: whether that is more than the error of a score.
    """

    order: NDArray[np.int64]
    kept: NDArray[np.int64]
    harmful: NDArray[np.int64]
    votes: NDArray[np.int64]
    mean: NDArray[np.float64]
    cuts: NDArray[np.float64]
    margin: float | None
    sure: bool


def select(scores: Scores, keep: float) -> Selection:
    """Rank by votes, then by mean influence, then by id; keep the best share `keep` of the pool, at least one clip.

    Query q votes for the clips with I[n, q] > tau_q, its (1 - keep) quantile.
    """
    influence = scores.influence.astype(np.float64)
    count = len(influence)
    cuts = np.quantile(influence, 1 - keep, axis=0)
    votes = (influence > cuts).sum(axis=1)
    mean = influence.mean(axis=1)
    ids = scores.clips["id"].to_pylist()
    order = np.array(sorted(range(count), key=lambda n: (-votes[n], -mean[n], ids[n])))
    size = max(1, int(count * keep + 0.5))
    margin = _margin(influence, cuts, order[size - 1], order[size]) if size < count else None
    return Selection(
        order=order,
        kept=order[:size],
        harmful=order[max(size, count - size) :],
        votes=votes,
        mean=mean,
        cuts=cuts,
        margin=margin,
        sure=margin is None or margin > (scores.error_bar or 0.0),
    )


def save_selection(selection: Selection, scores: Scores, folder: Path) -> None:
    """Write what people and programs read:

    selection.jsonl, harmful.jsonl   the kept clips, best first, and the harmful ones, worst first
    ranking.parquet                  every clip: rank, votes, mean influence, influence on each query
    per_query.json                   each query's cut and its own best and worst clips
    selection.md                     a table of the kept and the harmful clips, and how sure the cut is
    """
    clips = scores.clips.to_pylist()
    queries = [query["id"] for query in scores.queries]
    rank = np.empty(len(clips), np.int64)
    rank[selection.order] = np.arange(1, len(clips) + 1)

    def entry(n: int) -> dict[str, Any]:
        clip = clips[n]
        influence = {query: float(value) for query, value in zip(queries, scores.influence[n], strict=True)}
        judged = {"rank": int(rank[n]), "votes": int(selection.votes[n]), "mean_influence": float(selection.mean[n])}
        return clip | {"extra": json.loads(clip["extra"])} | judged | {"influence": influence}

    write_jsonl(folder / "selection.jsonl", map(entry, selection.kept))
    write_jsonl(folder / "harmful.jsonl", map(entry, selection.harmful[::-1]))
    write_atomic(folder / "ranking.parquet", _ranking(selection, scores, rank))
    write_json(folder / "per_query.json", _per_query(selection, scores))
    write_atomic(folder / "selection.md", (describe(selection, scores) + "\n").encode())


def describe(selection: Selection, scores: Scores) -> str:
    """The outcome in Markdown: what it rests on, the kept clips, the harmful clips."""
    clips = scores.clips.to_pylist()
    total, queries = len(clips), len(scores.queries)
    place = {int(n): i for i, n in enumerate(selection.order, start=1)}

    def table(chosen: NDArray[np.int64]) -> list[str]:
        head = ["rank", "clip", "votes", "mean influence", "px/frame", "label", "caption"]
        rows = [
            [place[int(n)], clips[n]["name"], f"{selection.votes[n]}/{queries}", f"{selection.mean[n]:+.4f}",
             f"{clips[n]['motion_sustained']:.2f}", clips[n]["label"], clips[n]["caption"][:60]]
            for n in chosen
        ]  # fmt: skip
        return _markdown_table(head, rows)

    lines = [f"Kept {len(selection.kept)} of {total} clips by the votes of {queries} queries."]
    lines += caveats(selection, scores)
    lines += [
        "",
        "## Kept",
        "",
        *table(selection.kept),
    ]
    if len(selection.harmful):
        lines += ["", "## Harmful, worst first", "", *table(selection.harmful[::-1])]
    return "\n".join(lines)


def caveats(selection: Selection, scores: Scores) -> list[str]:
    """What a reader must know before trusting the cut, a sentence each."""
    lines = []
    if not scores.trained:
        lines.append(UNTRAINED)
    if scores.error_bar:
        lines.append(f"Each score carries an error of about {scores.error_bar:.3f} from the projection.")
    if selection.margin is not None and not selection.sure and scores.error_bar:
        lines.append(
            f"The cut is NOT SURE: a change of {selection.margin:.4f} in the scores at the cut, which is within that error, "
            "would exchange the last clip kept and the first one left out. More dimensions make it surer."
        )
    elif selection.margin is not None and not selection.sure:
        lines.append("The clips on both sides of the cut score alike: which one is kept is a matter of their ids.")
    elif selection.margin is not None:
        lines.append(f"The clips on both sides of the cut are {selection.margin:.4f} apart in score.")
    return lines


def _margin(influence: NDArray[np.float64], cuts: NDArray[np.float64], inside: int, outside: int) -> float:
    """The smallest e such that lowering all scores of `inside` and raising all of `outside` by e reverses their order."""

    def reversed_by(e: float) -> bool:
        low, high = influence[inside] - e, influence[outside] + e
        lower, higher = (low > cuts).sum(), (high > cuts).sum()
        return bool(higher > lower or (higher == lower and high.mean() >= low.mean()))

    # The order can only change where a vote is lost or won, or where the means meet.
    meeting = (influence[inside].mean() - influence[outside].mean()) / 2
    turning = np.concatenate([influence[inside] - cuts, cuts - influence[outside], [meeting]])
    for e in np.sort(turning[turning >= 0]):
        if reversed_by(float(np.nextafter(e, np.inf) + 1e-12)):
            return float(e)
    return float("inf")


def _ranking(selection: Selection, scores: Scores, rank: NDArray[np.int64]) -> bytes:
    table = scores.clips
    fate = np.full(len(rank), "", dtype=object)
    fate[selection.kept], fate[selection.harmful] = "kept", "harmful"
    for name, values in (
        ("rank", rank),
        ("votes", selection.votes),
        ("mean_influence", selection.mean),
        ("chosen", fate),
    ):
        table = table.append_column(name, pa.array(values))
    for q, query in enumerate(scores.queries):
        table = table.append_column(f"influence:{query['id']}", pa.array(scores.influence[:, q]))
    sink = pa.BufferOutputStream()
    pq.write_table(table.take(selection.order), sink)
    return bytes(sink.getvalue().to_pybytes())


def _per_query(selection: Selection, scores: Scores) -> list[dict[str, Any]]:
    ids = scores.clips["id"].to_pylist()
    size = len(selection.kept)
    entries = []
    for q, query in enumerate(scores.queries):
        column = scores.influence[:, q].tolist()
        order = [n for _, _, n in sorted((-value, ids[n], n) for n, value in enumerate(column))]
        ends = {"best": order[:size], "worst": order[::-1][: min(size, len(ids) - size)]}
        chosen = {name: [{"id": ids[n], "influence": column[n]} for n in part] for name, part in ends.items()}
        about = {"id": query["id"], "name": query["name"], "caption": query["caption"]}
        entries.append({"query": about, "cut": float(selection.cuts[q]), **chosen})
    return entries


def _markdown_table(head: list[str], rows: list[list[object]]) -> list[str]:
    """Lines of a Markdown table whose columns also align as plain text."""
    cells = [head, *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _cell(value: object) -> str:
    """A value as one cell of a Markdown table, with nothing in it that a terminal or a page would obey."""
    return printable(value).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "\\`")
