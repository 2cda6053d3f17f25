"""Fine-tuning of the denoiser on each arm's clips, with its ordinary loss (METHOD.md 4).

arms/<arm>/arm.json          what it is trained with, and whether it is done
arms/<arm>/loss.jsonl        {"step", "loss", "rate", "norm"} of each step; norm: of the gradient
arms/<arm>/influence.jsonl   with `train.influence_every`, see training.influence
arms/<arm>/log/              TensorBoard's event files
arms/<arm>/model/            a diffusers pipeline folder; or lora/, an adapter's weights
arms/<arm>/checkpoint.safetensors    only until it is done
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from motive.attribution.prepare import PreparedFolder, prepared_fingerprint
from motive.config import Config, dump_config
from motive.errors import ConfigError, StoreError
from motive.files import held, write_atomic
from motive.models.registry import load_model
from motive.progress import Progress
from motive.training.arms import read_arms
from motive.training.jobs import find_job
from motive.training.loop import run_job
from motive.training.processes import find_processes, told_once


def train(config: Config, arms: Sequence[str] | None = None, progress: Progress | None = None) -> list[Path]:
    """Train the arms (by default `config.arms`) that are not trained yet, one after the other; returns their folders.

    A stopped training goes on from its last checkpoint and ends with the same bits; one that somebody else is at is refused.
    Under `accelerate launch` every process calls this, and they share each step's clips. Raises MotiveError before the first
    step for whatever is wrong with any of the arms.
    """
    source, options = config.model, config.train
    processes = find_processes(source.device)
    progress = told_once(processes, progress)
    # What is trained is in float32: in bfloat16 small steps vanish. Below an adapter weights may be as they are.
    whole = options.method == "full" or options.precision == "float32"
    dtype = "float32" if whole else source.dtype
    model = load_model(source.path, options.levels, processes.device, dtype, source.revision)
    if options.batch < processes.count:
        raise ConfigError(f"train.batch is {options.batch}, which {processes.count} processes cannot share")
    if options.influence_every is not None and model.denoiser_part != _attributed_part(config):
        raise ConfigError("train.levels and gradients.sigmas mean different denoisers of this model; influence is of one")
    inputs = PreparedFolder(config.out / "prepared", prepared_fingerprint(config, model))
    jobs = [find_job(config, model, inputs, arm) for arm in read_arms(config, arms) if arm.name != "base"]
    # Nobody writes before all have read.
    processes.wait()
    if processes.first:
        write_atomic(config.out / "motive.yaml", dump_config(config).encode())
    for job in jobs:
        if job.done:
            continue
        with held(job.folder) if processes.first else nullcontext(True) as free:
            if not free:
                raise StoreError(f"{job.folder}: another process is training this arm; wait until it is done, or stop it")
            run_job(config, job, model, inputs, processes, progress)
        model.free()
    return [job.folder for job in jobs]


def _attributed_part(config: Config) -> str:
    source = config.model
    return load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision).denoiser_part
