"""The kept clips as the files that trainers read."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.config import ExportSection, VideoSection
from motive.errors import ClipError, StoreError
from motive.files import read_jsonl, sha256_file, write_atomic, write_json, write_jsonl
from motive.progress import Progress
from motive.video.decode import Sampling, decode
from motive.video.remote import LIMITS, Limits
from motive.video.rows import VIDEO_SUFFIXES
from motive.video.sources import Opener, is_local, parse_source
from motive.video.write import write_video


@dataclass(frozen=True)
class Exported:
    """One kept clip as exported: its video below the export folder, its caption on one line, its line of selection.jsonl,
    and the video's size in pixels and rate; a linked original has a rate of its own, which is not known here."""

    video: str
    caption: str
    entry: dict[str, Any]
    width: int
    height: int
    fps: float | None


def export(
    selection: Path,
    folder: Path,
    options: ExportSection,
    video: VideoSection,
    progress: Progress,
    limits: Limits = LIMITS,
) -> list[str]:
    """Write the clips of a selection.jsonl to `folder`: videos/, selection.jsonl, and the files of `options.formats`.

    With videos: encode each file holds exactly the standardised frames, at the standardised rate; with link it is a link
    to the original, or a copy of one that is no local file. videos/ holds nothing else afterwards: some trainers read
    whatever lies in it. Files that an earlier export made in the same way are kept. Returns a line for every clip that could
    not be exported; the files list the others.
    """
    if not selection.exists():
        raise StoreError(f"{selection}: no selection here; run `motive select` first")
    entries = read_jsonl(selection)
    encode, opener = _encoder(video), Opener(limits)
    _forget_other_ways(folder, {"videos": options.videos, "video": video.model_dump(mode="json")})
    exported, failed = [], []
    with progress.steps("exporting videos", len(entries)) as step:
        for entry in entries:
            name = _file_name(entry, options.videos)
            try:
                source = parse_source(entry["path"])
                if is_local(source):
                    _unchanged(Path(source.place), entry["sha256"])
                if not (folder / name).exists():
                    with opener.local_copy(source, entry["sha256"]) as path:
                        put = encode if options.videos == "encode" else _link if is_local(source) else _copy
                        put(path, folder / name)
            except (ClipError, OSError) as error:
                failed.append(f"{entry['name']}: {error}")
            else:
                exported.append(_exported(entry, name, options, video))
            step()
    _forget_others(folder / "videos", {clip.video.removeprefix("videos/") for clip in exported})
    write_jsonl(folder / "selection.jsonl", (clip.entry for clip in exported))
    for trainer in options.formats:
        for name, text in FORMATS[trainer](exported, video).items():
            write_atomic(folder / name, text.encode())
    return failed


def _diffsynth(clips: Sequence[Exported], video: VideoSection) -> dict[str, str]:
    """DiffSynth-Studio: metadata.csv, with every other column of the pool's manifest carried along."""
    extra = sorted({name for clip in clips for name in clip.entry["extra"]} - {"video", "prompt"})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "prompt", *extra])
    for clip in clips:
        writer.writerow([clip.video, clip.caption, *(clip.entry["extra"].get(name, "") for name in extra)])
    return {"metadata.csv": text.getvalue()}


def _musubi(clips: Sequence[Exported], video: VideoSection) -> dict[str, str]:
    """musubi-tuner: a JSONL and the TOML that names it."""
    lines = [json.dumps({"video_path": clip.video, "caption": clip.caption}, ensure_ascii=False) for clip in clips]
    settings = [
        "[general]",
        f"resolution = [{video.width}, {video.height}]",
        "batch_size = 1",
        "enable_bucket = false",
        "",
        "[[datasets]]",
        'video_jsonl_file = "musubi.jsonl"',
        'cache_directory = "musubi_cache"',
        'frame_extraction = "head"',
        f"target_frames = [{video.frames}]",
        *([f"source_fps = {float(video.fps)!r}"] if all(clip.fps == video.fps for clip in clips) else []),
    ]
    return {"musubi.jsonl": "".join(line + "\n" for line in lines), "musubi.toml": "\n".join(settings) + "\n"}


def _videox_fun(clips: Sequence[Exported], video: VideoSection) -> dict[str, str]:
    """VideoX-Fun: metadata.json."""
    entries = [
        {"file_path": clip.video, "text": clip.caption, "type": "video", "width": clip.width, "height": clip.height}
        for clip in clips
    ]
    return {"metadata.json": json.dumps(entries, indent=1, ensure_ascii=False) + "\n"}


def _finetrainers(clips: Sequence[Exported], video: VideoSection) -> dict[str, str]:
    """finetrainers: prompts.txt and videos.txt, line by line."""
    return {
        "prompts.txt": "".join(clip.caption + "\n" for clip in clips),
        "videos.txt": "".join(clip.video + "\n" for clip in clips),
    }


def _diffusion_pipe(clips: Sequence[Exported], video: VideoSection) -> dict[str, str]:
    """diffusion-pipe: x.txt beside x.mp4."""
    return {str(Path(clip.video).with_suffix(".txt")): clip.caption + "\n" for clip in clips}


FORMATS: dict[str, Callable[[Sequence[Exported], VideoSection], dict[str, str]]] = {
    "diffsynth": _diffsynth,
    "musubi": _musubi,
    "videox-fun": _videox_fun,
    "finetrainers": _finetrainers,
    "diffusion-pipe": _diffusion_pipe,
}
"""Each trainer's files, by name below the export folder, from the exported clips and how videos were standardised."""


def _exported(entry: dict[str, Any], name: str, options: ExportSection, video: VideoSection) -> Exported:
    caption = " ".join(entry["caption"].split())
    if options.videos == "encode":
        return Exported(name, caption, entry | {"video": name}, video.width, video.height, video.fps)
    return Exported(name, caption, entry | {"video": name}, entry["source_width"], entry["source_height"], None)


def _file_name(entry: dict[str, Any], videos: str) -> str:
    """A name that is safe anywhere and the same in every export; ids and paths come from outside."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(entry["name"]).stem).strip("._")[:60]
    told = Path(entry["name"]).suffix.lower()
    suffix = told if videos == "link" and told in VIDEO_SUFFIXES else ".mp4"
    return f"videos/{stem or 'clip'}-{entry['key'][:12]}{suffix}"


def _forget_other_ways(folder: Path, way: dict[str, Any]) -> None:
    """Clear videos/ if it was exported with other settings, which export.json tells."""
    note = folder / "export.json"
    if not note.exists() or json.loads(note.read_text(encoding="utf-8")) != way:
        _forget_others(folder / "videos", set())
        write_json(note, way)


def _forget_others(videos: Path, names: set[str]) -> None:
    """Delete the files in videos/ that no clip in `names` needs."""
    stems = {Path(name).stem for name in names}
    for path in videos.iterdir() if videos.is_dir() else ():
        if path.stem not in stems and not path.is_dir():
            path.unlink()


def _unchanged(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ClipError(f"{path} is no longer there")
    if sha256_file(path) != sha256:
        raise ClipError(f"{path} has changed since it was attributed")


def _encoder(video: VideoSection) -> Callable[[Path, Path], None]:
    sampling = Sampling(video.frames, video.fps, video.height, video.width, video.place, video.max_pixels)

    def encode(source: Path, target: Path) -> None:
        write_video(target, decode(source, sampling).frames, video.fps)

    return encode


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    aside.unlink(missing_ok=True)
    aside.symlink_to(source)
    aside.replace(target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
