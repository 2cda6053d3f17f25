"""RAFT (Teed and Deng 2020) as torchvision builds it, with weights that a user gives: nothing is ever downloaded.

torchvision is an extra of its own and imported when such a tracker is made. Checkpoints may be torchvision's or those of the
original repository, such as the raft-things.pth that VBench's dynamic degree uses: the two networks are the same.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive.errors import ConfigError
from motive.motion.checkpoints import check_file, fill, read_tensors
from motive.motion.pairs import STRIDE, pad, pairs_a_batch
from motive.motion.trackers import Displacement, Frames, Tracker

if TYPE_CHECKING:
    from torchvision.models.optical_flow import RAFT

ROUNDS = 20
"""Of refinement, as in VBench."""

RENAMED = (
    (r"^module\.", ""),
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    # The norm of a shortcut, which the original holds under two names.
    (r"(layer\d\.\d)\.norm3\.", r"\1.downsample.1."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.", "update_block.motion_encoder."),
    (r"(motion_encoder)\.conv\.(?=weight|bias)", r"\1.conv.0."),
    (r"(motion_encoder)\.convc(\d)\.", r"\1.convcorr\2.0."),
    (r"(motion_encoder)\.convf(\d)\.", r"\1.convflow\2.0."),
    (r"^update_block\.gru\.conv(\w)(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.gru\.conv(\w)\.", r"update_block.recurrent_block.convgru1.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
"""From the original's names to torchvision's, in this order; no rule fits a name of torchvision's."""


def raft(
    weights: Path,
    sha256: str | None = None,
    small: bool = False,
    rounds: int = ROUNDS,
    device: torch.device | str = "cpu",
) -> Tracker:
    """A tracker from a checkpoint, read when the tracker is first used.

    sha256: what the file must hash to. rounds: of refinement. Raises ConfigError if torchvision or the file is missing, or the
    file is not the expected one.
    """
    torchvision_raft(small)
    check_file(weights, sha256)
    return partial(_displacement, cache(lambda: load_raft(weights, small).to(device)), rounds)


def torchvision_raft(small: bool = False) -> "Callable[[], RAFT]":
    """What builds torchvision's network, with random weights. Raises ConfigError if torchvision cannot be imported."""
    try:
        from torchvision.models.optical_flow import raft_large, raft_small
    # Beside a torch of another build it is found, but its compiled part is not loaded, or not registered.
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"motion.tracker {'raft-small' if small else 'raft'} needs torchvision, which cannot be imported ({error}): "
            'pip install "motive[raft]", beside a torch of the same source; see docs/how-to.md'
        ) from None
    return raft_small if small else raft_large


def load_raft(weights: Path, small: bool = False) -> "RAFT":
    """The network with the weights of a checkpoint, torchvision's or the original's, ready for `raft_flow`.

    Raises ConfigError if they do not fit the variant, naming the first differences in torchvision's names.
    """
    with torch.device("meta"):
        net = torchvision_raft(small)()
    fill(net, torchvision_names(read_tensors(weights)), weights, "raft" if small else "raft-small")
    return net.float().eval().requires_grad_(False)


def torchvision_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the original's names under torchvision's; one that has those already stays as it is."""
    named = {}
    for name, tensor in tensors.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    return named


@torch.inference_mode()
def raft_flow(net: "RAFT", first: Frames, second: Frames, rounds: int = ROUNDS) -> NDArray[np.float32]:
    """Where what `first` shows is in `second`: optical flow float32 [N, H, W, 2], (dx, dy) in px, on the grid of `first`.

    first, second: uint8 RGB [N, H, W, 3], N pairs. Their edges are repeated on both sides up to a multiple of 8, as VBench does
    it, and up to 128 px, below which RAFT has no coarsest correlation.
    """
    flows = np.empty((*first.shape[:3], 2), np.float32)
    device = next(net.parameters()).device
    batch = pairs_a_batch(*first.shape[1:3])
    for start in range(0, len(first), batch):
        some = slice(start, start + batch)
        (here, crop), (there, _) = (pad(frames[some], STRIDE) for frames in (first, second))
        flow = net(_normal(here, device), _normal(there, device), num_flow_updates=rounds)[-1]
        flows[some] = flow[..., crop[0], crop[1]].permute(0, 2, 3, 1).cpu().numpy()
        # torchvision would keep these until the next batch has made its own beside them.
        net.corr_block.corr_pyramid = []
    return flows


def _displacement(net: "Callable[[], RAFT]", rounds: int, frames: Frames) -> Displacement:
    """A Tracker once its first two arguments are given."""
    moved = np.zeros((*frames.shape[:3], 2), np.float32)
    if len(frames) > 1:
        # From a frame back to the one before, negated: motion since then. Frame 0 takes frame 1's (METHOD.md 2.2).
        np.negative(raft_flow(net(), frames[1:], frames[:-1], rounds), out=moved[1:])
        moved[0] = moved[1]
    return moved


def _normal(pictures: Tensor, device: torch.device) -> Tensor:
    """0..255 to -1..1."""
    return 2 * (pictures.to(device).float() / 255) - 1
