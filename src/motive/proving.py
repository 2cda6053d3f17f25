"""From a selection to its proof: the arms' clips chosen, models fine-tuned, videos generated and measured, pages written."""

import json
from collections.abc import Sequence
from pathlib import Path

from motive.baselines.make import baseline_folder, make_baseline
from motive.config import Config
from motive.errors import StoreError
from motive.evaluation.evaluate import evaluate
from motive.progress import Progress, Silent
from motive.report.write import write_report
from motive.training.arms import Arm, read_arms
from motive.training.finetune import train
from motive.training.generate import generate

GIVEN = ("base", "full", "motive", "bottom")
"""Arms that need no baseline."""


def prove(config: Config, progress: Progress | None = None) -> Path:
    """Do whatever is missing of it for `config.arms`, and return the report's index.html. Any stage may be stopped, and the
    same call goes on from there.

    Raises StoreError if nothing is selected yet, ConfigError for an arm that there is not.
    """
    progress = progress or Silent()
    if not (config.out / "selection.jsonl").exists():
        raise StoreError(f"{config.out}: nothing is selected here; run `motive run` first")
    arms = read_arms(config, None)
    _announce(config, arms, progress)
    choose_arms(config, arms, progress)
    train(config, None, progress)
    generate(config, None, progress)
    evaluate(config, progress)
    return write_report(config, progress)


def choose_arms(config: Config, arms: Sequence[Arm], progress: Progress) -> None:
    """Make the baselines that `arms` need and the run lacks, or has from another selection's share."""
    for name in dict.fromkeys(arm.name for arm in arms if arm.name not in GIVEN):
        about = baseline_folder(config, name) / "baseline.json"
        if about.exists() and json.loads(about.read_text(encoding="utf-8"))["settings"]["keep"] == config.selection.keep:
            continue
        make_baseline(config, name, progress)


def _announce(config: Config, arms: Sequence[Arm], progress: Progress) -> None:
    """What it will take; how long, each stage says once it has begun."""
    trained = [arm for arm in arms if arm.name != "base"]
    steps, batch = config.train.steps, config.train.batch
    progress.say(
        f"to train: {len(trained)} arms, {steps:,} steps of {batch} clips each: {len(trained) * steps * batch:,} passes"
    )
    progress.say(f"to generate: {len(arms)} arms, {config.generate.seeds} videos a prompt, {config.generate.steps} steps each")
