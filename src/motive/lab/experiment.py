"""`motive lab experiment`: does a model move as wanted that is fine-tuned on the chosen tenth?

The paper's table, where the answer can be checked.

Each of the suite's ten motions is wanted in turn: its queries, which wear other looks, choose a tenth of the pool; the model is
fine-tuned on it and generates from prompts that name looks alone, so whatever it does, it has from the clips. The judge of
lab.correct says what each video shows. An arm's figures are the share of its videos that show the wanted motion, and what
training did to the motion-weighted loss of the motion's queries.

    suite/             the clips, and a manifest of each motion's queries
    shared/            a run with all queries, whose arms no motion changes: base, full, random, magnitude
    <motion>/          a run with that motion's queries: motive, bottom, nomask, latents
    experiment.json    what came of it

All arms take the same steps from the same seeds, and generate from the same prompts and noise. Each part is kept, so the same
command goes on after an interruption.
"""

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motive import verbs
from motive.attribution.prepare import PreparedFolder, check_fingerprint, prepared_fingerprint
from motive.baselines.make import make_baseline
from motive.config import Config, parse_config
from motive.errors import ConfigError
from motive.evaluation.metric import Video
from motive.evaluation.moving import dynamic_degree_dis
from motive.files import write_atomic, write_json, write_jsonl
from motive.gradients.loss import motion_loss, shared_noise
from motive.lab import world
from motive.lab.arms import OWN, SHARED, Effort, Seen
from motive.lab.correct import judge
from motive.lab.experiment_figures import figures
from motive.lab.inputs import lab_config
from motive.lab.motions import PHYSICAL
from motive.lab.pool import processes
from motive.lab.suite import SuiteSpec, plan, write_suite
from motive.models.registry import load_model
from motive.progress import Progress, Silent
from motive.seeds import stream
from motive.sigmas import spread_sigmas
from motive.training.finetune import train
from motive.training.generate import generate
from motive.video.decode import Sampling, decode

PRESET, KEEP = "best", 0.1

LEVELS, NOISE_SEED = 16, 2
"""Noise levels at which losses are measured, and the seed of that noise."""


@dataclass(frozen=True)
class Job:
    """An arm that is to be trained and to generate. arm: its name without a seed."""

    config: Config
    arm: str
    seed: int

    @property
    def called(self) -> str:
        """The arm's name in the run: every random tenth is another one."""
        name = f"random-{self.seed}" if self.arm == "random" else self.arm
        return name if self.seed == self.config.seed else f"{name}@{self.seed}"


def experiment(folder: Path, model: Path, progress: Progress, spec: SuiteSpec, effort: Effort) -> dict[str, Any]:
    """Measure all that `folder` lacks; returns what is written to experiment.json there.

    Raises ConfigError for a motion that there is not, StoreError if `folder` was made with other settings; more motions and
    seeds may be asked for.
    """
    began = time.monotonic()
    if unknown := set(effort.motions) - set(PHYSICAL):
        raise ConfigError(f"the lab has no motion {', '.join(sorted(unknown))} to want; there are {', '.join(PHYSICAL)}")
    check_settings(folder, model, spec, effort)
    pool, queries = write_suite(folder / "suite", spec, progress)
    prompts = write_prompts(folder / "prompts.jsonl", spec, effort.prompts)
    shared = _config(folder / "shared", pool, queries, model, prompts, effort)
    _chosen(shared, progress)
    for seed in effort.seeds:
        _random_tenth(shared, seed)
    make_baseline(shared, "magnitude", progress)
    make_baseline(shared, "nomask", progress)
    runs = {}
    for motion in effort.motions:
        run = _config(folder / motion, pool, _write_queries(queries, motion), model, prompts, effort)
        _share(shared, run)
        _chosen(run, progress)
        for name in ("latents", "nomask"):
            make_baseline(run, name, progress)
        runs[motion] = run
    jobs = list(_jobs(shared, SHARED, effort)) + [job for run in runs.values() for job in _jobs(run, OWN, effort)]
    with progress.steps("training and generating", len(jobs)) as step, processes(os.cpu_count() or 1, _one_thread) as workers:
        seen = []
        for found in workers.map(_do, jobs):
            seen.append(found)
            step()
    result: dict[str, Any] = {"suite": asdict(spec), "model": load_model(str(model), (0.75,), "cpu").fingerprint("denoiser")}
    result |= {"effort": asdict(effort), **figures(dict(zip(map(_place, jobs), seen, strict=True)), runs, effort)}
    result["minutes"] = (time.monotonic() - began) / 60
    write_json(folder / "experiment.json", result)
    return result


def check_settings(folder: Path, model: Path, spec: SuiteSpec, effort: Effort) -> None:
    """Raise StoreError if what lies in the folder was measured otherwise."""
    own = {key: value for key, value in asdict(effort).items() if key not in ("motions", "seeds")}
    weights = load_model(str(model), (0.75,), "cpu").fingerprint("denoiser")
    check_fingerprint(folder / "made.json", {"suite": asdict(spec), "model": weights, **own}, ("*/samples/*/seen.json",))


