"""motive-lab-v1: a confounded pool and its queries, frozen, so that any attribution method can be scored on them.

    pool/, queries/         one mp4 a clip
    */metadata.csv          video, caption (looks only), caption_motion (names the motion), and every label
    suite.json              what they were made from

In the pool, looks go with motion: most clips of a motion share one shape and colour. Each query wears the shape and colour
that in the pool belong to another motion, so whoever looks at looks retrieves the wrong motion.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive.errors import ConfigError
from motive.files import digest, write_atomic, write_json
from motive.lab import world
from motive.lab.motions import CARTOON, PHYSICAL
from motive.lab.pool import processes
from motive.progress import Progress
from motive.seeds import stream
from motive.video.write import write_video


@dataclass(frozen=True)
class SuiteSpec:
    """What a suite is made from.

    motion_clips, queries: of each of the ten motions; cartoon_clips, camera_clips: of each cartoon and camera kind.
    confounded: share of a motion's clips that wear the motion's own shape and colour; the rest wear any.
    """

    version: str = "motive-lab-v1"
    seed: int = 2601
    motion_clips: int = 16
    queries: int = 3
    static_clips: int = 20
    camera_clips: int = 10
    cartoon_clips: int = 8
    confounded: float = 0.75


V1 = SuiteSpec()
"""240 + 2 clips and 30 queries; its numbers never change. Another spec is another version."""


@dataclass(frozen=True)
class LabClip:
    """A clip of a suite: its file's stem, the seed it is rendered from, and what it shows."""

    name: str
    seed: int
    spec: world.Spec


ScoreFunction = Callable[[Sequence[Path], Sequence[str], Sequence[Path], Sequence[str]], NDArray[np.float64]]
"""An attribution method: the pool's videos and captions, the queries' videos and captions -> scores [N, Q], higher where
training on the clip is thought to help the query."""


def plan(spec: SuiteSpec) -> tuple[list[LabClip], list[LabClip]]:
    """The clips of the pool, in a random order, and the queries."""
    pairs = _signatures(spec.seed)
    wanted: list[tuple[str, str | None]] = [(motion, None) for motion in PHYSICAL for _ in range(spec.motion_clips)]
    wanted += [("static", None)] * spec.static_clips
    wanted += [("static", camera) for camera in world.CAMERAS for _ in range(spec.camera_clips)]
    wanted += [(motion, None) for motion in CARTOON for _ in range(spec.cartoon_clips)]
    order = stream(spec.seed, "suite", "order").permutation(len(wanted))
    pool = []
    for number, place in enumerate(order):
        motion, camera = wanted[place]
        draw = stream(spec.seed, "suite", "clip", int(place))
        looks = world.draw_looks(draw)
        own = pairs[motion] if motion in pairs else list(pairs.values())[int(draw.integers(len(pairs)))]
        if draw.uniform() < spec.confounded:
            looks = replace(looks, shape=own[0], colour=own[1])
        pool.append(LabClip(f"clip_{number:04d}", int(draw.integers(1 << 40)), world.Spec(motion, looks, camera)))
    queries = []
    motions = list(PHYSICAL)
    for k in range(spec.queries):
        for i, motion in enumerate(motions):
            draw = stream(spec.seed, "suite", "query", motion, k)
            # Another motion's shape and colour, another one for each of the motion's queries.
            shape, colour = pairs[motions[(i + 1 + 3 * k % (len(motions) - 1)) % len(motions)]]
            looks = replace(world.draw_looks(draw), shape=shape, colour=colour)
            queries.append(LabClip(f"query_{motion}_{k}", int(draw.integers(1 << 40)), world.Spec(motion, looks)))
    return pool, queries


def write_suite(folder: Path, spec: SuiteSpec, progress: Progress) -> tuple[Path, Path]:
    """Render a suite to real video files, unless it is there; returns the manifests of the pool and of the queries."""
    manifests = folder / "pool" / "metadata.csv", folder / "queries" / "metadata.csv"
    mark = asdict(spec) | {"plan": plan_digest(spec)}
    if (folder / "suite.json").exists():
        if json.loads((folder / "suite.json").read_text(encoding="utf-8")) != mark:
            raise ConfigError(f"{folder}: holds another suite; use another folder, or delete it")
        return manifests
    pool, queries = plan(spec)
    with (
        progress.steps(f"rendering {spec.version}", len(pool) + len(queries)) as step,
        # Spawned, not forked: whoever calls may have threads.
        processes() as workers,
    ):
        for manifest, clips in zip(manifests, (pool, queries), strict=True):
            files = [manifest.parent / f"{clip.name}.mp4" for clip in clips]
            for _ in workers.map(_write_clip, files, clips, chunksize=8):
                step()
            _write_manifest(manifest, clips)
    write_json(folder / "suite.json", mark)
    return manifests


def plan_digest(spec: SuiteSpec) -> str:
    """Hash of everything that a suite shows, pixels included for one clip: it changes if the world or the plan does."""
    pool, queries = plan(spec)
    pixels = world.render(pool[0].seed, pool[0].spec).frames.tobytes().hex()
    return digest(json.dumps([asdict(clip) for clip in (*pool, *queries)]), pixels)


def _signatures(seed: int) -> dict[str, tuple[str, str]]:
    """The shape and colour that belong to each motion in the pool: ten different pairs."""
    every = [(shape, colour) for shape in world.SHAPES for colour in world.COLOURS]
    chosen = stream(seed, "suite", "signatures").permutation(len(every))[: len(PHYSICAL)]
    return {motion: every[k] for motion, k in zip(PHYSICAL, chosen, strict=True)}


def _write_clip(file: Path, clip: LabClip) -> None:
    write_video(file, world.render(clip.seed, clip.spec).frames, world.FPS)


def _write_manifest(file: Path, clips: Sequence[LabClip]) -> None:
    rows = [
        {
            "video": f"{clip.name}.mp4",
            "caption": world.caption(clip.spec, False),
            "caption_motion": world.caption(clip.spec, True),
            **world.labels(clip.spec),
        }
        for clip in clips
    ]
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(file, sink.getvalue().encode())
