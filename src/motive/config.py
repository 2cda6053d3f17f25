"""The whole meaning of a run in one typed tree: the YAML file, the `--set` overrides and the library's argument."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from motive.baselines.section import BaselinesSection
from motive.complaints import complaints
from motive.errors import ConfigError
from motive.evaluation.section import EvaluateSection
from motive.overrides import apply_settings, expand_preset, resolve_paths
from motive.places import as_place
from motive.plain_yaml import read_yaml
from motive.report.section import ReportSection
from motive.section import Fraction, Section
from motive.training.section import GenerateSection, TrainSection

PlaceOf = Annotated[Path | str, BeforeValidator(as_place)]


class ModelSection(Section):
    path: str
    """A diffusers pipeline folder, or a hub id such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    device: str = "auto"
    """auto (CUDA if there is one, else the CPU), cpu, cuda or cuda:N."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of text encoder and denoiser; the VAE always runs in float32."""


class VideoSection(Section):
    frames: int = Field(81, ge=1, le=10_000)
    """F = 4k + 1 frames a clip."""
    fps: float = Field(16.0, gt=0, le=1000)
    """Frames a second that clips are resampled to."""
    height: int = Field(480, ge=8, le=8192)
    """Pixels."""
    width: int = Field(832, ge=8, le=8192)
    """Pixels."""
    place: Literal["start", "centre"] = "start"
    """Where in the file the F frames are taken."""
    max_pixels: int = Field(8192 * 4320, ge=1)
    """Source frames with more pixels than this are refused."""


class FetchSection(Section):
    """What reading one video, archive or manifest from elsewhere may take. Results do not depend on it."""

    max_bytes: int = Field(8 << 30, ge=1)
    """Bytes of a video in an archive or table, and of whatever is fetched from an address; a larger one is refused."""
    seconds: float = Field(900.0, gt=0)
    """Seconds after which fetching one file is given up."""


class MotionSection(Section):
    tracker: str = "dis"
    """dis (medium preset), dis-fast, dis-ultrafast, farneback, alltracker (the paper's), alltracker-tiny, raft or raft-small
    (both with the extra `raft`); or a function of your own, as package.module:function."""
    weights: Path | None = None
    """AllTracker's or RAFT's checkpoint, .pth as published or .safetensors; never downloaded."""
    sha256: str | None = None
    """What the checkpoint must hash to."""
    tracks: Literal["pairs", "anchored", "literal"] = "pairs"
    """How AllTracker's output becomes displacement: of each frame since the one before; tracks of frame 0 spread onto each
    frame; or since frame 0 on frame 0's grid, the paper read literally."""
    trust: Literal["all", "visible"] = "all"
    """visible: AllTracker's displacement counts by its visibility times its confidence."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What AllTracker computes in."""
    rounds: int | None = Field(None, ge=1, le=100)
    """Refinements that AllTracker or RAFT makes; by default 4 and, as VBench, 20."""
    floor: float = Field(0.25, ge=0)
    """px/frame of sustained motion below which a clip is static; 0 turns the test off, as in the paper."""
    static: Literal["uniform", "leave-out"] = "uniform"
    """What static clips get: a mask of ones, or no score."""
    quantiles: tuple[float, float] | None = None
    """Robust normalisation, e.g. [0.01, 0.99], instead of the paper's minimum and maximum."""
    camera: Literal["keep", "affine", "homography"] = "keep"
    """keep camera motion (paper), or remove a robustly fitted global model of it."""
    full: float | None = Field(None, gt=0)
    """px/frame that weigh 1, and what is slower proportionally less, instead of the clip's own minimum and maximum."""
    cuts: Literal["bridge", "keep"] = "bridge"
    """Displacement across a hard cut: taken from the frame after it, or kept as the tracker reports it (paper)."""
    noise: Literal["keep", "drop", "subtract"] = "keep"
    """drop: displacement where the picture does not change counts as none; subtract: what the tracker reports there is taken
    off every magnitude."""
    shape: Literal["soft", "binary"] = "soft"
    """soft weights (paper), or 1 where displacement reaches the floor and 0 elsewhere."""
    dilation: int = Field(0, ge=0, le=256)
    """Pixels by which what moves is widened."""
    pooling: Literal["mean", "max"] = "mean"
    """Of the frames that one latent stands for, the mean weight or the largest."""

    @model_validator(mode="after")
    def _ordered(self) -> "MotionSection":
        if self.quantiles is not None and not 0 <= self.quantiles[0] < self.quantiles[1] <= 1:
            raise ValueError("quantiles must be two rising numbers between 0 and 1")
        return self


