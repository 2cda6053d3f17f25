"""Metrics that see single frames through a pretrained network: consistency over time (DINO, CLIP), and aesthetic quality.

As VBench defines them, over transformers' networks, from local folders; no weights are downloaded, and no code in a folder
is run. Frames are resized as VBench's transforms do it, without antialiasing.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from motive.errors import ConfigError, ModelError
from motive.evaluation.metric import Metric, Video
from motive.files import digest, sha256_file
from motive.models.folder import hash_part, loading, whole
from motive.motion.checkpoints import read_tensors
from motive.video.standardise import Frames

SIZE = 224
TOGETHER = 16
"""Frames a pass."""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Means and standard deviations that the networks were trained with."""

Embed = Callable[[Frames], Tensor]
"""uint8 [F, H, W, 3] -> float32 [F, D], each of length 1, on the CPU."""


def subject_consistency(dino: Path, device: str) -> Metric:
    """How alike frames look to DINO."""
    return _consistency("subject_consistency", cache(lambda: dino_embedder(dino, device)), hash_part(_folder(dino)))


def background_consistency(clip: Path, device: str) -> Metric:
    """How alike frames look to CLIP."""
    return _consistency("background_consistency", cache(lambda: clip_embedder(clip, device)), hash_part(_folder(clip)))


def aesthetic_quality(clip: Path, head: Path, device: str) -> Metric:
    """LAION's aesthetic score of the frames, over 10, on average. Raises ConfigError if the head is no such head."""
    if not head.is_file():
        raise ConfigError(f"evaluate.aesthetic_head: {head}: no such file; it is never downloaded")
    tensors = read_tensors(head)
    if sorted(tensors) != ["bias", "weight"] or tensors["weight"].ndim != 2 or tensors["weight"].shape[0] != 1:
        raise ConfigError(f"{head}: expected a linear head, tensors weight [1, D] and bias [1]")
    embedder = cache(lambda: clip_embedder(clip, device))

    def measure(video: Video) -> float:
        seen = embedder()(video.frames)
        if seen.shape[1] != tensors["weight"].shape[1]:
            raise ConfigError(f"{head}: takes {tensors['weight'].shape[1]} numbers, and {clip} gives {seen.shape[1]}")
        return float((seen @ tensors["weight"].float().T + tensors["bias"].float()).mean() / 10)

    mark = digest("1", hash_part(_folder(clip)), sha256_file(head))
    return Metric("aesthetic_quality", "of 1", "higher", measure, mark)


def consistency(seen: Tensor) -> float | None:
    """Of frames' unit vectors [F, D]: mean over t > 0 of the cosine with the frame before and with the first, negative ones as
    0; None of a single frame."""
    if len(seen) < 2:
        return None
    before, first = (seen[1:] * seen[:-1]).sum(1).clamp(min=0), (seen[1:] @ seen[0]).clamp(min=0)
    return float(((before + first) / 2).mean())


def dino_embedder(folder: Path, device: str) -> Embed:
    """The class token of a DINO vision transformer; frames keep their shape. Raises ModelError if the folder holds none."""
    from transformers import AutoModel

    # What a pooler would make of the class token is not used, and published folders have none.
    model = _load(AutoModel, folder, device, unused="pooler.")

    def see(frames: Tensor) -> Tensor:
        tokens: Tensor = model(pixel_values=_prepared(frames, "bilinear", *IMAGENET), interpolate_pos_encoding=True)[0]
        return tokens[:, 0]

    return _in_batches(see, device)


def clip_embedder(folder: Path, device: str) -> Embed:
    """CLIP's image embedding of the centre square. Raises ModelError if the folder holds no CLIP."""
    from transformers import CLIPVisionModelWithProjection

    model = _load(CLIPVisionModelWithProjection, folder, device)
    size = int(model.config.image_size)

    def see(frames: Tensor) -> Tensor:
        shown = _prepared(frames, "bicubic", *CLIP, size=size)
        top, left = (shown.shape[2] - size) // 2, (shown.shape[3] - size) // 2
        embedded: Tensor = model(pixel_values=shown[..., top : top + size, left : left + size]).image_embeds
        return embedded

    return _in_batches(see, device)


def _consistency(name: str, embedder: Callable[[], Embed], mark: str) -> Metric:
    return Metric(name, "of 1", "higher", lambda video: consistency(embedder()(video.frames)), f"1/{mark}")


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; download the model once and give its local folder")
    return folder


def _load(kind: Any, folder: Path, device: str, unused: str | None = None) -> Any:
    with loading(_folder(folder), "."):
        loaded = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        model = whole(loaded, unused)
    return model.to(device).eval().requires_grad_(False)


def _in_batches(see: Callable[[Tensor], Tensor], device: str) -> Embed:
    @torch.inference_mode()
    def embed(frames: Frames) -> Tensor:
        # Cloned: reversed frames have strides that torch does not take.
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        return torch.cat([normalize(see(part.to(device)), dim=-1).float().cpu() for part in pixels.split(TOGETHER)])

    return embed


def _prepared(frames: Tensor, mode: str, mean: tuple[float, ...], deviation: tuple[float, ...], size: int = SIZE) -> Tensor:
    """uint8 [B, 3, H, W] -> normalised float32 with the shorter side of `size`; resized bytes are rounded to bytes again."""
    height, width = frames.shape[2:]
    short = min(height, width)
    shape = [int(size * height / short), int(size * width / short)]
    resized = interpolate(frames.float(), shape, mode=mode, align_corners=False).round().clamp(0, 255) / 255
    centre, spread = (torch.tensor(values, device=frames.device).view(1, 3, 1, 1) for values in (mean, deviation))
    return (resized - centre) / spread
