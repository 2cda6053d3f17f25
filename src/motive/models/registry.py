"""From a model's folder or hub id to its adapter. A new family is one adapter and one line here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch

from motive.errors import ConfigError, ModelError
from motive.models.base import VideoModel
from motive.models.folder import find_folder, read_config
from motive.models.wan import WanModel

FAMILIES: dict[str, Callable[[Path, torch.device, torch.dtype, Sequence[float]], VideoModel]] = {
    "WanPipeline": WanModel,
}
"""Adapters by the pipeline class that a folder's model_index.json names."""


def load_model(
    source: str,
    sigmas: Sequence[float],
    device: str = "auto",
    dtype: Literal["float32", "bfloat16"] = "float32",
    revision: str | None = None,
) -> VideoModel:
    """The adapter for a diffusers folder or hub id; weights are read when they are first needed.

    device: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1". Raises ModelError, ConfigError.
    """
    folder = find_folder(source, revision)
    pipeline = str(read_config(folder / "model_index.json").get("_class_name"))
    if pipeline not in FAMILIES:
        raise ModelError(f"{source}: is a {pipeline}; supported are {', '.join(FAMILIES)}")
    return FAMILIES[pipeline](folder, find_device(device), getattr(torch, dtype), sigmas)


def find_device(name: str) -> torch.device:
    """The torch device meant by model.device; raises ConfigError if this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"model.device {name!r} is not a device; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"model.device is {name}, but torch sees {torch.cuda.device_count()} CUDA devices")
    return device
