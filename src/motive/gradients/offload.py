"""Keeping what a backward pass needs in the computer's memory instead of the GPU's."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def offloaded(denoiser: nn.Module) -> AbstractContextManager[None]:
    """A context in which tensors that forward passes keep for the backward pass wait on the CPU.

    Parameters stay where they are. With activation checkpointing that is each block's input, without it everything.
    """
    own = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}

    def pack(tensor: Tensor) -> Tensor | tuple[torch.device, Tensor]:
        if tensor.untyped_storage()._cdata in own:
            return tensor
        # Pinned, so that it can come back while the GPU works.
        return tensor.device, torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda).copy_(tensor)

    def unpack(packed: Tensor | tuple[torch.device, Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else packed[1].to(packed[0], non_blocking=True)

    return saved_tensors_hooks(pack, unpack)
