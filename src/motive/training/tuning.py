"""What of a denoiser is trained: all of it, or an adapter (LoRA) by PEFT; and what comes out as files."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motive.errors import ConfigError, ModelError
from motive.files import make_folder, sync_folder
from motive.models.base import VideoModel
from motive.models.folder import HASHED_SUFFIXES, read_config
from motive.seeds import stream
from motive.training.section import TrainSection

LORA_FILE = "pytorch_lora_weights.safetensors"
"""As diffusers calls it."""

Tuned = dict[str, nn.Parameter]
"""The parameters that are trained, by name."""


def make_tunable(denoiser: nn.Module, options: TrainSection, seed: int) -> Tuned:
    """Let what `options.method` trains require a gradient, and nothing else; returns it.

    An adapter starts as no change: its second matrices are zero, its first ones follow from the seed and their names.
    Raises ConfigError if `options.targets` fit no layer.
    """
    if options.method == "lora":
        _add_adapter(denoiser, options, seed)
    else:
        denoiser.requires_grad_(True)
    return {name: parameter for name, parameter in denoiser.named_parameters() if parameter.requires_grad}


def save_tuned(model: VideoModel, options: TrainSection, folder: Path) -> Path:
    """Write the result into an arm's `folder`: model/, a whole pipeline folder whose denoiser is in float32, or lora/; returns
    which."""
    result = result_folder(folder, options.method)
    aside = folder / f".{result.name}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    make_folder(aside)
    denoiser: Any = model.denoiser
    if options.method == "lora":
        _save_adapter(denoiser, aside)
    else:
        denoiser.save_pretrained(aside / model.denoiser_part)
        _link_others(model, aside)
    _sync_tree(aside)
    shutil.rmtree(result, ignore_errors=True)
    aside.replace(result)
    sync_folder(folder)
    return result


def result_folder(folder: Path, method: str) -> Path:
    """Where `save_tuned` puts what training by this method gave."""
    return folder / ("lora" if method == "lora" else "model")


def plain_weights(denoiser: nn.Module) -> dict[str, Tensor]:
    """The denoiser's weights under the names that it has in its folder, with adapters added in; wrapped or not."""
    from accelerate.utils import extract_model_from_parallel
    from peft.tuners.tuners_utils import BaseTunerLayer

    plain: Any = extract_model_from_parallel(denoiser, keep_fp32_wrapper=False)
    state: Mapping[str, Tensor] = plain.state_dict()
    weights = {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}
    for name, layer in plain.named_modules():
        if isinstance(layer, BaseTunerLayer):
            own: Any = layer
            with torch.no_grad():
                for adapter in own.active_adapters:
                    weights[f"{name}.weight"] = weights[f"{name}.weight"] + own.get_delta_weight(adapter)
    return weights


@contextmanager
def holding(tuned: Tuned, values: Mapping[str, Tensor]) -> Iterator[None]:
    """While active, the parameters have these values instead of their own."""
    own = {name: parameter.detach().clone() for name, parameter in tuned.items()}
    _put(tuned, values)
    try:
        yield
    finally:
        _put(tuned, own)


@torch.no_grad()
def _put(tuned: Tuned, values: Mapping[str, Tensor]) -> None:
    for name, parameter in tuned.items():
        parameter.copy_(values[name])


def _add_adapter(denoiser: Any, options: TrainSection, seed: int) -> None:
    from peft import LoraConfig

    linear = [name for name, module in denoiser.named_modules() if isinstance(module, nn.Linear)]
    for target in options.targets:
        if not any(_fits(name, target) for name in linear):
            raise ConfigError(
                f"train.targets: {target!r} fits none of the denoiser's {len(linear)} layers, which are called {linear[0]}, "
                f"{linear[len(linear) // 2]} and so on"
            )
    chosen = [name for name in linear if any(_fits(name, target) for target in options.targets)]
    alpha = options.rank if options.alpha is None else options.alpha
    denoiser.requires_grad_(False)
    denoiser.add_adapter(LoraConfig(r=options.rank, lora_alpha=alpha, target_modules=chosen))
    for name, parameter in denoiser.named_parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            if ".lora_A." in name:
                bound = parameter.shape[1] ** -0.5
                draw = stream(seed, "adapter", name).uniform(-bound, bound, tuple(parameter.shape))
                parameter.data.copy_(torch.from_numpy(draw))


def _fits(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}") or fnmatch(name, target)


def _save_adapter(denoiser: Any, folder: Path) -> None:
    from diffusers import WanPipeline
    from peft import get_peft_model_state_dict

    about = denoiser.peft_config["default"].to_dict()
    # A set would be written in another order each time.
    about["target_modules"] = sorted(about["target_modules"])
    WanPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(denoiser),
        transformer_lora_adapter_metadata=about,
        weight_name=LORA_FILE,
    )


def _link_others(model: VideoModel, target: Path) -> None:
    """Give `target` the model's other parts, by hard links: no bytes more, and whole when the model's own folder is gone."""
    listed = read_config(model.folder / "model_index.json")
    # A folder's own words name files here: none may lead elsewhere.
    parts = [name for name in listed if re.fullmatch(r"\w+", name) and (model.folder / name).is_dir()]
    for name in ("model_index.json", "UNTRAINED"):
        if (model.folder / name).exists():
            _link(model.folder / name, target / name)
    for part in parts:
        if part == model.denoiser_part:
            continue
        for file in sorted((model.folder / part).rglob("*")):
            if file.is_file() and file.suffix in HASHED_SUFFIXES:
                _link(file, target / file.relative_to(model.folder))


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Of the hub's cache the file behind the symbolic link.
        os.link(file.resolve(), target)
    except FileExistsError:
        raise ModelError(f"{target}: there is a file already, where one of the model's parts belongs") from None
    except OSError:
        shutil.copyfile(file, target)


def _sync_tree(folder: Path) -> None:
    """Make all that lies in a folder durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