def _config(out: Path, pool: Path, queries: Path, model: Path, prompts: Path, effort: Effort) -> Config:
    tuning = {"steps": effort.steps, "batch": effort.batch, "rate": effort.rate, "schedule": "linear", "log": "none"}
    made = {"prompts": str(prompts), "steps": effort.sampling, "guidance": 3.0, "batch": 12}
    plain = lab_config(out, pool, queries, model)
    tree = plain.model_dump(mode="json", exclude_unset=True)
    gradients = {"batch": 8}
    return parse_config(
        tree
        | {"preset": PRESET, "gradients": gradients, "selection": {"keep": KEEP}, "train": tuning, "generate": made}
        | {"engine": {"workers": os.cpu_count() or 1, "threads": 1}},
        "the experiment",
    )


def _write_queries(manifest: Path, motion: str) -> Path:
    """The queries of one motion, as a manifest beside that of all."""
    file = manifest.with_name(f"{motion}.csv")
    with manifest.open(encoding="utf-8", newline="") as source:
        rows = [row for row in csv.DictReader(source) if row["motion"] == motion]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(file, text.getvalue().encode())
    return file


def write_prompts(file: Path, spec: SuiteSpec, count: int) -> Path:
    """Looks that no clip of the suite has; the motion is for the clips to tell."""
    draw = stream(spec.seed, "experiment", "prompts")
    seen = {clip.spec.looks for clips in plan(spec) for clip in clips}
    fresh: list[world.Looks] = []
    while len(fresh) < count:
        looks = world.draw_looks(draw)
        if looks not in seen:
            seen.add(looks)
            fresh.append(looks)
    captions = [world.caption(world.Spec("static", looks), names_motion=False) for looks in fresh]
    write_jsonl(file, [{"id": f"looks-{n:02d}", "prompt": text} for n, text in enumerate(captions)])
    return file


def _chosen(config: Config, progress: Progress) -> None:
    verbs.index(config, progress)
    verbs.score(config)
    verbs.select(config)


def _share(shared: Config, run: Config) -> None:
    """Prepared inputs and the pool's features depend on no query."""
    run.out.mkdir(parents=True, exist_ok=True)
    if not (run.out / "prepared").exists():
        (run.out / "prepared").symlink_to(Path("..") / shared.out.name / "prepared")
    for store in ("pool", "nomask/pool"):
        if not (run.out / store).exists():
            shutil.copytree(shared.out / store, run.out / store)


def _random_tenth(config: Config, seed: int) -> None:
    """The baseline `random` of another seed, under a name of its own."""
    folder = config.out / "baselines" / f"random-{seed}"
    if not folder.exists():
        make_baseline(config.model_copy(update={"seed": seed}), "random")
        (config.out / "baselines" / "random").rename(folder)


def _jobs(config: Config, arms: Sequence[str], effort: Effort) -> Iterator[Job]:
    for arm in arms:
        for seed in effort.seeds if arm != "base" else effort.seeds[:1]:
            yield Job(config, arm, seed)


def _place(job: Job) -> tuple[str, str, int]:
    return job.config.out.name, job.arm, job.seed


def _one_thread() -> None:
    torch.set_num_threads(1)


def _do(job: Job) -> Seen:
    """Train, generate and look; what was seen is kept beside the videos."""
    file, tuned = (job.config.out / part for part in (f"samples/{job.called}/seen.json", f"arms/{job.called}/model"))
    if not file.exists():
        if job.arm != "base":
            train(job.config, [job.called], Silent())
        generate(job.config, [job.called], Silent())
        sampling = Sampling(world.FRAMES, world.FPS, job.config.video.height, job.config.video.width)
        videos = [decode(video, sampling).frames for video in sorted(file.parent.glob("*.mp4"))]
        moving = dynamic_degree_dis()
        seen = Seen(
            list(judge(videos, ["static"] * len(videos)).seen),
            [float(moving.measure(Video(frames, world.FPS, "")) or 0.0) for frames in videos],
            _losses(job.config, Path(job.config.model.path) if job.arm == "base" else tuned),
        )
        write_json(file, asdict(seen))
        shutil.rmtree(tuned, ignore_errors=True)  # a hundred of them fill a disk
    return Seen(**json.loads(file.read_text(encoding="utf-8")))


def _losses(config: Config, folder: Path) -> dict[str, float]:
    """Motion-weighted loss of the run's queries under the model in a folder, mean over each motion's, with noise that no
    gradient was made with."""
    model = load_model(str(folder), (0.75,), "cpu")
    prepared = PreparedFolder(config.out / "prepared", prepared_fingerprint(config, model))
    clips = list(verbs.read_clips(config, "queries"))
    inputs = [prepared.load(clip) for clip in clips]
    latents, masks = (torch.stack([getattr(one, part) for one in inputs]) for part in ("latents", "mask"))
    total = torch.zeros(len(clips), dtype=torch.float64)
    with torch.no_grad():
        for k, sigma in enumerate(spread_sigmas(LEVELS)):
            noise = shared_noise(NOISE_SEED, latents.shape[1:], k).expand_as(latents)
            total += motion_loss(model.error(latents, [one.text for one in inputs], noise, sigma), masks).double() / LEVELS
    motions = np.array([Path(clip.name).stem.split("_")[1] for clip in clips])
    return {str(motion): float(total.numpy()[motions == motion].mean()) for motion in np.unique(motions)}
