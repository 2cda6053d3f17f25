"""The fit of the judge of motion (lab.correct): on clips rendered for it, as they are, as the lab's VAE shows them, and as the
lab's model paints them again."""

import numpy as np
import torch
from numpy.typing import NDArray

from motive.lab import world
from motive.lab.correct import KINDS, NAMES, Judge, features
from motive.lab.motions import PHYSICAL
from motive.lab.repaint import Painter
from motive.lab.traces import Floats, traces
from motive.lab.train import SIZE
from motive.progress import Progress, Silent
from motive.seeds import stream

PER_KIND, DECODED, REPAINTED = 28, range(8), range(20, 28)
"""Clips of each kind, and the numbers of those that are seen besides through the VAE, and painted again."""
PENALTY = 1e-3
"""On squared weights."""
FIT_SEED, TEST_SEED = 1001, 2


def fit_judge(
    per_kind: int = PER_KIND,
    decoded: range = DECODED,
    repainted: range = REPAINTED,
    progress: Progress | None = None,
) -> Judge:
    """The same on every machine but for rounding."""
    painter = Painter() if decoded or repainted else None
    rows = []
    with (progress or Silent()).steps("rendering clips", per_kind) as step:
        for number in range(per_kind):
            rows.append(_seen(_clips(FIT_SEED, number)))
            if painter is not None and number in decoded:
                rows.append(_seen(painter.decoded(_clips(FIT_SEED, number))))
            if painter is not None and number in repainted:
                rows.append(_seen(painter.repainted(_clips(FIT_SEED, number), captions(FIT_SEED, number), FIT_SEED, number)))
            step()
    return fit(np.concatenate(rows), np.tile(np.arange(len(KINDS)), len(rows)))


def accuracy(made: Judge, per_kind: int = 20, progress: Progress | None = None) -> dict[str, list[float]]:
    """Share of unseen clips that the judge is right about: as rendered, through the VAE, painted again; by kind, and of all the
    ten motions' as "physical"."""
    painter, right = Painter(), np.zeros((3, len(KINDS)))
    with (progress or Silent()).steps("judging clips", per_kind) as step:
        for number in range(per_kind):
            clips = _clips(TEST_SEED, number)
            painted = painter.repainted(clips, captions(TEST_SEED, number), TEST_SEED, number)
            for n, shown in enumerate((clips, painter.decoded(clips), painted)):
                right[n] += made.chances(_seen(shown)).argmax(axis=1) == np.arange(len(KINDS))
            step()
    shares = right / per_kind
    physical = [NAMES.index(name) for name in PHYSICAL]
    return {name: shares[:, k].tolist() for k, name in enumerate(NAMES)} | {
        "physical": shares[:, physical].mean(axis=1).tolist()
    }


def rendered(kind: int, seed: int, number: int) -> NDArray[np.uint8]:
    """Clip `number` of a kind at the size that the lab's model sees; other seeds give other clips."""
    place, spec = _spec(kind, seed, number)
    whole = world.render(place, spec).frames
    ratio = world.SIZE // SIZE
    shrunk = whole.reshape(len(whole), SIZE, ratio, SIZE, ratio, 3).mean(axis=(2, 4))
    return np.asarray((shrunk + 0.5).astype(np.uint8))


def captions(seed: int, number: int) -> list[str]:
    """What those clips of each kind show, the motion named."""
    return [world.caption(_spec(kind, seed, number)[1], True) for kind in range(len(KINDS))]


def _spec(kind: int, seed: int, number: int) -> tuple[int, world.Spec]:
    motion, camera = KINDS[kind]
    draw = stream(seed, "judge", NAMES[kind], number)
    return int(draw.integers(1 << 40)), world.Spec(motion, world.draw_looks(draw), camera)


def _clips(seed: int, number: int) -> list[NDArray[np.uint8]]:
    """One of each kind."""
    return [rendered(kind, seed, number) for kind in range(len(KINDS))]


def _seen(clips: list[NDArray[np.uint8]]) -> Floats:
    return np.stack([features(traces(clip, world.FPS)) for clip in clips])


def fit(rows: Floats, kinds: NDArray[np.int64], penalty: float = PENALTY) -> Judge:
    """The judge of least cross-entropy and squared weights, on features [N, D] and the number of each clip's kind [N]."""
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    x = torch.from_numpy(np.concatenate([(rows - mean) / deviation, np.ones((len(rows), 1))], axis=1))
    y = torch.from_numpy(kinds)
    weights = torch.zeros(x.shape[1], len(KINDS), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=300, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights, y) + penalty * (weights[:-1] ** 2).sum()
        value.backward()
        return value

    solver.step(loss)
    return Judge(weights.detach().numpy(), mean, deviation)
