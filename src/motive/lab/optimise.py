"""The loop that trains the lab's networks: any loss, on any device, resumable."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motive.files import write_atomic
from motive.lab.muon import Muon, matrices
from motive.lab.precision import half_precision
from motive.progress import Progress, duration

ADAM_RATE = 2e-3
MUON_RATE = 0.02


def optimise(
    name: str,
    modules: list[nn.Module],
    loss: Callable[[int], Tensor],
    steps: int,
    folder: Path,
    device: str,
    progress: Progress,
    averaging: float | None = None,
    save_every: float = 180.0,
) -> None:
    """Muon for matrices and AdamW for the rest, in bfloat16 autocast, with a short warm-up and then a straight line to zero;
    leaves the (averaged) result in `modules`.

    Every `save_every` seconds all state goes to `<name>.checkpoint.pt`, from which the same call goes on.
    """
    parameters = [p for module in modules for p in module.parameters()]
    muon = Muon(matrices(modules))
    theirs = set(map(id, muon.weights))
    adam = torch.optim.AdamW([p for p in parameters if id(p) not in theirs], betas=(0.9, 0.98), weight_decay=0.0)
    mean = [p.detach().clone() for p in parameters]
    first, curve, checkpoint = 0, [], folder / f"{name}.checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        first, curve = state["step"], state["curve"]
        adam.load_state_dict(state["adam"])
        for kept, now in ((state["parameters"], parameters), (state["mean"], mean), (state["muon"], muon.means)):
            _copy(kept, now)
    progress.say(f"training the {name}: {steps - first} steps")
    saved = begin = time.monotonic()
    with progress.steps(f"training the {name}", steps - first) as tick:
        for step in range(first, steps):
            with half_precision(device):
                value = loss(step)
            for module in modules:
                module.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            scale = min((step + 1) / 50, 1 - step / steps)
            adam.param_groups[0]["lr"] = ADAM_RATE * scale
            adam.step()
            muon.step(MUON_RATE * scale)
            if averaging is not None:
                keep = min(averaging, (1 + step) / (10 + step))
                torch._foreach_lerp_(mean, [p.detach() for p in parameters], 1 - keep)
            curve.append(float(value.detach()))
            tick()
            if step == first + 20:
                progress.say(f"this takes about {duration((time.monotonic() - begin) / 21 * (steps - first))}")
            if time.monotonic() - saved > save_every or step == steps - 1:
                saved = time.monotonic()
                state = {"step": step + 1, "curve": curve, "adam": adam.state_dict(), "muon": muon.means, "mean": mean}
                torch.save(state | {"parameters": [p.detach() for p in parameters]}, folder / f"{name}.tmp.pt")
                (folder / f"{name}.tmp.pt").replace(checkpoint)
                write_curve(folder / f"{name}.jsonl", curve)
    if averaging is not None:
        _copy(mean, parameters)


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Any]) -> None:
    for there, here in zip(source, target, strict=True):
        here.copy_(there)


def write_curve(file: Path, curve: list[float], every: int = 50) -> None:
    """Mean loss of each `every` steps."""
    means = [(n + every, float(np.mean(curve[n : n + every]))) for n in range(0, len(curve) - every + 1, every)]
    write_atomic(file, "".join(json.dumps({"step": step, "loss": round(loss, 5)}) + "\n" for step, loss in means).encode())
