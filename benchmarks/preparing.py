"""Preparing a clip, 81 frames at 480 x 832, against the bare libraries on the same file and frames, in one run.

Bare is the sum of two loops: PyAV decodes and OpenCV resizes every frame up to the last one wanted, and OpenCV's DIS (medium)
runs on each pair of the wanted frames. Motive checks the file, decodes, standardises, tracks, and makes the mask; the VAE is on
neither side. The ratio is the median of the rounds', in each of which all three take turns. Memory is the peak of a process of
its own above what its imports take. Goals: 1.15, 600 MiB.

    python benchmarks/preparing.py --check [CLIP]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from clip import resident

from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.trackers import TRACKERS
from motive.video.decode import Sampling, decode
from motive.video.write import write_video

TIME_GOAL, MEMORY_GOAL = 1.15, 600
SAMPLING = Sampling(81, 16, 480, 832)
STRIDE = (4, 8, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?", help="a video of at least 5.1 seconds; by default one is made")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or made(Path(folder) / "clip.mp4")
        if options.memory:
            before = resident("VmRSS")
            prepare(clip)
            print(resident("VmHWM") - before)
            return
        rounds = []
        for _ in range(options.repeats):
            frames, decoding = timed(partial(bare_frames, clip))
            _, tracking = timed(partial(bare_flow, frames))
            _, ours = timed(partial(prepare, clip))
            rounds.append((decoding, tracking, ours))
        child = [sys.executable, __file__, str(clip), "--memory"]
        memory = float(subprocess.run(child, capture_output=True, text=True, check=True).stdout)
    decoding, tracking, ours = np.median(rounds, axis=0)
    ratio = float(np.median([ours / (decoding + tracking) for decoding, tracking, ours in rounds]))
    missed = ratio > TIME_GOAL or memory > MEMORY_GOAL
    print(
        f"{'bare decode + resize':24} {decoding:7.2f} s\n{'bare DIS, medium':24} {tracking:7.2f} s\n{'Motive':24} {ours:7.2f} s"
    )
    print(f"{'ratio':24} {ratio:7.2f}    goal: at most {TIME_GOAL}")
    print(f"{'memory above imports':24} {memory:7.0f} MiB  goal: at most {MEMORY_GOAL}")
    print(f"goals: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


def prepare(clip: Path) -> None:
    motion_mask(decode(clip, SAMPLING).frames, TRACKERS["dis"], STRIDE, MaskOptions(cuts="bridge"))


def bare_frames(clip: Path) -> list[np.ndarray]:
    """The first 81 frames at 16 fps, grey, as the nearest in time."""
    wanted, frames = [k / SAMPLING.fps for k in range(SAMPLING.frames)], []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            picture = cv2.resize(
                frame.to_ndarray(format="rgb24"), (SAMPLING.width, SAMPLING.height), interpolation=cv2.INTER_AREA
            )
            while len(frames) < len(wanted) and wanted[len(frames)] <= frame.time + 0.5 / float(
                container.streams.video[0].average_rate
            ):
                frames.append(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
            if len(frames) == len(wanted):
                return frames
    raise SystemExit(f"{clip} is too short")


def bare_flow(frames: list[np.ndarray]) -> None:
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for before, now in pairwise(frames):
        flow.calc(now, before, None)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    done = work()
    return done, time.perf_counter() - begin


def made(file: Path) -> Path:
    """720p at 24 fps: a texture panned by 6 px/frame, and a square that moves against it."""
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 255, (90, 280, 3), dtype=np.uint8), (2240, 720), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([wide[:, 6 * f : 6 * f + 1280].copy() for f in range(130)])
    for f, frame in enumerate(frames):
        frame[300:420, 1000 - 6 * f : 1120 - 6 * f] = wide[:120, :120]
    write_video(file, frames, 24)
    return file


if __name__ == "__main__":
    main()
