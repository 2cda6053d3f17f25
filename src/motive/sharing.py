"""How work is shared: among the workers of one run, and among runs that know nothing of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from motive.attribution.ahead import MAX_DECODERS
from motive.attribution.store import Shard
from motive.config import Config
from motive.engine.sandbox import cpus
from motive.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """One of `of` equal parts of a plan's shards, from 0, for a job array."""

    number: int
    of: int


def read_part(text: str) -> Part:
    """A part as it is written, "0/8" to "7/8"; raises ConfigError."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise ConfigError(f"--shard {text}: write it as i/n, with i from 0 to n - 1")
    return Part(int(number), int(of))


def share_of(shards: Sequence[Shard], part: Part | None) -> Sequence[Shard]:
    """The shards of a part: by their place in the plan, which stays as others are made, so parts never overlap."""
    return shards if part is None else [shard for shard in shards if shard.number % part.of == part.number]


def shares(config: Config) -> list[Config]:
    """Each local worker's configuration: the run's, with a device and a share of the CPUs of its own. None: no workers."""
    devices = _devices(config.model.device)
    count = config.engine.workers
    if count is None:
        count = len(devices) if devices[0] != "cpu" else 0
    own = [_share(config, max(1, cpus() // count), count) for _ in range(count)]
    models = [config.model.model_copy(update={"device": devices[number % len(devices)]}) for number in range(count)]
    return [share.model_copy(update={"model": model}) for share, model in zip(own, models, strict=True)]


@dataclass(frozen=True)
class Crew:
    """Workers on a cluster: the configuration of each, how many, and what each takes of its node."""

    share: Config
    count: int
    cpus: int
    gpus: int


def crew(config: Config, cpus: int, gpus: int) -> Crew:
    """Whom a cluster with so many CPUs and GPUs has room for: a worker a GPU, and without GPUs one for every
    `engine.threads` CPUs."""
    engine = config.engine
    if gpus and config.model.device != "cpu":
        count = engine.workers or gpus
        return Crew(_share(config, max(1, cpus // count), count), count, 1, 1)
    threads = engine.threads or max(1, cpus // (engine.workers or cpus))
    count = engine.workers or cpus // threads
    return Crew(_share(config, threads, max(count, 1)), count, threads, 0)


def _share(config: Config, cpus: int, count: int) -> Config:
    """The run's configuration with one worker's part of what the engine may use."""
    engine = config.engine
    decoders = min(cpus, MAX_DECODERS) if engine.decoders is None else -(-engine.decoders // count)
    own = engine.model_copy(update={"threads": engine.threads or cpus, "decoders": decoders})
    return config.model_copy(update={"engine": own})


def _devices(name: str) -> list[str]:
    """Where workers may lie: every CUDA device, unless one is named."""
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ["cpu" if name == "auto" else name]