class GradientSection(Section):
    weighting: Literal["motion", "uniform", "queries"] = "motion"
    """motion: the loss is weighted by the motion mask; uniform: whole video, the paper's 'without mask'; queries: only that
    of the queries is, while pool clips get the plain loss, which is what training on them minimises."""
    sigmas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.75075,), min_length=1)
    """Noise levels; gradients at several are averaged. The paper's one is t = 750.75 of 1000."""
    draws: int | None = Field(None, ge=1, le=4096)
    """Gradients averaged for each clip, each with a noise of its own; draw k takes the k-th of `sigmas`, in turn. By default
    one a sigma."""
    average: Literal["gradients", "directions"] = "gradients"
    """What is averaged over draws: gradients, where a draw with a large one counts more, or their directions."""
    error: Literal["whole", "temporal"] = "whole"
    """whole: the denoiser's error as it is (paper); temporal: its deviation from its own mean over time, where looks cancel."""
    parameters: tuple[str, ...] = Field(("*",), min_length=1)
    """Which parameters of the denoiser count, as patterns of their names or by depth, "last:10 blocks". By default all
    (paper); in Wan "*.attn1.*" are those of self-attention, where frames see each other."""
    projector: Literal["fastfood", "gaussian", "exact"] = "fastfood"
    """exact stores whole gradients; gaussian draws a dense matrix; both are for small models."""
    dim: int = Field(512, ge=1, le=8192)
    """Numbers a feature has, D'. A cosine's error is 1 / sqrt(dim)."""
    batch: int = Field(1, ge=1, le=1024)
    """Clips a pass, each with a feature of its own, the same to rounding; saves time where clips are small, and takes that
    many times the memory."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: a third more time, far less memory, the same numbers."""
    offload: bool = False
    """Keep what the backward pass needs in the computer's memory instead of the GPU's: slower, the same numbers."""


class StoreSection(Section):
    features: Literal["float32", "float16", "int8"] = "float32"
    """How features are kept; float16 moves a cosine by at most 6e-5, int8 with a scale a row by 2e-3."""
    shard_size: int = Field(256, ge=1, le=1_000_000)
    """Clips a shard."""
    at: str | None = None
    """Where the stores lie, pool/ and queries/, if not in `out`: a folder, or s3://bucket/prefix, with endpoint and credentials
    from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on."""
    cache: bool = True
    """Keep prepared inputs on disk, so that attributing again decodes nothing."""


class InfluenceSection(Section):
    hessian: Literal["identity", "kernel"] = "identity"
    """What stands for the inverse Hessian between two features: nothing (paper), or the damped inverse of the pool's own
    covariance, which discounts the directions that all clips share."""
    snapshot: str | None = None
    """Score the clips of this snapshot of both stores (`motive store snapshot`) instead of the current ones."""


class SelectionSection(Section):
    keep: Fraction = 0.1
    """Share of the pool to keep; each query votes for its best share of that size."""


class StageSection(Section):
    """One cheaper stage before full fidelity."""

    share: Fraction
    """Share of the pool that goes on from here, the best by this stage's scores."""
    video: dict[str, Any] = Field({})
    """What of `video` is different here, such as fewer frames or a smaller size."""
    motion: dict[str, Any] = Field({})
    """What of `motion` is, such as a faster tracker."""
    gradients: dict[str, Any] = Field({})
    """What of `gradients` is, such as fewer draws, or "last:10 blocks"."""


class EngineSection(Section):
    """How the work is done; nothing here changes a result."""

    kind: Literal["local", "ray"] = "local"
    """Where workers run: processes on this machine, or actors on a Ray cluster (with the extra `ray`)."""
    address: str | None = None
    """Of a running Ray cluster, or auto; by default one is started on this machine and ends with the run."""
    workers: int | None = Field(None, ge=0, le=4096)
    """How many workers, each with a model of its own; by default one a CUDA device, or on a cluster one a GPU. 0, or by default
    where there is no such device: no workers, all is done in this process."""
    threads: int | None = Field(None, ge=1, le=1024)
    """CPU threads of a worker; by default its share of the CPUs. A model on the CPU gives the same bits only with the same
    number."""
    decoders: int | None = Field(None, ge=0, le=256)
    """Processes that decode clips and track motion ahead of the model, a worker's share of them each; by default one a CPU, at
    most four a worker. 0: none, and then none of the limits below holds."""
    clip_seconds: float = Field(300.0, gt=0)
    """What decoding and tracking a clip may take before its process is killed."""
    clip_memory: int = Field(4000, ge=16)
    """MiB that it may take, likewise."""
    tries: int = Field(2, ge=1, le=100)
    """How often a clip is tried that crashes its process or a worker, or exceeds these limits, before it is recorded as
    failed."""


