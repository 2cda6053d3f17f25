"""Valid files to spoil: small videos of many containers and codecs, real ones where they are at hand, manifests, settings."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from motive.config import dump_config, parse_config
from tests.video.files import busy, write
from tests.video.packing import parquet, saved, tar

REAL = Path(os.environ.get("MOTIVE_CLIPS") or Path(__file__).parents[2].parent / "shared" / "clips")
"""Real clips, beside the checkout."""

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"codec": "libx264", "options": {"g": "12"}},
    "h264-fragments.mp4": {"codec": "libx264", "muxing": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}},
    "h264-audio.mp4": {"codec": "libx264", "audio": 2.0, "muxing": {"movflags": "faststart"}},
    "h264.mkv": {"codec": "libx264", "options": {"bf": "2"}},
    "h264.ts": {"codec": "libx264"},
    "h264.flv": {"codec": "libx264", "options": {"bf": "0"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4.mov": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "mpeg1.mpeg": {"codec": "mpeg1video"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "ffv1.mkv": {"codec": "ffv1"},
    "wmv2.wmv": {"codec": "wmv2"},
    "flv1.flv": {"codec": "flv1"},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8", "fps": 25},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "h263.3gp": {"codec": "h263", "height": 96, "width": 128},
    "mpeg2.mxf": {"codec": "mpeg2video"},
    "raw.y4m": {"codec": "wrapped_avframe", "muxer": "yuv4mpegpipe"},
}
"""Names to how tests.video.files.write makes them."""


def videos(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of videos of 40 small pictures each, and of the smallest real ones."""
    for name, how in KINDS.items():
        size = {"height": how.get("height", 72), "width": how.get("width", 96)}
        options = {key: value for key, value in how.items() if key not in size}
        path = write(folder / name, (busy(number, **size) for number in range(40)), **({"fps": 25} | options))
        yield name, path.read_bytes()
    if REAL.is_dir():
        for path in sorted(REAL.glob("*.m*"), key=lambda path: path.stat().st_size)[:6]:
            yield path.name, path.read_bytes()


def manifests(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of every kind of manifest, of two clips each."""
    rows = [{"video": "a.mp4", "caption": 'a ball, "red"', "n": 1}, {"video": "b.mp4", "caption": "été", "tags": ["x"]}]
    yield "clips.csv", b'\xef\xbb\xbfvideo,caption,n\na.mp4,"a ball, ""red""",1\nb.mp4,"two\nlines",2\n'
    yield "clips.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    yield "clips.json", json.dumps(rows, ensure_ascii=False).encode()
    yield "videos.txt", b"a.mp4\nb.mp4\n"
    clips = {name: (f"bytes of {name}".encode() * 50, f"a ball, {name}") for name in ("one", "two", "three")}
    yield "struct.parquet", parquet(folder / "x.parquet", clips).read_bytes()
    yield "binary.parquet", parquet(folder / "x.parquet", clips, "binary").read_bytes()
    kinds = {
        "video": ["a.mp4", "b.mp4"],
        "n": [1.5, None],
        "on": [True, False],
        "at": pa.array([1, 2], pa.timestamp("ns", "UTC")),
    }
    for compression in ("snappy", "zstd", "gzip", "lz4"):
        pq.write_table(pa.table(kinds), folder / "x.parquet", compression=compression)
        yield f"{compression}.parquet", (folder / "x.parquet").read_bytes()
    yield "clips.arrow", (saved(folder / "set", clips) / "data-00000-of-00001.arrow").read_bytes()
    members = [
        entry for name, (content, said) in clips.items() for entry in ((f"{name}.mp4", content), (f"{name}.txt", said.encode()))
    ]
    for number, kind in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        long = [] if kind == tarfile.USTAR_FORMAT else [("é" * 90 + ".mp4", b"x")]
        yield f"{number}.tar", tar(folder / "x.tar", [*members, *long, ("one.json", b'{"fps": 24}')], kind).read_bytes()


def settings(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of configurations."""
    plain = {"out": "run", "pool": "clips", "queries": "wanted", "model": {"path": "m"}}
    yield "short.yaml", yaml.safe_dump(plain).encode()
    yield "flow.yaml", yaml.safe_dump(plain, default_flow_style=True).encode()
    yield "long.yaml", dump_config(parse_config(plain | {"preset": "best"}, "a test")).encode()
