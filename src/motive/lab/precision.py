"""Half precision for the lab's training."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def half_precision(device: str) -> Iterator[None]:
    """bfloat16 autocast on `device`, without torch's warning that a norm's weight stays in float32: it is meant to."""
    with warnings.catch_warnings(), torch.autocast(torch.device(device).type, torch.bfloat16):
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield
