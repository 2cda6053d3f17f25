"""Coarse to fine on real clips: how many of a full score's best tenth a cheaper score's shortlist holds, for each total cost.

Each clip of a folder with a clips.csv is the query once, and all others are its pool. The full score has 16 draws and the
weighting of `preset: best`, without its kernel; the cheaper ones have fewer draws, and their shortlists are as long as the
total cost leaves room for. The model is the one that ships, at its own 17 frames of 64 x 64: it has never seen real video, so
this is about the method's noise, not about motion. In the lab, with clips that the model knows: docs/results.md.

    python benchmarks/cascade.py ../shared/clips --check
"""

import argparse
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from motive import verbs
from motive.attribution.prepare import PreparedFolder, prepared_fingerprint
from motive.config import parse_config
from motive.lab import world
from motive.lab.draws import Job, draw_features, mean_directions
from motive.lab.inputs import Inputs
from motive.lab.shipped import shipped_model
from motive.lab.train import SIZE
from motive.models.registry import load_model
from motive.progress import Silent

FULL, SHARE, GOAL, AT = 16, 0.1, 0.95, 0.25
COSTS = (0.25, 0.35, 0.5, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help=f"exit with 1 if no recall at a cost of {AT} reaches {GOAL}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        pool, queries = drawn(options.folder.resolve() / "clips.csv", Path(place))
    full = pool_scores(pool, queries, FULL)
    print(
        f"{len(full)} clips, each the query once\n\n| coarse draws of {FULL} | cost | "
        + " | ".join(f"recall at {c}" for c in COSTS)
        + " |"
    )
    print("|--:|--:|" + "--:|" * len(COSTS))
    best = 0.0
    for draws in (1, 2, 4, 8):
        cost, coarse = draws / FULL, pool_scores(pool, queries, draws)
        found = [recall(full, coarse, total - cost) if total - cost > SHARE else None for total in COSTS]
        best = max(best, found[COSTS.index(AT)] or 0.0)
        print(f"| {draws} | {cost:.2f} | " + " | ".join("" if value is None else f"{value:.2f}" for value in found) + " |")
    print(f"\ngoal: {GOAL} at {AT}: {'met' if best >= GOAL else 'MISSED'}")
    sys.exit(1 if best < GOAL and options.check else 0)


def drawn(manifest: Path, out: Path) -> list[Any]:
    """The draws of all clips as pool and as queries."""
    video = {"frames": world.FRAMES, "fps": world.FPS, "height": SIZE, "width": SIZE}
    where = {"out": out, "pool": manifest, "queries": manifest, "model": {"path": str(shipped_model()), "device": "cpu"}}
    config = parse_config(where | {"video": video, "columns": {"video": "file"}}, "the benchmark")
    if failed := verbs.prepare(config):
        sys.exit("\n".join(failed))
    model = load_model(config.model.path, (0.75,), "cpu")
    folder = PreparedFolder(out / "prepared", prepared_fingerprint(config, model))
    clips = list(verbs.read_clips(config, "pool"))
    ready = [folder.load(clip) for clip in clips]
    masks = {"dis": torch.stack([each.mask for each in ready])}
    named: list[Any] = [SimpleNamespace(name=clip.id) for clip in clips]
    latents, texts = torch.stack([each.latents for each in ready]), [each.text for each in ready]
    inputs = Inputs(named, latents, texts, masks, np.zeros(0, np.uint8), np.zeros(0, np.float32))
    jobs = [Job(inputs, name, FULL, out / name) for name in ("attention", "masked-attention")]
    return draw_features(jobs, config.model.path, 2, Silent())


def pool_scores(pool: Any, queries: Any, draws: int) -> np.ndarray:
    """[N, N] cosines; a clip is not in its own pool."""
    scores = mean_directions(pool, draws) @ mean_directions(queries, draws).T
    np.fill_diagonal(scores, -np.inf)
    return scores


def recall(full: np.ndarray, coarse: np.ndarray, share: float) -> float:
    """Of the best SHARE by `full`, the part that the best `share` by `coarse` holds; mean over queries."""
    count = len(full) - 1
    wanted, kept = max(1, round(SHARE * count)), max(1, round(share * count))
    tops = zip(np.argsort(-full, axis=0)[:wanted].T, np.argsort(-coarse, axis=0)[:kept].T, strict=True)
    return float(np.mean([np.isin(top, shortlist).mean() for top, shortlist in tops]))


if __name__ == "__main__":
    main()
