"""From a selection to its proof: the arms' clips chosen, models fine-tuned, videos generated and measured, pages written."""

from collections.abc import Sequence
from pathlib import Path

from motive import verbs
from motive.baselines.make import is_made, make_baseline
from motive.baselines.registry import find_baseline
from motive.config import Config
from motive.errors import ConfigError, StoreError
from motive.evaluation.evaluate import evaluate
from motive.evaluation.metrics import make_metrics
from motive.models.registry import find_device, load_model
from motive.progress import Progress, Silent
from motive.report.write import write_report
from motive.training.arms import Arm, read_arms
from motive.training.finetune import train
from motive.training.generate import generate
from motive.training.prompts import read_prompts

GIVEN = ("base", "full", "motive", "bottom")
"""Arms that need no baseline."""


def prove(config: Config, progress: Progress | None = None) -> Path:
    """Do whatever is missing of it for `config.arms`, and return the report's index.html. Any stage may be stopped, and the
    same call goes on from there.

    Raises StoreError if nothing is scored yet, and before the first stage whatever can be known to be wrong with a later one.
    """
    progress = progress or Silent()
    if not (config.out / "scores.parquet").exists():
        raise StoreError(f"{config.out}: nothing is selected here; run `motive run` first")
    arms = read_arms(config, None)
    baselines = [name for name in dict.fromkeys(arm.name for arm in arms) if name not in GIVEN]
    _check(config, baselines)
    verbs.select(config)  # as many clips as every other arm has, of the pool as it is
    _announce(config, arms, progress)
    for name in baselines:
        if not is_made(config, name):
            make_baseline(config, name, progress)
    train(config, None, progress)
    generate(config, None, progress)
    evaluate(config, progress)
    return write_report(config, progress)


def _check(config: Config, baselines: Sequence[str]) -> None:
    """Raise what would be found wrong with the later stages only after days of the earlier ones."""
    if config.cascade:
        raise ConfigError(
            "the clips of a cascade's shortlist alone have inputs at full fidelity, so its arms cannot be compared: "
            "use a run without `cascade`"
        )
    for name in baselines:
        find_baseline(name, config.baselines)
    read_prompts(config)
    make_metrics(config.evaluate, str(find_device(config.model.device)))
    source, video, made = config.model, config.video, config.generate
    model = load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision)
    model.latent_shape(made.frames or video.frames, made.height or video.height, made.width or video.width)


def _announce(config: Config, arms: Sequence[Arm], progress: Progress) -> None:
    """What it will take; how long, each stage says once it has begun."""
    trained = [arm for arm in arms if arm.name != "base"]
    steps, batch = config.train.steps, config.train.batch
    progress.say(
        f"to train: {len(trained)} arms, {steps:,} steps of {batch} clips each: {len(trained) * steps * batch:,} passes"
    )
    progress.say(f"to generate: {len(arms)} arms, {config.generate.seeds} videos a prompt, {config.generate.steps} steps each")
