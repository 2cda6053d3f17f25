"""The videos of a report: small H.264 files that browsers play, each with its first frame and, if it has one, its mask.

    <name>.mp4    the frames
    <name>.jpg    the first of them
    <name>.png    the mask's weights as opacity, latent frame below latent frame, which the page lays over the video; none where
                  all weigh the same

They are made in processes of their own within the limits of the engine, since whatever decodes a clip may crash on it.
Nothing here may load torch.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from motive.config import EngineSection
from motive.engine.ahead import as_they_come
from motive.engine.messages import Packet, TaskError
from motive.engine.sandbox import Limits, Sandbox, cpus
from motive.errors import ClipError
from motive.files import write_atomic
from motive.progress import Progress
from motive.video.decode import Sampling, decode
from motive.video.remote import Limits as FetchLimits
from motive.video.sources import Opener, parse_source
from motive.video.write import write_video

VERSION = 1
"""Raised whenever the same settings would make another video, poster or mask."""

CRF = 23
"""Quality of the videos: a few tens of kB a second."""

MASK = (255, 140, 0)
"""Colour of the mask, RGB, and below how much of the picture a weight of 1 covers."""
OPACITY = 0.55

PIXELS = 8192 * 4320
SAMPLE_FRAMES = 1024
"""Frames of a generated sample that are shown."""


@dataclass(frozen=True)
class Film:
    """name: 16 hexadecimal digits, of all that the video depends on. source, sha256: as the store has them. sampling: the
    frames to show, or None for all of the file's own. mask: the prepared clip's file, which need not exist."""

    name: str
    source: str
    sha256: str | None
    sampling: Sampling | None
    mask: Path | None = None


def make_films(
    films: Sequence[Film], folder: Path, height: int, engine: EngineSection, fetch: FetchLimits, progress: Progress
) -> dict[str, str]:
    """Make those of `films` that `folder` lacks, and delete what else lies in it. Returns why a film could not be made, by its
    name. height: pixels of films without a sampling."""
    folder.mkdir(parents=True, exist_ok=True)
    _forget_others(folder, films)
    missing = [film for film in films if not (folder / f"{film.name}.mp4").exists()]
    failed: dict[str, str] = {}
    if not missing:
        return failed
    build = partial(film_maker, folder, height, fetch)
    limits = Limits(engine.clip_seconds, engine.clip_memory, engine.tries)
    with (
        Sandbox([build] * min(cpus(), -(-len(missing) // 8)), limits) as sandbox,
        progress.steps("making videos for the report", len(missing)) as step,
    ):
        for film, future in as_they_come(sandbox, missing):
            error = future.exception()
            if isinstance(error, ClipError | TaskError):
                failed[film.name] = f"showing it {error}" if isinstance(error, TaskError) else str(error)
            elif error is not None:
                raise error
            step()
    return failed


def film_maker(folder: Path, height: int, fetch: FetchLimits) -> Callable[[Film], Packet]:
    """What a process builds once: a function that makes one film. Its mp4 is written last, and says that all is there."""
    cv2.setNumThreads(1)
    opener = Opener(fetch)

    def make(film: Film) -> Packet:
        with opener.local_copy(parse_source(film.source), film.sha256) as path:
            sampling = film.sampling or _own_sampling(path, height)
            frames = decode(path, sampling).frames
        poster = cv2.imencode(".jpg", cv2.cvtColor(frames[0], cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
        write_atomic(folder / f"{film.name}.jpg", poster.tobytes())
        mask = None if film.mask is None else _mask(film.mask)
        # One that weighs all alike, as a static clip has, would only tint the picture.
        if mask is not None and mask.min() < mask.max():
            write_atomic(folder / f"{film.name}.png", _sprite(mask))
        write_video(folder / f"{film.name}.mp4", frames, sampling.fps, CRF)
        return Packet()

    return make


def shown_size(height: int, width: int, wanted: int) -> tuple[int, int]:
    """Even height and width of a video as it is shown: `wanted` pixels tall, but no more than three times its own size."""
    tall = min(wanted, 3 * height)
    return max(2, tall // 2 * 2), max(2, round(width * tall / height / 2) * 2)


def _own_sampling(path: Path, height: int) -> Sampling:
    first = decode(path, Sampling(1, 1.0, 16, 16))
    fps = min(max(round(first.source_fps, 3), 1.0), 120.0)
    frames = min(max(1, math.floor(first.source_seconds * fps + 0.5)), SAMPLE_FRAMES)
    tall, wide = shown_size(first.source_height, first.source_width, height)
    return Sampling(frames, fps, tall, wide, max_pixels=PIXELS)


def _mask(prepared: Path) -> NDArray[np.float32] | None:
    """The motion mask [f, h, w] of a prepared clip, where it is kept."""
    with suppress(OSError, SafetensorError), safe_open(prepared, framework="np") as file:
        return np.asarray(file.get_tensor("mask"), np.float32)
    return None


def _sprite(mask: NDArray[np.float32]) -> bytes:
    """A PNG of the frames of a mask [f, h, w], one below the other."""
    weight = mask.reshape(-1, mask.shape[2])
    picture = np.empty((*weight.shape, 4), np.uint8)
    picture[..., :3] = MASK[::-1]
    picture[..., 3] = np.round(np.clip(weight, 0, 1) * (255 * OPACITY))
    return cv2.imencode(".png", picture)[1].tobytes()


def _forget_others(folder: Path, films: Iterable[Film]) -> None:
    names = {film.name for film in films}
    for file in folder.iterdir():
        if file.stem not in names:
            file.unlink()
