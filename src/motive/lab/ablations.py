"""The paper's ablations in the lab."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise
from motive.gradients.projection import Exact, Fastfood, Projector
from motive.lab import world
from motive.lab.draws import PAPER_SIGMA, Job, draw_features, mean_directions
from motive.lab.inputs import Inputs
from motive.lab.metrics import Scores, ranking, spearman
from motive.lab.motions import PHYSICAL
from motive.lab.train import SIZE
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.progress import Progress
from motive.seeds import stream


def measure(
    rows: dict[str, Scores], pool: Inputs, queries: Inputs, model: Path, place: Path, progress: Progress
) -> dict[str, Any]:
    """All ablations, as plain values for results.json; the overlap of top sets is that of `rows`."""
    loaded = load_model(str(model), (PAPER_SIGMA,), "cpu")
    return {
        "projection": projection(loaded, pool, queries, progress),
        "timesteps": timesteps(pool, queries, str(model), place, progress),
        "length": clip_length(loaded, progress),
        "overlap": {name: overlap(scores, queries) for name, scores in rows.items()},
    }


def projection(
    model: VideoModel,
    pool: Inputs,
    queries: Inputs,
    progress: Progress,
    clips: int = 40,
    dims: Sequence[int] = (128, 512, 1024, 2048, 4096),
) -> dict[str, float]:
    """Spearman of projected against exact cosine over pool clips, mean over queries, for each dimension D'."""
    sizes = {name: parameter.numel() for name, parameter in model.denoiser.named_parameters()}
    projectors: list[Projector] = [Exact(sizes), *(Fastfood(dim, 0, model.device) for dim in dims)]
    some = np.linspace(0, len(pool) - 1, clips).astype(int)
    asked = range(0, len(queries), max(1, len(queries) // 10))
    noise = shared_noise(0, pool.latents.shape[1:])
    features: list[list[NDArray[np.float64]]] = [[] for _ in projectors]
    with progress.steps("exact gradients", len(some) + len(asked)) as step:
        for inputs, numbers in ((pool, some), (queries, asked)):
            for n in numbers:

                def loss(n: int = int(n), inputs: Inputs = inputs) -> torch.Tensor:
                    return clip_loss(model, inputs.latents[n], inputs.texts[n], inputs.masks["dis"][n], noise, PAPER_SIGMA)

                whole = project_gradient(model.denoiser, projectors[0], [loss]).feature
                features[0].append(whole.numpy())
                for kept, projector in zip(features[1:], projectors[1:], strict=True):
                    kept.append(_project(projector, whole, sizes).astype(np.float64))
                step()
    exact, *projected = ((np.stack(f[: len(some)]) @ np.stack(f[len(some) :]).T) for f in features)
    return {
        str(dim): float(np.mean([spearman(own[:, q], exact[:, q]) for q in range(exact.shape[1])]))
        for dim, own in zip(dims, projected, strict=True)
    }


def _project(projector: Projector, whole: torch.Tensor, sizes: dict[str, int]) -> NDArray[np.float32]:
    """The projection of an exact feature, whose parameters lie in order of name."""
    accumulator, start = torch.zeros(projector.width), 0
    for name in sorted(sizes):
        projector.add(accumulator, name, whole[start : start + sizes[name]])
        start += sizes[name]
    projected = projector.finish(accumulator)
    return np.asarray((projected / projected.norm()).numpy())


def timesteps(pool: Inputs, queries: Inputs, model: str, place: Path, progress: Progress) -> dict[str, float]:
    """Spearman over pool clips, mean over queries, of scores from one draw against the mean of ten."""
    folder = place / "draws"
    jobs = [Job(pool, "motion", 10, folder / "pool" / "motion"), Job(queries, "motion", 10, folder / "queries" / "motion")]
    own, wanted = draw_features(jobs, model, 1, progress)
    ten = mean_directions(own, 10) @ mean_directions(wanted, 10).T
    one = mean_directions(own, 1) @ mean_directions(wanted, 1).T
    return {"one against ten": float(np.mean([spearman(one[:, q], ten[:, q]) for q in range(ten.shape[1])]))}


def clip_length(model: VideoModel, progress: Progress, clips: int = 48) -> dict[str, float]:
    """Spearman of a clip's length with its mean score, as a cosine and as an inner product of unnormalised gradients, over
    clips of 17 to 41 frames: as they are, and standardised to their first 17."""
    lengths = stream(0, "lengths").permutation(np.resize([17, 21, 25, 29, 33, 37, 41], clips))
    projector = Fastfood(2048, 0, model.device)
    longest = shared_noise(0, model.latent_shape(41, SIZE, SIZE))
    text = model.encode_text([""])[0]
    out: dict[str, float] = {}
    for name in ("as they are", "standardised"):
        gradients = []
        with progress.steps(f"clips of many lengths, {name}", clips) as step:
            for n, length in enumerate(lengths):
                motion = list(PHYSICAL)[n % len(PHYSICAL)]
                spec = world.Spec(motion, world.draw_looks(stream(0, "lengths", n)))
                frames = world.render(n, spec, SIZE, int(length)).frames
                if name == "standardised":
                    frames = frames[: world.FRAMES]
                latents = model.encode_video(frames)
                weight = torch.ones(latents.shape[1:])
                noise = longest[:, : latents.shape[1]]
                gradients.append(
                    project_gradient(
                        model.denoiser, projector,
                        [lambda: clip_loss(model, latents, text, weight, noise, PAPER_SIGMA) * weight.numel()],  # noqa: B023
                    )
                )  # fmt: skip
                step()
        directions = np.stack([gradient.feature.numpy() for gradient in gradients])
        norms = np.array([gradient.projected_norm for gradient in gradients])
        cosines = directions @ directions.T
        np.fill_diagonal(cosines, 0)
        out[f"{name}, cosine"] = spearman(cosines.sum(axis=1), lengths)
        out[f"{name}, inner product"] = spearman((cosines * norms * norms[:, None]).sum(axis=1), lengths)
    return out


def overlap(scores: Scores, queries: Inputs, share: float = 0.1) -> float:
    """Mean share that the top sets of two different motions have in common."""
    size = max(1, int(len(scores) * share + 0.5))
    wanted = np.array([clip.spec.motion for clip in queries.clips])
    tops = {}
    for motion in dict.fromkeys(wanted.tolist()):
        mean = scores[:, wanted == motion].mean(axis=1, keepdims=True)
        tops[motion] = set(ranking(mean)[:size, 0].tolist())
    return float(np.mean([len(tops[a] & tops[b]) / size for a, b in combinations(tops, 2)]))
