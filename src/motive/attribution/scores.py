"""Scores as they lie in a file: a row a clip, read block by block, so that no pool is too large."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.errors import StoreError

DESCRIBING = (
    "id",
    "key",
    "name",
    "path",
    "caption",
    "sha256",
    "label",
    "motion_mean",
    "motion_sustained",
    "source_width",
    "source_height",
    "loss",
    "gradient_norm",
    "extra",
)
"""Columns of the pool's store that stand beside the scores."""

FACTS = "motive.scores"

BLOCK_ROWS, BLOCK_SCORES = 1 << 16, 1 << 22
"""Clips of a block at most, and scores, whichever are fewer clips."""

WORKERS = min(8, os.cpu_count() or 1)
"""Threads that read blocks."""

Part = tuple[pa.Table, NDArray[np.float32]]
"""Some clips, and their influence on the queries, [Q, clips]."""


@dataclass(frozen=True)
class Facts:
    """What is true of all scores.

    queries: Q rows of DESCRIBING columns. error_bar: the standard error of one cosine through the projection, 1 / sqrt(D');
    0 for exact features; None where influence is no cosine. trained: False if the model's weights are random. state: of the
    stores that were scored (Store.state).
    """

    queries: list[dict[str, Any]]
    error_bar: float | None
    trained: bool
    state: str = ""

    @property
    def columns(self) -> list[str]:
        """Names of the columns of influence."""
        return [f"influence:{query['id']}" for query in self.queries]


@dataclass(frozen=True)
class ScoresFile:
    """What `write_scores` wrote, to a file or to memory; held open: it stays what it is when others take its place."""

    name: str
    source: pa.NativeFile
    layout: pq.FileMetaData

    def read(self, block: int, columns: Sequence[str]) -> pa.Table:
        with _damage(self.name):
            file = pq.ParquetFile(self.source, metadata=self.layout, pre_buffer=False)
            # A name is also taken for the beginning of another one that goes on after a dot, so some may come unasked.
            return file.read_row_group(block, list(columns), use_threads=False).select(list(columns))


@dataclass(frozen=True)
class Block:
    """Some clips of all: `rows` of them from place `first` on, in block `number` of a file."""

    file: ScoresFile
    number: int
    first: int
    rows: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.file.read(self.number, columns)


@dataclass(frozen=True)
class Scores:
    """Influence of the pool's clips on the queries: of one file, or of several, whose clips follow each other."""

    facts: Facts
    files: tuple[ScoresFile, ...]

    def __len__(self) -> int:
        return sum(file.layout.num_rows for file in self.files)

    def blocks(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """These columns of all clips, block by block, with the place of a block's first clip."""
        for block in self.layout:
            yield block.first, block.read(columns)

    def each_block(self, work: Callable[[int, pa.Table], None], columns: Sequence[str]) -> None:
        """The same in several threads at once, and in no order."""

        def one(block: Block) -> None:
            work(block.first, block.read(columns))

        with ThreadPoolExecutor(WORKERS) as threads:
            for _ in threads.map(one, self.layout):
                pass

    def rows(self, places: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """These columns of the clips at some places, in the order of the places."""
        order = np.argsort(places, kind="stable")
        wanted, found = places[order], []
        for block in self.layout:
            start, end = np.searchsorted(wanted, (block.first, block.first + block.rows))
            if start < end:
                found.append(block.read(columns).take(wanted[start:end] - block.first))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables(found).take(back) if found else self.layout[0].read(columns).slice(0, 0)

    def column(self, query: int) -> NDArray[np.float32]:
        """All influence on one query, [N]."""
        name = self.facts.columns[query]
        return np.concatenate([table[name].to_numpy() for _, table in self.blocks([name])])

    @property
    def influence(self) -> NDArray[np.float32]:
        """All influence, [N, Q]: for pools that are small enough."""
        return np.stack([self.column(query) for query in range(len(self.facts.queries))], axis=1)

    @property
    def clips(self) -> pa.Table:
        """All that stands beside the influence, N rows: for pools that are small enough."""
        columns = [name for name in self.schema.names if name not in set(self.facts.columns)]
        return pa.concat_tables(table for _, table in self.blocks(columns))

    @property
    def schema(self) -> pa.Schema:
        """Columns of the blocks, the same in all files."""
        return self.files[0].layout.schema.to_arrow_schema()

    @property
    def queries(self) -> list[dict[str, Any]]:
        return self.facts.queries

    @property
    def error_bar(self) -> float | None:
        return self.facts.error_bar

    @property
    def trained(self) -> bool:
        return self.facts.trained

    @cached_property
    def layout(self) -> list[Block]:
        """All blocks, in order of their clips."""
        blocks, first = [], 0
        for file in self.files:
            for number in range(file.layout.num_row_groups):
                rows = file.layout.row_group(number).num_rows
                blocks.append(Block(file, number, first, rows))
                first += rows
        return blocks


def load_scores(file: Path) -> Scores:
    """The scores that `write_scores` wrote; raises StoreError if there are none, or they are damaged."""
    if not file.exists():
        raise StoreError(f"{file}: no scores here; run `motive score` first")
    return _scores(str(file), pa.OSFile(str(file)))


def scores_of(influence: NDArray[np.floating], clips: pa.Table, facts: Facts) -> Scores:
    """Scores in memory, of influence [N, Q] and N clips."""
    sink = pa.BufferOutputStream()
    write_scores(sink, facts, clips.schema, [(clips, influence.astype(np.float32).T)])
    return _scores("scores in memory", pa.BufferReader(sink.getvalue()))


def write_scores(sink: Any, facts: Facts, clips: pa.Schema, parts: Iterable[Part]) -> None:
    """Parquet: columns of the clips, then one column of influence a query, named `influence:<query id>`; block by block as
    the parts come, in their order."""
    # That none is missing need not be kept number by number, which halves the time of writing and of reading.
    fields = [*clips, *(pa.field(name, pa.float32(), nullable=False) for name in facts.columns)]
    schema = pa.schema(fields, metadata={FACTS: json.dumps(asdict(facts))})
    packed = {field.name: "snappy" for field in clips} | dict.fromkeys(facts.columns, "none")
    writer = pq.ParquetWriter(
        sink, schema, compression=packed, use_dictionary=["label"], write_statistics=["id"], write_batch_size=BLOCK_ROWS
    )
    with writer, ThreadPoolExecutor(1) as thread:
        written: Future[None] | None = None
        for beside, influence in _blocks_of(parts, min(BLOCK_ROWS, BLOCK_SCORES // len(facts.queries) + 1)):
            block = pa.Table.from_arrays([*beside.columns, *map(pa.array, influence)], schema=schema)
            if written:
                written.result()
            # While it is written the next one comes together.
            written = thread.submit(writer.write_table, block, row_group_size=len(block))
        if written:
            written.result()


def _blocks_of(parts: Iterable[Part], rows: int) -> Iterator[Part]:
    """Parts put together until they have that many rows or a few more."""
    waiting: list[Part] = []
    for part in parts:
        waiting.append(part)
        if sum(len(clips) for clips, _ in waiting) >= rows:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _together(parts: Sequence[Part]) -> Part:
    tables, arrays = zip(*parts, strict=True)
    return pa.concat_tables(tables), np.concatenate(arrays, axis=1)


def _scores(name: str, source: pa.NativeFile) -> Scores:
    with _damage(name):
        layout = pq.read_metadata(source)
        facts = Facts(**json.loads(layout.metadata[FACTS.encode()]))
    return Scores(facts, (ScoresFile(name, source, layout),))


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{name}: damaged ({error}); run `motive score` again") from error
