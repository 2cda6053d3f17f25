"""METHOD.md in plain float64, as slowly and obviously as possible: no hooks, no folding, no shortcuts.

Everything in Motive is checked against this. It shares no code with the package; only the denoiser itself, a diffusers
module, is the same, converted to float64.
"""

import copy

import numpy as np
import torch


def mask(displacement: np.ndarray, stride: tuple[int, int, int] = (4, 8, 8)) -> np.ndarray:
    """Displacement [F, H, W, 2] -> W on the latent grid [f, h, w] (METHOD.md 2.2-2.4)."""
    frames, height, width, _ = displacement.shape
    magnitude = np.sqrt(displacement[..., 0].astype(np.float64) ** 2 + displacement[..., 1].astype(np.float64) ** 2)
    weight = (magnitude - magnitude.min()) / (magnitude.max() - magnitude.min() + 1e-6)
    step, tall, wide = stride
    small = np.zeros((frames, height // tall, width // wide))
    for f in range(frames):
        for i in range(height // tall):
            for j in range(width // wide):
                small[f, i, j] = _bilinear(weight[f], (i + 0.5) * tall - 0.5, (j + 0.5) * wide - 0.5)
    latent = [small[0]]
    for k in range(1, 1 + (frames - 1) // step):
        latent.append(np.mean([small[f] for f in range(step * k - step + 1, step * k + 1)], axis=0))
    return np.stack(latent)


def _bilinear(image: np.ndarray, y: float, x: float) -> float:
    """The image's value between pixels; pixel (i, j) has its centre at y = i, x = j."""
    top, left = int(np.floor(y)), int(np.floor(x))
    v, u = y - top, x - left
    bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
    above = (1 - u) * image[top, left] + u * image[top, right]
    below = (1 - u) * image[bottom, left] + u * image[bottom, right]
    return float((1 - v) * above + v * below)


def gradient(
    denoiser: torch.nn.Module,
    latents: torch.Tensor,
    text: torch.Tensor,
    weight: torch.Tensor,
    noise: torch.Tensor | list[torch.Tensor],
    sigmas: list[float],
    temporal: bool = False,
) -> np.ndarray:
    """dL_mot / dtheta over all parameters, flattened in order of name, float64 (METHOD.md 2.5, 2.6).

    noise: one for every noise level, or one each. temporal: of the error, only its deviation from its mean over time counts.
    """
    model = copy.deepcopy(denoiser).double()
    h, w = latents.double(), weight.double()
    noises = noise if isinstance(noise, list) else [noise] * len(sigmas)
    tokens = torch.zeros(1, 512, text.shape[-1], dtype=torch.float64)
    tokens[0, : len(text)] = text.double()
    total = torch.zeros((), dtype=torch.float64)
    for sigma, drawn in zip(sigmas, noises, strict=True):
        eps = drawn.double()
        z = (1 - sigma) * h + sigma * eps
        target = eps - h
        t = torch.tensor([1000 * sigma], dtype=torch.float64)
        prediction = model(z[None], t, tokens, return_dict=False)[0][0]
        loss = torch.zeros((), dtype=torch.float64)
        for channel in range(len(h)):
            error = prediction[channel] - target[channel]
            if temporal:
                error = error - sum(error) / len(error)
            loss = loss + (w * error**2).sum()
        total = total + loss / h.numel()
    (total / len(sigmas)).backward()
    named = sorted(model.named_parameters())
    return np.concatenate([p.grad.numpy().ravel() if p.grad is not None else np.zeros(p.numel()) for _, p in named])


def influence(pool: list[np.ndarray], queries: list[np.ndarray]) -> np.ndarray:
    """Cosines of exact gradients, [N, Q] (METHOD.md 3)."""
    return np.array([[g @ q / (np.linalg.norm(g) * np.linalg.norm(q)) for q in queries] for g in pool])


def votes(scores: np.ndarray, keep: float) -> list[int]:
    """MajVote: in how many queries' best share `keep` a clip is."""
    result = []
    for row in scores:
        count = 0
        for q in range(scores.shape[1]):
            column = sorted(scores[:, q])
            position = (1 - keep) * (len(column) - 1)
            low = int(np.floor(position))
            high = min(low + 1, len(column) - 1)
            cut = column[low] + (position - low) * (column[high] - column[low])
            count += row[q] > cut
        result.append(int(count))
    return result


def fastfood_matrix(block: int, dim: int, projector: object) -> np.ndarray:
    """The matrix [dim, block] that one unshifted block meets: S H G Pi H B / sqrt(L D') of a projector's own draws.

    H is built from its definition, H[i, j] = (-1)^popcount(i & j); only rows that are needed, since L is 2^16.
    """
    index = np.arange(block)
    signs = projector.signs.double().numpy()  # type: ignore[attr-defined]
    gaussian = projector.gaussian.double().numpy()  # type: ignore[attr-defined]
    permutation = projector.permutation.numpy()  # type: ignore[attr-defined]
    rows = projector.rows.double().numpy()  # type: ignore[attr-defined]
    matrix = np.empty((dim, block))
    for k in range(dim):
        # Row k of H G Pi: sum_j H[k, j] G[j] e_{permutation[j]}.
        row = np.zeros(block)
        row[permutation] = hadamard_row(k, index) * gaussian
        matrix[k] = rows[k] * walsh(row) * signs
    return matrix


def hadamard_row(k: int, index: np.ndarray) -> np.ndarray:
    return 1.0 - 2.0 * np.array([bin(k & int(j)).count("1") % 2 for j in index])


def walsh(x: np.ndarray) -> np.ndarray:
    """H x by the textbook butterfly."""
    x, half = x.copy(), 1
    while half < len(x):
        for start in range(0, len(x), 2 * half):
            a, b = x[start : start + half].copy(), x[start + half : start + 2 * half].copy()
            x[start : start + half], x[start + half : start + 2 * half] = a + b, a - b
        half *= 2
    return x
