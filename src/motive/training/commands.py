"""`motive train` and `motive generate`."""

from typing import Annotated

import typer

from motive.command_line import AsJson, Settings, Source, print_result, progress_for, read_config

Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", help="An arm, NAME or NAME@SEED, repeatable; by default those of the setting `arms`."),
]


def train(source: Source = None, arm: Arms = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Fine-tune the model on each arm's clips, all for the same number of steps. Also under `accelerate launch`."""
    from motive.training.finetune import train as train_arms
    from motive.training.processes import is_first

    config = read_config(source, settings)
    folders = train_arms(config, arm, progress_for(as_json))
    if is_first():
        print_result(as_json, {"arms": [str(folder) for folder in folders]}, [f"trained: {folder}" for folder in folders])


def generate(source: Source = None, arm: Arms = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Generate every arm's videos of the same prompts from the same noise, to samples/."""
    from motive.training.generate import generate as generate_samples
    from motive.training.processes import is_first

    config = read_config(source, settings)
    folder = generate_samples(config, arm, progress_for(as_json))
    if is_first():
        print_result(as_json, {"samples": str(folder)}, [f"videos in {folder}"])
