"""What a stopped training goes on from: all that changes in it, as one safetensors file that is whole or absent.

    weights/NAME, mean/NAME, square/NAME    a trained parameter, and AdamW's two averages for it
    average/NAME                            its running average, with `train.ema`
    metadata                                step: how many are done; seconds: what they took

Nothing else has a state: order, noise and noise levels follow from the step's number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from motive.errors import StoreError
from motive.files import new_file
from motive.training.tuning import Tuned

AVERAGES = {"mean": "exp_avg", "square": "exp_avg_sq"}
"""AdamW's averages, and what torch calls them."""


@dataclass(frozen=True)
class Done:
    """How far a training is: steps, and the seconds that they took."""

    step: int
    seconds: float


def save_checkpoint(
    file: Path,
    step: int,
    seconds: float,
    tuned: Tuned,
    optimiser: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
) -> None:
    """Write all state as it is after `step` steps, at least one, which took so many seconds."""
    tensors = {f"weights/{name}": parameter.detach() for name, parameter in tuned.items()}
    for kind, key in AVERAGES.items():
        tensors |= {f"{kind}/{name}": optimiser.state[parameter][key] for name, parameter in tuned.items()}
    tensors |= {f"average/{name}": value for name, value in (average or {}).items()}
    with new_file(file) as aside:
        kept = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, aside, {"step": str(step), "seconds": repr(seconds)})


@torch.no_grad()
def load_checkpoint(file: Path, tuned: Tuned, optimiser: torch.optim.Optimizer, average: Mapping[str, Tensor] | None) -> Done:
    """Put the state back, if there is any, and return how far it is; raises StoreError if the file is damaged."""
    if not file.exists():
        return Done(0, 0.0)
    try:
        with safe_open(file, framework="pt") as kept:
            told = kept.metadata()
            done = Done(int(told["step"]), float(told["seconds"]))
            for name, parameter in tuned.items():
                parameter.copy_(kept.get_tensor(f"weights/{name}"))
                state = {key: kept.get_tensor(f"{kind}/{name}").to(parameter.device) for kind, key in AVERAGES.items()}
                optimiser.state[parameter] = state | {"step": _counter(done.step, parameter)}
            for name, value in (average or {}).items():
                value.copy_(kept.get_tensor(f"average/{name}"))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StoreError(f"{file}: damaged ({error}); delete it, and training begins anew") from None
    return done


def _counter(step: int, parameter: Tensor) -> Tensor:
    """Of the steps done, as fused AdamW keeps it for each parameter."""
    return torch.tensor(float(step), dtype=torch.float32, device=parameter.device)
