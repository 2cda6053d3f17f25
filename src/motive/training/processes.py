"""Several processes that train one model, started by `accelerate launch`, each on a device of its own; or just one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from motive.progress import Progress, Silent


@dataclass(frozen=True)
class Processes:
    """count: how many there are. rank: this one's number. device: "cpu", "cuda:0" and so on, where there are several."""

    count: int
    rank: int
    device: str

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and reports."""
        return self.rank == 0

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def wait(self) -> None:
        """Until all have come so far."""
        if self.count > 1:
            dist.barrier()


def find_processes(device: str) -> Processes:
    """The processes of this run; `device` is the configured one, which counts where there is one process."""
    from accelerate import PartialState

    # One process may write, or make its last videos, for as long as that takes.
    state = PartialState(timeout=timedelta(days=1), cpu=device == "cpu" or (device == "auto" and not torch.cuda.is_available()))
    several = state.num_processes > 1
    return Processes(state.num_processes, state.process_index, str(state.device) if several else device)


def told_once(processes: Processes, progress: Progress | None) -> Progress:
    """`progress` in the first process, silence in the others."""
    return progress if progress is not None and processes.first else Silent()


def is_first() -> bool:
    """Whether this is the only process of a run, or the one that reports."""
    return not dist.is_initialized() or dist.get_rank() == 0
