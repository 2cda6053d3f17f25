"""Datasets of the Hugging Face hub, streamed: hf://datasets/OWNER/NAME, with @REVISION, ?config=NAME and &split=NAME.

Samples come as Arrow tables, in which a video is bytes or a path: nothing is decoded, and no code of a dataset runs.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import pyarrow as pa

from motive.errors import ManifestError
from motive.video.columnar import from_row

DATASET = re.compile(r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/?@]+))?/?(?:\?(?P<query>[^#]*))?")


def is_dataset(address: str) -> bool:
    """Whether an address is that of a whole dataset, and not of a file in one."""
    return DATASET.fullmatch(address) is not None


def pinned(address: str) -> str:
    """The address with the revision as a commit and with its split; raises ManifestError if there is no such dataset."""
    from huggingface_hub import HfApi

    name, revision, config, split = _parts(address)
    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:  # the hub client raises many unrelated types; all mean that there is no dataset here
        raise ManifestError(f"{address}: the hub gives no such dataset ({type(error).__name__})") from error
    splits = _dataset(name, commit, config, None)
    if split is None:
        if "train" not in splits and len(splits) != 1:
            raise ManifestError(f"{address}: say which of its splits with ?split=; it has {', '.join(map(str, splits))}")
        split = "train" if "train" in splits else next(iter(splits))
    elif split not in splits:
        raise ManifestError(f"{address}: has no split {split!r}; it has {', '.join(map(str, splits))}")
    chosen = f"config={config}&" if config else ""
    return f"hf://datasets/{name}@{commit}?{chosen}split={split}"


def folder(address: str) -> str:
    """The address below which a dataset's files lie."""
    name, revision, *_ = _parts(address)
    return f"hf://datasets/{name}{f'@{revision}' if revision else ''}/"


def shards(address: str) -> int:
    """How many shards a pinned dataset has."""
    return int(_dataset(*_parts(address)).num_shards)


def batches(address: str, shard: int) -> Iterator[pa.RecordBatch]:
    """Samples of one shard of a pinned dataset, one a batch, in order; raises ManifestError."""
    streamed = _dataset(*_parts(address))
    # First of all: by default the library decodes ahead, in threads.
    streamed = streamed.decode(False) if streamed.features else streamed
    part = streamed.shard(num_shards=streamed.num_shards, index=shard).with_format("arrow")
    try:
        for table in part.iter(batch_size=1):
            yield from table.to_batches()
    except ManifestError:
        raise
    except Exception as error:  # every builder of the library raises types of its own
        raise ManifestError(f"{address}: shard {shard} cannot be read: {type(error).__name__}: {error}") from error


def values(address: str, shard: int, column: str) -> Iterator[bytes | None]:
    """The files' bytes in a media column of one shard, from its first row on."""
    yield from from_row(batches(address, shard), column, 0)


def _parts(address: str) -> tuple[str, str | None, str | None, str | None]:
    found = DATASET.fullmatch(address)
    if found is None:
        raise ManifestError(f"{address}: not the address of a dataset; write hf://datasets/OWNER/NAME")
    asked = parse_qs(found["query"] or "")
    if unknown := asked.keys() - {"config", "split"}:
        raise ManifestError(f"{address}: {', '.join(unknown)} means nothing here; there are config and split")
    return found["name"], found["revision"], asked.get("config", [None])[0], asked.get("split", [None])[0]


@lru_cache(maxsize=4)
def _dataset(name: str, revision: str | None, config: str | None, split: str | None) -> Any:
    try:
        from datasets import load_dataset
    except ImportError:
        raise ManifestError("hf://datasets/... needs the package datasets: pip install 'motive[datasets]'") from None
    try:
        return load_dataset(name, config, revision=revision, split=split, streaming=True)
    except Exception as error:  # every builder of the library raises types of its own
        raise ManifestError(f"hf://datasets/{name}: cannot be opened: {type(error).__name__}: {error}") from error
