"""`motive lab experiment`: does a model move as wanted that is fine-tuned on the chosen tenth?

The paper's table, where the answer can be checked.

Each of the suite's ten motions is wanted in turn: its queries, which wear other looks, choose a tenth of the pool; the model is
fine-tuned on it and generates from prompts that name looks alone, so whatever it does, it has from the clips. The judge of
lab.correct says what each video shows. An arm's figure is the share of its videos that show the wanted motion.

    suite/             the clips, and a manifest of each motion's queries
    shared/            a run with all queries, whose arms no motion changes: base, full, random, magnitude
    <motion>/          a run with that motion's queries: motive, bottom, nomask, latents
    experiment.json    what came of it

All arms take the same steps from the same seeds, and generate from the same prompts and noise. Each part is kept, so the same
command goes on after an interruption.
"""

import csv
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
from motive.baselines.make import make_baseline
from motive.config import Config, parse_config
from motive.evaluation.intervals import Measured, compare, interval
from motive.evaluation.metric import Video
from motive.evaluation.moving import dynamic_degree_dis
from motive.files import read_jsonl, write_atomic, write_json, write_jsonl
from motive.lab import world
from motive.lab.correct import judge
from motive.lab.inputs import lab_config
from motive.lab.motions import PHYSICAL
from motive.lab.pool import processes
from motive.lab.suite import SuiteSpec, write_suite
from motive.models.registry import load_model
from motive.progress import Progress, Silent
from motive.seeds import stream
from motive.training.finetune import train
from motive.training.generate import generate
from motive.video.decode import Sampling, decode

SHARED, OWN = ("base", "full", "random", "magnitude"), ("latents", "nomask", "motive", "bottom")
"""Arms that are the same whatever motion is wanted, and those that its queries choose."""

PRESET, KEEP = "best", 0.1


@dataclass(frozen=True)
class Effort:
    """How much is measured. motions: those that are wanted, in turn. seeds: of training, and of the random tenths. steps: of 24
    clips. prompts: of which each arm generates one video, in `sampling` steps."""

    motions: tuple[str, ...] = tuple(PHYSICAL)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 48
    rate: float = 1e-4
    prompts: int = 12
    sampling: int = 30


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


@dataclass(frozen=True)
class Seen:
    """What the videos of a job show, in the order of the prompts: a motion each, and whether it moves at all by DIS."""

    motions: list[str]
    moving: list[float]


def experiment(folder: Path, model: Path, progress: Progress, spec: SuiteSpec, effort: Effort) -> dict[str, Any]:
    """Measure all that `folder` lacks; returns what is written to experiment.json there."""
    began = time.monotonic()
    pool, queries = write_suite(folder / "suite", spec, progress)
    prompts = _write_prompts(folder / "prompts.jsonl", spec, effort.prompts)
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
    result |= {"effort": asdict(effort), **_summary(dict(zip(map(_place, jobs), seen, strict=True)), runs, effort)}
    result["minutes"] = (time.monotonic() - began) / 60
    write_json(folder / "experiment.json", result)
    return result


def _config(out: Path, pool: Path, queries: Path, model: Path, prompts: Path, effort: Effort) -> Config:
    tuning = {"steps": effort.steps, "batch": 24, "rate": effort.rate, "schedule": "linear", "clip": None, "log": "none"}
    made = {"prompts": str(prompts), "steps": effort.sampling, "guidance": 3.0, "batch": 12}
    plain = lab_config(out, pool, queries, model)
    tree = plain.model_dump(mode="json", exclude_unset=True)
    gradients = {"batch": 8}
    return parse_config(
        tree
        | {"preset": PRESET, "gradients": gradients, "selection": {"keep": KEEP}, "train": tuning, "generate": made}
        | {"export": {"videos": "link", "formats": []}},
        "the experiment",
    )


