"""`motive lab ...`: the lab's part of the command line."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from motive.errors import ConfigError
from motive.progress import for_terminal

app = typer.Typer(
    help="A world whose motion is known: make it, train on it, judge attribution by it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(help="Where to put everything; the same command goes on from what is there.")]
Model = Annotated[Path | None, typer.Option(help="A pipeline folder; by default the small model that ships with Motive.")]


@app.command()
def render(folder: Folder) -> None:
    """Render the suite motive-lab-v1: its pool, its queries, their captions and labels."""
    from motive.lab.suite import V1, write_suite

    for manifest in write_suite(folder, V1, for_terminal()):
        print(manifest)


@app.command()
def train(
    folder: Folder,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Train the small model that ships with Motive, from nothing: under two hours on two CPU cores."""
    from motive.lab.samples import write_samples
    from motive.lab.train import Recipe
    from motive.lab.train import train as train_model

    model = train_model(folder, Recipe(), device, for_terminal())
    write_samples(model, folder / "samples.png", for_terminal())
    print(f"{model}: a WanPipeline; samples: {folder / 'samples.png'}")


@app.command()
def samples(
    sheet: Annotated[Path, typer.Argument(help="A PNG to write.")],
    model: Model = None,
) -> None:
    """Generate a clip of every motion from its caption, as a contact sheet."""
    from motive.lab.samples import write_samples
    from motive.lab.shipped import shipped_model

    write_samples(model or shipped_model(), sheet, for_terminal())
    print(sheet)


@app.command()
def evaluate(
    folder: Folder,
    model: Model = None,
    page: Annotated[Path | None, typer.Option(help="Also write the results as a Markdown page.")] = None,
    subsets: Annotated[int, typer.Option(help="Random halves of the pool to fine-tune on.", min=4)] = 32,
    draws: Annotated[int, typer.Option(help="Of noise level and noise, for each gradient.", min=1)] = 64,
    seed: Annotated[int | None, typer.Option(help="Of another suite, to choose settings on, so that v1 stays unseen.")] = None,
) -> None:
    """Judge every score by retrieval and by what training does: results.json, and a page. Hours; says how many first."""
    from motive.files import write_atomic
    from motive.lab.evaluate import Effort
    from motive.lab.evaluate import evaluate as measure
    from motive.lab.results import page as written
    from motive.lab.shipped import shipped_model
    from motive.lab.suite import V1

    spec = V1 if seed is None else replace(V1, version=f"development suite {seed}", seed=seed)
    results = measure(folder, model or shipped_model(), for_terminal(), Effort(subsets=subsets, draws=draws), spec)
    if page is not None:
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        write_atomic(page, written(results, before).encode())
    print(folder / "results.json")


@app.command()
def experiment(
    folder: Folder,
    model: Model = None,
    page: Annotated[Path | None, typer.Option(help="Also write the results as a Markdown page.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of another suite, to choose settings on, so that v1 stays unseen.")] = None,
    motions: Annotated[list[str] | None, typer.Option("--motion", help="Want only this one; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each arm.", min=1)] = 3,
    steps: Annotated[int, typer.Option(help="Of 12 clips, for each arm.", min=1)] = 200,
    prompts: Annotated[int, typer.Option(help="Videos that each arm generates.", min=2)] = 12,
) -> None:
    """Fine-tune on what Motive and its rivals choose, generate, and see what moves as wanted. An hour on two CPU cores."""
    from motive.files import write_atomic
    from motive.lab.arms import Effort
    from motive.lab.experiment import experiment as measure
    from motive.lab.experiment_page import page as written
    from motive.lab.shipped import shipped_model
    from motive.lab.suite import V1

    spec = V1 if seed is None else replace(V1, version=f"development suite {seed}", seed=seed)
    effort = Effort(tuple(motions or Effort().motions), tuple(range(seeds)), steps, prompts=prompts)
    results = measure(folder, model or shipped_model(), for_terminal(), spec, effort)
    if page is not None:
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        write_atomic(page, written(results, before).encode())
    print(folder / "experiment.json")


@app.command()
def judge(
    function: Annotated[str, typer.Argument(help="module:function (pool, pool captions, queries, query captions) -> scores.")],
    folder: Folder,
    effects: Annotated[
        Path | None, typer.Option(help="effects.json of a `motive lab evaluate`; by default that which ships with Motive.")
    ] = None,
) -> None:
    """Score another method on motive-lab-v1: by retrieval, and by the measured effects of training."""
    from motive.lab.benchmark import judge_method
    from motive.lab.shipped import measured_effects

    module, _, name = function.partition(":")
    sys.path.insert(0, str(Path.cwd()))  # where a person's own module lies
    try:
        method = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{function}: cannot be imported ({error}); write it as module:function") from None
    print(json.dumps(judge_method(method, folder, effects or measured_effects(), for_terminal()), indent=1))


@app.command()
def judge_motion(
    file: Annotated[Path | None, typer.Argument(help="Where to put it; by default where the one lies that ships.")] = None,
) -> None:
    """Fit the judge of generated clips' motion on clips rendered for it, and say how often it is right on others. Minutes."""
    from motive.lab.correct import save_judge
    from motive.lab.fit_judge import accuracy, fit_judge
    from motive.lab.shipped import shipped_judge

    made = fit_judge(progress=for_terminal())
    save_judge(made, file or shipped_judge())
    print(f"{'right about':16} rendered  through the VAE  painted again")
    for name, (seen, decoded, painted) in accuracy(made, progress=for_terminal()).items():
        print(f"{name:16} {seen:8.3f} {decoded:16.3f} {painted:14.3f}")
    print(file or shipped_judge())
