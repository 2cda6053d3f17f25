"""The same clips in every form that a pool may come in, made by the tests."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Clips = Mapping[str, tuple[bytes, str]]
"""Names without suffix to bytes and caption."""

MEDIA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""As Hugging Face's library writes a file."""


def tar(path: Path, members: Iterable[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of regular files."""
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def shard(path: Path, clips: Clips, caption: str = "txt") -> Path:
    """A WebDataset tar: x.mp4 with x.txt, or with a caption in x.json."""
    members: list[tuple[str, bytes]] = []
    for name, (content, said) in clips.items():
        told = said.encode() if caption == "txt" else json.dumps({"caption": said}).encode()
        members += [(f"{name}.mp4", content), (f"{name}.{caption}", told)]
    return tar(path, members)


def folder(path: Path, clips: Clips) -> Path:
    """Videos with captions beside them."""
    path.mkdir(parents=True, exist_ok=True)
    for name, (content, said) in clips.items():
        (path / f"{name}.mp4").write_bytes(content)
        (path / f"{name}.txt").write_text(said)
    return path


def manifest(path: Path, clips: Clips, prefix: str = "") -> Path:
    """A JSONL that names clips `prefix`x.mp4."""
    rows = [{"video": f"{prefix}{name}.mp4", "caption": said} for name, (_, said) in clips.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(clips: Clips, video: str = "struct", **more: list[Any]) -> pa.Table:
    """The clips as a table whose column `video` holds their bytes, in a struct or plain."""
    contents, captions = [content for content, _ in clips.values()], [said for _, said in clips.values()]
    column = (
        pa.array([{"bytes": c, "path": f"{name}.mp4"} for name, c in zip(clips, contents, strict=True)], MEDIA)
        if video == "struct"
        else pa.array(contents, pa.binary())
    )
    return pa.table({"video": column, "caption": captions, **more})


def parquet(path: Path, clips: Clips, video: str = "struct", rows: int = 2) -> Path:
    """The same as a Parquet file with row groups of `rows`."""
    pq.write_table(table(clips, video), path, row_group_size=rows)
    return path


def saved(path: Path, clips: Clips) -> Path:
    """The same as `datasets.Dataset.save_to_disk` lays it out."""
    path.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path / "data-00000-of-00001.arrow"), "wb") as file:
        whole = table(clips)
        with pa.ipc.new_stream(file, whole.schema) as stream:
            stream.write_table(whole, max_chunksize=2)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (path / "dataset_info.json").write_text("{}")
    return path
