"""Projected gradients of a suite's clips, one for each draw of noise level and noise: what every score of Motive is made of.

Kept one file a clip and weighting, so that all scores, of 1, 4, 16 or 64 draws, come from one computation, and an
interrupted one goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise, temporal_residual
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import Fastfood
from motive.lab.inputs import Inputs
from motive.lab.pool import processes
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


@dataclass(frozen=True)
class Weighting:
    """Which mask of Inputs weights the loss, what of the error counts, and which parameters do."""

    mask: str | None
    residual: Callable[[Tensor], Tensor] | None = None
    parameters: str = "*"


FRAMES_MEET = "*.attn1.*"
"""Self-attention: the only place where a Wan's frames see each other."""

WEIGHTINGS = {
    "paper": Weighting("paper"),
    "motion": Weighting("dis"),
    "plain": Weighting(None),
    "temporal": Weighting("dis", temporal_residual),
    "oracle": Weighting("true"),
    "attention": Weighting(None, temporal_residual, FRAMES_MEET),
    "masked-attention": Weighting("dis", temporal_residual, FRAMES_MEET),
}


PARTS = {
    "the last 4 of 6 blocks": Weighting("dis", parameters="last:4 blocks"),
    "the last 2 of 6 blocks": Weighting("dis", parameters="last:2 blocks"),
    "the last block": Weighting("dis", parameters="last:1 blocks"),
    "self-attention": Weighting("dis", parameters=FRAMES_MEET),
    "cross-attention": Weighting("dis", parameters="*.attn2.*"),
    "feed-forward": Weighting("dis", parameters="*.ffn.*"),
}
"""As "motion", with a part of the parameters."""


def weighting(name: str) -> Weighting:
    """The weighting of that name, of all parameters or of a part."""
    return (WEIGHTINGS | PARTS)[name]


def sigmas(weighting: str, draws: int) -> tuple[float, ...]:
    """Noise levels of the draws: the paper's own one, or spread over the schedule as in `preset: best`."""
    return (PAPER_SIGMA,) if weighting == "paper" else spread_sigmas(draws)


@dataclass(frozen=True)
class Job:
    """Draws wanted: of which clips, how weighted, how many, and the folder that keeps them."""

    inputs: Inputs
    weighting: str
    draws: int
    folder: Path

    @property
    def files(self) -> list[Path]:
        return [self.folder / f"{clip.name}.npz" for clip in self.inputs.clips]


def draw_features(jobs: Sequence[Job], model: str, workers: int, progress: Progress) -> list[Draws]:
    """The draws of each job; those that its folder holds are read from it."""
    tasks = []
    for job in jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
        tasks += [(job, n) for n, file in enumerate(job.files) if _held(file) < job.draws]
    if tasks:
        with (
            processes(workers, _start, (model,)) as pool,
            progress.steps(f"gradients of {sum(job.draws for job, _ in tasks)} draws", len(tasks)) as step,
        ):
            for _ in pool.map(_attribute, map(_one, tasks)):
                step()
    found = []
    for job in jobs:
        held = [_load(file) for file in job.files]
        parts = (np.stack([getattr(one, name)[: job.draws] for one in held]) for name in ("directions", "norms"))
        found.append(Draws(*parts))
    return found


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


def _one(task: tuple[Job, int]) -> Task:
    """What a worker needs to know of one clip of a job, and no more."""
    job, n = task
    inputs, mask = job.inputs, weighting(job.weighting).mask
    weight = torch.ones_like(inputs.masks["dis"][n]) if mask is None else inputs.masks[mask][n]
    return inputs.latents[n].clone(), inputs.texts[n], weight.clone(), job.weighting, job.draws, job.files[n]


_state: dict[str, Any] = {}


def _start(model: str) -> None:
    torch.set_num_threads(1)
    _state.update(model=load_model(model, (PAPER_SIGMA,), "cpu"), projector=Fastfood(DIM, 0, torch.device("cpu")))


def _attribute(task: Task) -> None:
    latents, text, mask, name, draws, file = task
    model, projector = _state["model"], _state["projector"]
    residual = weighting(name).residual
    choose_parameters(model.denoiser, [weighting(name).parameters])
    gradients = []
    for k, sigma in enumerate(sigmas(name, draws)):
        noise = shared_noise(0, latents.shape, k)
        loss = partial(clip_loss, model, latents, text, mask, noise, sigma, residual)
        gradients.append(project_gradient(model.denoiser, projector, [loss]))
    aside = file.with_suffix(".tmp.npz")
    directions = np.stack([gradient.feature.numpy().astype(np.float16) for gradient in gradients])
    np.savez(aside, directions=directions, norms=np.array([gradient.projected_norm for gradient in gradients]))
    aside.replace(file)
