"""Half precision for the lab's training."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def half_precision(device: str) -> Iterator[None]:
    """bfloat16 autocast on `device`, without torch's warning that a norm's weight stays in float32: it is meant to.

    Attention is the plain product of matrices: for the lab's eighty tokens a CPU's flash kernel is slower.
    """
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), torch.autocast(torch.device(device).type, torch.bfloat16):
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield
