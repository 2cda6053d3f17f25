"""Every clip in order of rank, as a file, whatever the size of the pool.

Clips come in the store's order and leave in that of their ranks. They are first dealt out to files of a window of ranks each,
then each window is put in order in memory.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.scores import DESCRIBING, Scores
from motive.attribution.selection import Selection
from motive.files import new_file

WINDOW = 1 << 16
"""Ranks of a window, unless there would be more than WINDOWS."""

WINDOWS = 256

ROWS = 1024
"""Clips that become Python objects at a time."""

JUDGED = {"rank": pa.int64(), "votes": pa.int64(), "mean_influence": pa.float64(), "chosen": pa.string()}


def write_ranking(file: Path, selection: Selection, scores: Scores) -> None:
    """Parquet: DESCRIBING, rank, votes, mean influence, `chosen` (kept, harmful or nothing), and influence on each query."""
    columns = [*DESCRIBING, *JUDGED, *scores.facts.columns]
    rank = np.empty(len(scores), np.int64)
    rank[selection.order] = np.arange(1, len(scores) + 1)
    window = max(WINDOW, -(-len(scores) // WINDOWS))
    with _scratch(file.with_name(f".{file.name}.windows")) as folder, new_file(file) as aside:
        windows = [folder / str(n) for n in range(-(-len(scores) // window))]
        with ExitStack() as stack:
            writers: dict[int, Any] = {}
            for first, table in scores.blocks([*DESCRIBING, *scores.facts.columns]):
                judged = _judged(table, selection, rank, first).select(columns)
                for n, part in _dealt(judged, (rank[first : first + len(table)] - 1) // window):
                    if n not in writers:
                        sink = stack.enter_context(pa.OSFile(str(windows[n]), "wb"))
                        writers[n] = stack.enter_context(pa.ipc.new_stream(sink, part.schema))
                    writers[n].write_table(part)
        _join(windows, aside)


def ranked(file: Path, first: int, last: int, backward: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a ranking from place `first`, from 0, up to `last`, best first or the other way round."""
    with pq.ParquetFile(file) as ranking:
        layout = ranking.metadata
        sizes = [layout.row_group(n).num_rows for n in range(layout.num_row_groups)]
        starts = [0, *np.cumsum(sizes).tolist()]
        some = [n for n in range(len(sizes)) if starts[n] < last and starts[n + 1] > first]
        for n in reversed(some) if backward else some:
            start, end = max(first, starts[n]), min(last, starts[n + 1])
            table = ranking.read_row_group(n).slice(start - starts[n], end - start)
            pieces = range(0, len(table), ROWS)
            for piece in reversed(pieces) if backward else pieces:
                rows = table.slice(piece, ROWS).to_pylist()
                yield from reversed(rows) if backward else rows


def _judged(table: pa.Table, selection: Selection, rank: NDArray[np.int64], first: int) -> pa.Table:
    own = slice(first, first + len(table))
    fate = np.full(len(table), "", dtype=object)
    fate[rank[own] <= len(selection.kept)] = "kept"
    fate[rank[own] > len(rank) - len(selection.harmful)] = "harmful"
    for (name, kind), values in zip(JUDGED.items(), (rank[own], selection.votes[own], selection.mean[own], fate), strict=True):
        table = table.append_column(name, pa.array(values).cast(kind))
    return table


def _dealt(table: pa.Table, windows: NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    """A table's rows by the window that each belongs to."""
    order = np.argsort(windows, kind="stable")
    found, starts = np.unique(windows[order], return_index=True)
    table = table.take(order)
    for n, start, end in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=True):
        yield n, table.slice(start, end - start)


def _join(windows: Sequence[Path], file: Path) -> None:
    with ExitStack() as stack:
        writer = None
        for window in windows:
            with pa.OSFile(str(window)) as source:
                table = pa.ipc.open_stream(source).read_all()
            window.unlink()
            table = table.take(np.argsort(table["rank"].to_numpy()))
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table, row_group_size=len(table))


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, also where a killed run has left one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
