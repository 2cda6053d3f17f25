"""Which clips a report shows as videos, and what each such video is."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from motive.attribution.scores import DESCRIBING
from motive.config import Config
from motive.errors import StoreError
from motive.files import digest, each_json
from motive.report.clips import Ends, Films, ends
from motive.report.films import CRF, MASK, OPACITY, VERSION, Film, shown_size
from motive.report.standing import Standing
from motive.video.decode import Sampling

REVIEWED = 60
"""Kept clips, best first, and harmful ones, worst first, that are shown as videos where there is room for them."""


def all_ends(standing: Standing) -> list[Ends]:
    """Each query's influence and its best and worst clips."""
    return [ends(standing.scores, query, standing.config.report.clips) for query in range(len(standing.scores.queries))]


def film_names(standing: Standing) -> Films:
    """The names of `films_of_clips`, by key."""
    return {key: film.name for key, film in films_of_clips(standing, all_ends(standing)).items()}


def films_of_clips(standing: Standing, found: Sequence[Ends]) -> dict[str, Film]:
    """A film for each query and for the most telling clips, by key: `report.videos` clips at most."""
    scores, limit = standing.scores, standing.config.report.videos
    chosen = np.array(list(islice(dict.fromkeys(_most_telling(standing, found)), limit)), np.int64)
    entries = scores.rows(chosen, [name for name in DESCRIBING if name != "extra"]).to_pylist()
    exported = _exported(standing.config)
    return {entry["key"]: _film(standing.config, entry, exported) for entry in [*scores.queries, *entries]}


def shape(config: Config) -> tuple[int, int]:
    """Height and width of films of clips."""
    return shown_size(config.video.height, config.video.width, config.report.height)


def latent_frames(films: Iterable[Film]) -> int:
    """Frames of the masks, which all have the same; 0 if none is kept."""
    for film in films:
        with suppress(OSError, SafetensorError), safe_open(film.mask, framework="np") as file:
            return int(file.get_slice("mask").get_shape()[0])
    return 0


def _most_telling(standing: Standing, found: Sequence[Ends]) -> Iterator[int]:
    """Places of clips: every query's best and worst and the selection's, the first of each, then the second of each, ..."""
    selection = standing.selection
    columns = [selection.kept[:REVIEWED], selection.harmful[::-1][:REVIEWED]]
    for query in found:
        columns += [query.best, query.worst]
    for places in zip_longest(*columns):
        yield from (int(place) for place in places if place is not None)


def _film(config: Config, entry: dict[str, Any], exported: dict[str, Path]) -> Film:
    video = config.video
    height, width = shape(config)
    sampling = Sampling(video.frames, video.fps, height, width, video.place, video.max_pixels)
    key = entry["key"]
    mask = config.out / "prepared" / "clips" / f"{key[:32]}.safetensors"
    made_with = [
        video.model_dump(mode="json"),
        config.motion.model_dump(mode="json"),
        height,
        width,
        VERSION,
        CRF,
        MASK,
        OPACITY,
    ]
    name = digest(key, json.dumps(made_with), "masked" if mask.exists() else "plain")[:16]
    if key in exported:
        # It is standardised already: the same frames, and no archive or address to read them from.
        return Film(name, str(exported[key]), None, Sampling(video.frames, video.fps, height, width), mask)
    return Film(name, entry["path"] or "", entry["sha256"], sampling, mask)


def _exported(config: Config) -> dict[str, Path]:
    """The standardised videos of an export, by key."""
    folder = config.out / "export"
    found: dict[str, Path] = {}
    with suppress(OSError, ValueError, KeyError, TypeError, StoreError):
        way = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        if way == {"videos": "encode", "video": config.video.model_dump(mode="json")}:
            for entry in each_json(folder / "selection.jsonl"):
                file = folder / entry["video"]
                if file.is_file():
                    found[entry["key"]] = file
    return found
