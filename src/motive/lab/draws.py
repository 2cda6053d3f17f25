"""Projected gradients of a suite's clips, one for each draw of noise level and noise: what every score of Motive is made of.

Kept one file a clip and weighting, so that all scores, of 1, 4, 16 or 64 draws, come from one computation, and an
interrupted one goes on.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise, temporal_residual
from motive.gradients.projection import Fastfood
from motive.lab.inputs import Inputs
from motive.models.registry import load_model
from motive.progress import Progress
from motive.sigmas import spread_sigmas

DIM = 2048
PAPER_SIGMA = 0.75075


@dataclass(frozen=True)
class Draws:
    """Of N clips and K draws: directions float16 [N, K, DIM], of length 1, and projected norms float64 [N, K]; or of one
    clip, without the first axis."""

    directions: NDArray[np.float16]
    norms: NDArray[np.float64]


WEIGHTINGS = {
    "paper": ("paper", None),
    "motion": ("dis", None),
    "plain": (None, None),
    "temporal": ("dis", temporal_residual),
    "oracle": ("true", None),
}
"""Which mask of Inputs weights the loss, and what of the error counts."""


def sigmas(draws: int) -> tuple[float, ...]:
    """Noise levels of the draws: the paper's one first, then spread over the schedule."""
    return (PAPER_SIGMA, *spread_sigmas(draws)[1:])


def draw_features(
    inputs: Inputs, weighting: str, draws: int, model: str, folder: Path, workers: int, progress: Progress
) -> Draws:
    """The draws of each clip of `inputs`; those that `folder` holds are read from it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{clip.name}.npz" for clip in inputs.clips]
    missing = [n for n, file in enumerate(files) if _held(file) < draws]
    if missing:
        tasks = [(inputs, n, weighting, draws, files[n]) for n in missing]
        with (
            ProcessPoolExecutor(workers, get_context("spawn"), _start, (model,)) as processes,
            progress.steps(f"gradients: {folder.parent.name}, {folder.name}, {draws} draws", len(missing)) as step,
        ):
            for _ in processes.map(_attribute, map(_one, tasks)):
                step()
    held = [_load(file) for file in files]
    return Draws(*(np.stack([getattr(one, name)[:draws] for one in held]) for name in ("directions", "norms")))


def mean_directions(draws: Draws, count: int) -> NDArray[np.float64]:
    """[N, D']: the mean direction of each clip's first `count` draws, of length 1."""
    return unit(draws.directions[:, :count].mean(axis=1, dtype=np.float64))


def mean_gradients(draws: Draws, count: int) -> NDArray[np.float64]:
    """[N, D']: the projected mean gradient of each clip's first `count` draws, at its own length."""
    lengths = draws.norms[:, :count, None]
    return np.asarray((draws.directions[:, :count].astype(np.float64) * lengths).mean(axis=1))


def unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, D'], each of length 1."""
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


def _held(file: Path) -> int:
    return len(_load(file).norms) if file.exists() else 0


def _load(file: Path) -> Draws:
    with np.load(file) as held:
        return Draws(held["directions"], held["norms"])


Task = tuple[Any, ...]


def _one(task: tuple[Inputs, int, str, int, Path]) -> Task:
    """The part of `inputs` that one clip needs, so that no more travels to a worker."""
    inputs, n, weighting, draws, file = task
    mask = WEIGHTINGS[weighting][0]
    weight = torch.ones_like(inputs.masks["dis"][n]) if mask is None else inputs.masks[mask][n]
    return inputs.latents[n].clone(), inputs.texts[n], weight.clone(), weighting, draws, file


_state: dict[str, Any] = {}


def _start(model: str) -> None:
    torch.set_num_threads(1)
    _state.update(model=load_model(model, (PAPER_SIGMA,), "cpu"), projector=Fastfood(DIM, 0, torch.device("cpu")))


def _attribute(task: Task) -> None:
    latents, text, mask, weighting, draws, file = task
    model, projector = _state["model"], _state["projector"]
    residual = WEIGHTINGS[weighting][1]
    gradients = []
    for k, sigma in enumerate(sigmas(draws)):
        noise = shared_noise(0, latents.shape, k)
        loss = partial(clip_loss, model, latents, text, mask, noise, sigma, residual)
        gradients.append(project_gradient(model.denoiser, projector, [loss]))
    aside = file.with_suffix(".tmp.npz")
    directions = np.stack([gradient.feature.numpy().astype(np.float16) for gradient in gradients])
    np.savez(aside, directions=directions, norms=np.array([gradient.projected_norm for gradient in gradients]))
    aside.replace(file)
