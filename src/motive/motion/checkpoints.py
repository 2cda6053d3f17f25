"""Checkpoints of trackers: files that a user gives. Nothing is ever downloaded, and nothing but tensors is read."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from motive.errors import ConfigError
from motive.files import sha256_file

UNREADABLE = (
    UnpicklingError,
    SafetensorError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
"""What torch and safetensors raise for files that are something else."""


def check_file(weights: Path, sha256: str | None) -> None:
    """Raise ConfigError if there is no such file, or if it hashes to something else."""
    if not weights.is_file():
        raise ConfigError(f"motion.weights: {weights}: no such file; it is never downloaded, see docs/how-to.md")
    if sha256 is not None and (found := sha256_file(weights)) != sha256.lower():
        raise ConfigError(f"motion.weights: {weights}: its sha256 is {found}, not {sha256}")


def read_tensors(weights: Path) -> dict[str, Tensor]:
    """The state dict that a `.safetensors` holds, or any other file that torch saved, there alone or under "model".

    Raises ConfigError for any other content; what code a file holds is not run.
    """
    try:
        if weights.suffix == ".safetensors":
            return load_file(weights)
        held = torch.load(weights, map_location="cpu", weights_only=True)
        state = held.get("model", held)
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise TypeError("not only tensors")
    except UNREADABLE as error:
        raise ConfigError(
            f"{weights}: is not read: no checkpoint, or one that holds more than tensors ({type(error).__name__})"
        ) from None
    return dict(state)


def fill(net: nn.Module, tensors: Mapping[str, Tensor], weights: Path, other: str) -> None:
    """Put `tensors`, read from `weights`, in the place of the network's own, which may lie on the meta device.

    Raises ConfigError if they do not fit, naming the first differences and `other`, the tracker that they may be of.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected:
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        lines = "\n".join(
            f"  {n}: expected {expected.get(n, 'nothing')}, found {found.get(n, 'nothing')}" for n in different[:5]
        )
        raise ConfigError(f"{weights}: {len(different)} tensors do not fit; is it of motion.tracker={other}?\n{lines}")
    net.load_state_dict(tensors, assign=True)