def _write_queries(manifest: Path, motion: str) -> Path:
    """The queries of one motion, as a manifest beside that of all."""
    file = manifest.with_name(f"{motion}.csv")
    with manifest.open(encoding="utf-8", newline="") as source:
        rows = [row for row in csv.DictReader(source) if row["motion"] == motion]
    lines = [",".join(rows[0]), *(",".join(_quoted(cell) for cell in row.values()) for row in rows)]
    write_atomic(file, ("\n".join(lines) + "\n").encode())
    return file


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _write_prompts(file: Path, spec: SuiteSpec, count: int) -> Path:
    """Looks that no clip of the suite was drawn with; the motion is for the clips to tell."""
    looks = [world.draw_looks(stream(spec.seed, "experiment", "prompt", n)) for n in range(count)]
    captions = [world.caption(world.Spec("static", one), names_motion=False) for one in looks]
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
    file = job.config.out / "samples" / job.called / "seen.json"
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
        )
        write_json(file, asdict(seen))
        shutil.rmtree(job.config.out / "arms" / job.called / "model", ignore_errors=True)  # a hundred of them fill a disk
    return Seen(**json.loads(file.read_text(encoding="utf-8")))


def _summary(seen: dict[tuple[str, str, int], Seen], runs: dict[str, Config], effort: Effort) -> dict[str, Any]:
    """Each arm's share of right videos, with intervals over motions, trainings and prompts; and Motive's against each."""
    tables = {arm: _right(arm, seen, effort) for arm in (*SHARED, *OWN)}
    arms: dict[str, Any] = {}
    for arm, right in tables.items():
        own = [found for (_, name, _), found in seen.items() if name == arm]
        arms[arm] = {
            "right": asdict(interval(_measured(right), "experiment")),
            "by motion": {motion: float(right[n].mean()) for n, motion in enumerate(effort.motions)},
            "dynamic_degree_dis": float(np.mean([one.moving for one in own])),
            "seen": _shares([motion for one in own for motion in one.motions]),
        }
    against = {arm: _compared(tables["motive"], tables[arm]) for arm in tables if arm != "motive"}
    against_random = {arm: _compared(tables[arm], tables["random"]) for arm in ("bottom", "full", "nomask", "latents")}
    return {"arms": arms, "motive less": against, "less random": against_random, "kept": _kept(runs)}


def _right(arm: str, seen: dict[tuple[str, str, int], Seen], effort: Effort) -> np.ndarray[Any, np.dtype[np.float64]]:
    """1 where a video shows the wanted motion, else 0: [motions, seeds, prompts]."""
    found = np.empty((len(effort.motions), len(effort.seeds), effort.prompts))
    for m, motion in enumerate(effort.motions):
        for s, seed in enumerate(effort.seeds):
            place = ("shared" if arm in SHARED else motion, arm, effort.seeds[0] if arm == "base" else seed)
            found[m, s] = [one == motion for one in seen[place].motions]
    return found


def _measured(values: np.ndarray[Any, np.dtype[np.float64]]) -> Measured:
    """[motions, seeds, prompts] for intervals that draw motions and trainings anew, and prompts within motions."""
    motion, seed, prompt = np.indices(values.shape)
    return Measured(values.ravel(), motion.ravel(), seed.ravel(), prompt.ravel())


def _compared(one: np.ndarray[Any, np.dtype[np.float64]], other: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    return asdict(compare(_measured(one - other), "experiment"))


def _shares(motions: list[str]) -> dict[str, float]:
    return {motion: motions.count(motion) / len(motions) for motion in sorted(set(motions))}


def _kept(runs: dict[str, Config]) -> dict[str, float]:
    """Share of the kept clips, and of the harmful ones, that show the wanted motion, mean over motions."""
    files = {"motive": "selection.jsonl", "bottom": "harmful.jsonl"} | {
        name: f"baselines/{name}/selection.jsonl" for name in ("latents", "nomask")
    }
    return {
        arm: float(np.mean([_share_of(run.out / file, motion) for motion, run in runs.items()])) for arm, file in files.items()
    }


def _share_of(file: Path, motion: str) -> float:
    return float(np.mean([entry["extra"]["motion"] == motion for entry in read_jsonl(file)]))
