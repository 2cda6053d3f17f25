"""Labels of real clips at several picture sizes: which are static, which show a moving camera.

Reads a folder of videos with a clips.csv beside them. With --check it fails unless the clips named below, and only they, are
static at every size, and the dash-cam is labelled camera at every size.

    python benchmarks/labels.py ../shared/clips --check
"""

import argparse
import csv
import sys
from pathlib import Path

from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.trackers import TRACKERS
from motive.video.decode import Sampling, decode

SIZES = ((96, 160), (128, 224), (240, 416), (480, 832))
STATIC = {"bottles_static.mp4", "cars_road_topdown.avi", "cars_topdown.mp4"}
"""Bottles on a table, and two roads that are empty for the first 25 frames."""
CAMERA = "drive_highway.mp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a label is wrong")
    options = parser.parse_args()
    with (options.folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    print(f"{len(names)} clips, 25 frames at 16 fps, tracker dis, camera affine; px/frame")
    missed = False
    for height, width in SIZES:
        motions = {}
        for name in names:
            frames = decode(options.folder / name, Sampling(25, 16, height, width)).frames
            _, motions[name] = motion_mask(frames, TRACKERS["dis"], (4, 8, 8), MaskOptions(camera="affine"))
        static = {name for name, motion in motions.items() if motion.label == "static"}
        camera = {name: f"{motion.camera_px:.2f}" for name, motion in motions.items() if motion.label == "camera"}
        still = max(motions[name].sustained for name in static) if static else 0.0
        slowest = min(motion.sustained for name, motion in motions.items() if name not in static)
        fixed = max(motion.camera_px for name, motion in motions.items() if name not in camera)
        print(
            f"{height} x {width}: static {', '.join(sorted(static))}: at most {still:.2f}; the slowest other clip {slowest:.2f}"
        )
        print(f"{'':11}camera {camera}; the others at most {fixed:.2f}")
        missed |= static != STATIC or CAMERA not in camera
    print(f"goal, the same labels at every size: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


if __name__ == "__main__":
    main()
