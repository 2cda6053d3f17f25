"""The training of one arm: step after step, from wherever it stopped."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from motive.attribution.prepare import PreparedFolder
from motive.config import Config
from motive.errors import ModelError
from motive.models.base import VideoModel
from motive.progress import Progress, duration
from motive.training.checkpoint import load_checkpoint, save_checkpoint
from motive.training.curves import open_curves
from motive.training.influence import InfluenceLog
from motive.training.jobs import Job
from motive.training.passes import Example, backward
from motive.training.processes import Processes
from motive.training.record import write_record
from motive.training.tuning import holding, make_tunable, save_tuned
from motive.training.turns import batch_of, level_of, noise_of, rate_of

TIMED = 3
"""Steps after which a first estimate of the whole is told."""


@dataclass(frozen=True)
class Share:
    """What one process has to do of a step: ids and inputs of its clips."""

    step: int
    clips: list[str]
    examples: list[Example]


def run_job(
    config: Config, job: Job, model: VideoModel, inputs: PreparedFolder, processes: Processes, progress: Progress
) -> None:
    """Train an arm to its end. Raises ModelError if its loss is no longer finite."""
    options, denoiser = config.train, model.denoiser
    tuned = make_tunable(denoiser, options, job.arm.seed)
    if options.checkpointing:
        denoiser.enable_gradient_checkpointing()  # type: ignore[operator]
    parameters = list(tuned.values())
    optimiser = torch.optim.AdamW(parameters, lr=options.rate, weight_decay=options.decay, fused=True)
    average = None if options.ema is None else {name: value.detach().clone() for name, value in tuned.items()}
    checkpoint = job.folder / "checkpoint.safetensors"
    done = load_checkpoint(checkpoint, tuned, optimiser, average)
    every = options.influence_every
    watch = None if every is None else InfluenceLog(config, job.folder / "influence.jsonl", every, done.step)
    left, label, began = options.steps - done.step, f"training {job.arm.text}", time.monotonic()
    _record(config, job, processes, done.seconds, "started")
    progress.say(f"{label}: {left} steps of {options.batch} clips, of which it has {len(job.clips)}")
    with (
        open_curves(job.folder, options.log, job.arm.text, job.settings, done.step, processes.first) as log,
        progress.steps(label, left) as tick,
    ):
        for share in _shares(config, job, model, inputs, processes, done.step):
            step = share.step
            if watch is not None:
                watch(step, denoiser, share.clips)
            loss, norm = _gradient(config, model, parameters, share, processes)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise ModelError(
                    f"in step {step} of {job.arm.text} the loss is {loss} and the gradient's norm {norm}; try a lower "
                    "train.rate, or train.precision=float32"
                )
            rate = rate_of(step, options.steps, options.rate, options.warmup, options.schedule)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if average is not None:
                _follow(average, tuned, options.ema or 0.0, step)
            log(step, {"loss": loss, "rate": rate, "norm": norm})
            tick()
            spent = time.monotonic() - began
            if step == done.step + TIMED - 1 < options.steps - 1:
                progress.say(f"{label} takes about {duration(spent / TIMED * left)}")
            if (step + 1) % options.save_every == 0 and step + 1 < options.steps and processes.first:
                save_checkpoint(checkpoint, step + 1, done.seconds + spent, tuned, optimiser, average)
    if processes.first:
        with nullcontext() if average is None else holding(tuned, average):
            save_tuned(model, options, job.folder)
    _record(config, job, processes, done.seconds + time.monotonic() - began, "done")
    if processes.first:
        checkpoint.unlink(missing_ok=True)


def _gradient(
    config: Config, model: VideoModel, parameters: list[nn.Parameter], share: Share, processes: Processes
) -> tuple[float, float]:
    """Leave a step's whole gradient, cut to `train.clip`, in the parameters; returns the loss and the norm before."""
    options = config.train
    loss = backward(model, share.examples, options.accumulation, options.batch, options.precision == "bf16")
    processes.add_up([loss, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
    norm = nn.utils.clip_grad_norm_(parameters, options.clip or math.inf)
    return float(loss), float(norm)


def _shares(
    config: Config, job: Job, model: VideoModel, inputs: PreparedFolder, processes: Processes, first: int
) -> Iterator[Share]:
    """This process's share of every step from `first` on, each read while the one before is computed."""
    options, clips, seed = config.train, tuple(job.clips), job.arm.seed

    def read(step: int) -> Share:
        mine = batch_of(clips, seed, step, options.batch)[processes.rank :: processes.count]
        examples = []
        for turn in mine:
            prepared = inputs.load(job.clips[turn.clip])
            noise = noise_of(turn, seed, prepared.latents.shape)
            level = level_of(turn, seed, options.shift, options.levels)
            examples.append(Example(prepared.latents, prepared.text, noise, level, job.weights[turn.clip]))
        return Share(step, [turn.clip for turn in mine], examples)

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, first)
        for step in range(first, options.steps):
            share = coming.result()
            if step + 1 < options.steps:
                coming = reader.submit(read, step + 1)
            yield share


@torch.no_grad()
def _follow(average: dict[str, Tensor], tuned: dict[str, nn.Parameter], decay: float, step: int) -> None:
    """Let the running average follow the weights: at first quickly, or it would remember where training began."""
    keep = min(decay, (1 + step) / (10 + step))
    for name, value in average.items():
        value.lerp_(tuned[name], 1 - keep)


def _record(config: Config, job: Job, processes: Processes, seconds: float, state: str) -> None:
    """Written by the first process when all have read what was there."""
    processes.wait()
    if processes.first:
        write_record(job.folder, job.arm, config.train.steps, len(job.clips), job.settings, seconds, state)
    processes.wait()