class ExportSection(Section):
    videos: Literal["encode", "link"] = "encode"
    """encode: standardised clips, so that training sees what was attributed; link: the original files."""
    formats: tuple[Literal["diffsynth", "musubi", "videox-fun", "finetrainers", "diffusion-pipe"], ...] = (
        "diffsynth",
        "musubi",
        "videox-fun",
        "finetrainers",
        "diffusion-pipe",
    )
    """Which trainers' files are written beside selection.jsonl."""


class Config(Section):
    """A run of Motive. Paths in a YAML file are relative to that file."""

    out: Path
    """Folder of the run: prepared inputs, stores, scores, selection, exports."""
    pool: PlaceOf
    """The clips to choose from: a folder of videos or tars, a .tar, a .csv, .jsonl, .json, .parquet or videos.txt manifest, a
    dataset that Hugging Face's library saved, a pattern such as shards/{000..099}.tar, or the address (s3://, https://, hf://)
    of any."""
    queries: PlaceOf
    """The clips that show the wanted motion, likewise."""
    root: Annotated[Path | str | None, BeforeValidator(as_place)] = None
    """The folder or address that all clips must lie under; by default each manifest's own. https:// alone allows any such
    address."""
    columns: dict[Literal["video", "caption", "id", "sha256"], str] = Field({})
    """Names of manifest columns that Motive would not guess."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Everything random follows from it."""
    model: ModelSection
    fetch: FetchSection = FetchSection()
    video: VideoSection = VideoSection()
    motion: MotionSection = MotionSection()
    gradients: GradientSection = GradientSection()
    store: StoreSection = StoreSection()
    influence: InfluenceSection = InfluenceSection()
    selection: SelectionSection = SelectionSection()
    engine: EngineSection = EngineSection()
    cascade: tuple[StageSection, ...] = ()
    """Coarse to fine: stages, the first on the whole pool, each with a `share` of it that goes on and what it does
    differently; what is left is scored at full fidelity."""
    export: ExportSection = ExportSection()
    arms: tuple[str, ...] = Field(("base", "full", "random", "motive"), min_length=1)
    """The ways of choosing training clips that train, generate, evaluate and report compare, unless told others: base (no
    training), full, motive, bottom (the harmful clips), or a baseline's name; NAME@SEED for another seed of training."""
    train: TrainSection = TrainSection()
    generate: GenerateSection = GenerateSection()
    report: ReportSection = ReportSection()
    baselines: BaselinesSection = BaselinesSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _narrowing(self) -> "Config":
        shares = [1.0, *(stage.share for stage in self.cascade), self.selection.keep]
        if self.cascade and any(after >= before for before, after in pairwise(shares)):
            raise ValueError(
                f"the shares of cascade must fall from stage to stage and stay above selection.keep {self.selection.keep:g}"
            )
        for number in range(1, len(self.cascade) + 1):
            try:
                stage_config(self, number)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self


def load_config(source: Path | None = None, settings: Iterable[str] = ()) -> Config:
    """Read a YAML file, or the motive.yaml of a run's folder, and apply `settings` such as "gradients.dim=1024".

    Relative paths become absolute: from the file they stand in, and in `settings` from the current folder.
    Raises ConfigError naming each wrong key, with the nearest right one, and each wrong value.
    """
    tree: dict[str, Any] = {}
    base = Path.cwd()
    if source is not None:
        file = source / "motive.yaml" if source.is_dir() else source
        tree, base = read_yaml(file), file.resolve().parent
    resolve_paths(tree, base)
    apply_settings(tree, settings)
    resolve_paths(tree, Path.cwd())
    return parse_config(tree, str(source) if source is not None else "the settings")


def parse_config(tree: Mapping[str, Any], where: str) -> Config:
    """Validate a tree of plain values; `where` names it in errors. A key `preset` gives way to what it stands for."""
    tree = expand_preset(tree, where)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where} cannot be used:\n{complaints(Config, error)}") from None


def stage_config(config: Config, number: int) -> Config:
    """The configuration of stage `number`, from 1, of a cascade: a run of its own in coarse-<number>/ of `out`, `store.at`."""
    stage = config.cascade[number - 1]
    tree = config.model_dump(mode="json") | {"cascade": [], "out": str(config.out / f"coarse-{number}")}
    for section in ("video", "motion", "gradients"):
        tree[section] = tree[section] | getattr(stage, section)
    tree["store"]["at"] = config.store.at and f"{config.store.at.rstrip('/')}/coarse-{number}"
    tree["influence"]["snapshot"] = None
    return parse_config(tree, f"stage {number} of cascade")


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
