"""Contact sheets: the best and worst clips of a selection, or for one query, as one picture, what moves in them tinted."""

from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from motive.attribution.prepare import fetch_limits
from motive.attribution.scores import DESCRIBING, load_scores
from motive.config import Config
from motive.errors import ClipError, StoreError
from motive.files import each_json, write_atomic
from motive.text import printable
from motive.video.decode import Sampling, decode
from motive.video.sources import Opener, parse_source

Picture = NDArray[np.uint8]

HEIGHT = 90
"""Pixels a frame is tall on the sheet."""

FRAMES = 6
"""Frames shown of each clip."""

LABEL = 250
"""Pixels at the left for words."""


def write_sheet(config: Config, file: Path, clips: int = 5) -> None:
    """Write a PNG with up to `clips` kept and `clips` harmful clips of a run, a row each."""
    rows: list[Picture] = []
    for title, name in (("most helpful", "selection.jsonl"), ("most harmful", "harmful.jsonl")):
        entries = each_json(config.out / name)
        strips = [_row(config, entry, _standing(entry)) for entry in islice(entries, clips)]
        if strips:
            total = len(strips) + sum(1 for _ in entries)
            rows += [_heading(f"{title}: {len(strips)} of {total}", strips[0].shape[1]), *strips]
    _save(rows, file)


def write_query_sheet(config: Config, query: str, file: Path, clips: int = 6) -> None:
    """Write a PNG with one query, given by its id or its file's stem, and its `clips` best and worst clips of the pool.

    Raises StoreError if the run has no such query.
    """
    scores = load_scores(config.out / "scores.parquet")
    known = [(n, row) for n, row in enumerate(scores.queries) if query in (row["id"], Path(row["name"]).stem)]
    if not known:
        raise StoreError(f"{config.out}: no query {query!r}; there are {', '.join(row['id'] for row in scores.queries)}")
    ((column, asked), *_) = known
    influence = scores.column(column)
    order = np.argsort(-influence, kind="stable")
    strip = _row(config, asked, [asked["name"]])
    rows = [_heading("query", strip.shape[1]), strip]
    for title, chosen in (("most helpful", order[:clips]), ("most harmful", order[::-1][:clips])):
        rows.append(_heading(f"{title}: {len(chosen)} of {len(order)}", strip.shape[1]))
        for n, entry in zip(chosen, scores.rows(chosen, DESCRIBING).to_pylist(), strict=True):
            rows.append(_row(config, entry, [entry["name"], f"influence {influence[n]:+.4f}"]))
    _save(rows, file)


def _save(rows: list[Picture], file: Path) -> None:
    done, png = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    if not done:
        raise ClipError(f"{file}: the sheet could not be encoded as PNG")
    write_atomic(file, png.tobytes())


def _standing(entry: dict[str, Any]) -> list[str]:
    votes = f"votes {entry['votes']}/{len(entry['influence'])}"
    return [f"{entry['rank']}. {entry['name']}", f"mean influence {entry['mean_influence']:+.4f}, {votes}"]


def _row(config: Config, entry: dict[str, Any], standing: list[str]) -> Picture:
    """A clip's row: words, then frames. `standing`: its name, and what the run made of it."""
    video = config.video
    width = round(HEIGHT * video.width / video.height)
    label = np.full((HEIGHT, LABEL, 3), 255, np.uint8)
    words = (*standing, f"{entry['label']}, {entry['motion_sustained']:.1f} px/frame", entry["caption"])
    for line, text in enumerate(words):
        _write(label, text, (6, 18 + 21 * line), 0.4)
    try:
        sampling = Sampling(video.frames, video.fps, HEIGHT, width, video.place, video.max_pixels)
        with Opener(fetch_limits(config)).local_copy(parse_source(entry["path"]), entry.get("sha256")) as path:
            frames = decode(path, sampling).frames
    except ClipError as error:
        blank = np.full((HEIGHT, FRAMES * width, 3), 255, np.uint8)
        _write(blank, str(error), (6, HEIGHT // 2), 0.4)
        return np.concatenate([label, blank], axis=1)
    mask = _mask(config, entry["key"])
    chosen = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
    return np.concatenate([label, *(_tinted(frames[f], mask, f / max(1, len(frames) - 1)) for f in chosen)], axis=1)


def _mask(config: Config, key: str) -> NDArray[np.float32] | None:
    """The motion mask [f, h, w] of a clip, where prepared inputs are kept."""
    try:
        with safe_open(config.out / "prepared" / "clips" / f"{key[:32]}.safetensors", framework="np") as file:
            return file.get_tensor("mask")
    except (OSError, SafetensorError):
        return None


def _tinted(frame: Picture, mask: NDArray[np.float32] | None, place: float) -> Picture:
    """The frame with its mask, at `place` (0 first, 1 last) in time, laid over it in orange."""
    if mask is None:
        return frame
    weight = cv2.resize(mask[round(place * (len(mask) - 1))], (frame.shape[1], frame.shape[0]))[..., None]
    return (frame * (1 - 0.6 * weight) + np.array([255, 120, 0]) * 0.6 * weight).astype(np.uint8)


def _heading(text: str, width: int) -> Picture:
    strip = np.full((28, width, 3), 235, np.uint8)
    _write(strip, text, (6, 20), 0.5)
    return strip


def _write(picture: Picture, text: str, place: tuple[int, int], size: float) -> None:
    plain = printable(text).encode("ascii", "replace").decode()
    limit = int(picture.shape[1] / (size * 19))
    cv2.putText(picture, plain[:limit], place, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)
