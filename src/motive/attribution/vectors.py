"""Features for other tools: Parquet with float32 lists, a Lance data set, a FAISS index."""

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from motive.attribution.shards import PLAIN_COLUMNS
from motive.attribution.store import Store
from motive.errors import StoreError
from motive.files import write_jsonl
from motive.progress import Progress

Format = Literal["parquet", "lance", "faiss"]

BLOCK = 16_384
"""Rows written at once."""


def export_vectors(store: Store, target: Path, form: Format, progress: Progress) -> int:
    """Write a store's clips that have a feature, current ones or those of its snapshot, to a new `target`; how many.

    parquet   a file: the store's columns, `feature` as a list of dim float32
    lance     a folder: the same columns
    faiss     a folder: index.faiss, a flat index by inner product, which takes all features into memory; and clips.jsonl,
              whose line n has the id, key, name and path of vector n

    Raises StoreError if there is something at `target`, nothing to write, or a package is missing.
    """
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target}: there is something here already; choose a new place")
    write = FORMATS[form]
    aside = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
    aside.parent.mkdir(parents=True, exist_ok=True)
    count = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal count
        with progress.steps(f"exporting {store.folder.name}", len(store.current().clips)) as step:
            for block in _blocks(store):
                yield block
                count += len(block)
                for _ in range(len(block)):
                    step()

    try:
        write(aside, store.dim, blocks())
        if not count:
            raise StoreError(f"{store.folder}: no clip has a feature; run `motive index` first")
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        aside.unlink(missing_ok=True)
    return count


def _write_parquet(file: Path, dim: int, blocks: Iterator[pa.Table]) -> None:
    with pq.ParquetWriter(file, _schema(dim)) as writer:
        for block in blocks:
            writer.write_table(block)


def _write_lance(folder: Path, dim: int, blocks: Iterator[pa.Table]) -> None:
    lance = _package("lance", "pylance", "lance")
    batches = (batch for block in blocks for batch in block.to_batches())
    lance.write_dataset(pa.RecordBatchReader.from_batches(_schema(dim), batches), str(folder))


def _write_faiss(folder: Path, dim: int, blocks: Iterator[pa.Table]) -> None:
    faiss = _package("faiss", "faiss-cpu", "faiss")
    index = faiss.IndexFlatIP(dim)
    clips = []
    for block in blocks:
        numbers = block["feature"].combine_chunks().flatten().to_numpy()
        index.add(np.ascontiguousarray(numbers.reshape(-1, dim)))
        clips += block.select(["id", "key", "name", "path"]).to_pylist()
    folder.mkdir()
    faiss.write_index(index, str(folder / "index.faiss"))
    write_jsonl(folder / "clips.jsonl", clips)


FORMATS: dict[str, Callable[[Path, int, Iterator[pa.Table]], None]] = {
    "parquet": _write_parquet,
    "lance": _write_lance,
    "faiss": _write_faiss,
}


def _blocks(store: Store) -> Iterator[pa.Table]:
    """Tables of about BLOCK rows as `_schema` has them, however small or large the shards are."""
    waiting: list[pa.Table] = []
    for table in store.tables():
        usable = table.filter(pc.equal(table["status"], "ok"))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(store.unpack(usable).ravel()), store.dim)
        waiting.append(pa.table([*usable.columns[:-1], vectors], schema=_schema(store.dim)))
        if sum(map(len, waiting)) >= BLOCK:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()


def _schema(dim: int) -> pa.Schema:
    plain = [pa.field(name, kind) for name, kind in PLAIN_COLUMNS.items()]
    return pa.schema([*plain, pa.field("feature", pa.list_(pa.float32(), dim))])


def _package(module: str, name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise StoreError(f"this needs {name} ({error}): pip install 'motive[{extra}]'") from error
