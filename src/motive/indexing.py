"""From the clips of a run to its two stores: what there is to do, by whom, and what came of it."""

import math
import os
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from motive.attribution.driving import drive, told
from motive.attribution.features import feature_dim, feature_fingerprint
from motive.attribution.making import Embed, Make, Maker, Setup, Task, worker
from motive.attribution.notes import drop_stale
from motive.attribution.packing import layout
from motive.attribution.prepare import (
    PreparedFolder,
    captions_to_embed,
    clip_preparer,
    embed_captions,
    fetch_limits,
    prepare_clips,
    prepared_fingerprint,
)
from motive.attribution.run_stores import WHICH, store_place
from motive.attribution.store import Shard, Store
from motive.config import Config, dump_config
from motive.engine.ray import RayWorkers
from motive.engine.sandbox import Sandbox
from motive.errors import ConfigError, StoreError
from motive.files import write_atomic
from motive.gradients.parameters import fitting_names
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.outcome import reasons
from motive.places import Place
from motive.progress import Progress
from motive.sharing import Part, crew, share_of, shares
from motive.video.table import Clip, ClipTable


@dataclass(frozen=True)
class Indexed:
    """What an index holds: how many clips of the pool and queries have a feature; `name: reason` of those that failed or
    were left out; notes, what else a person should know; and whether the model is trained."""

    pool: int
    queries: int
    failed: list[str]
    left_out: list[str]
    notes: list[str]
    trained: bool


Tables = dict[str, ClipTable]
"""The clips of "pool" and "queries"."""


def index_stage(
    config: Config, tables: Tables, progress: Progress, retry_failed: bool, prepared_in: Path, part: Part | None = None
) -> Indexed:
    """Prepare and attribute the clips of `tables`, or this process's part of them."""
    work = begin(config, tables, progress, retry_failed, prepared_in, part)
    run = os.urandom(6).hex()
    drop_stale(config.out / "workers")
    with told(config.out / "workers", run, len(work.waiting), progress) if work.tasks else nullcontext():
        _do(work, run)
    for store in work.stores.values():
        if store.superseded:
            raise StoreError(f"{store.folder}: another run has planned other clips here meanwhile; run again")
    return _summary(work)


def prepare_stage(config: Config, tables: Tables, progress: Progress) -> list[str]:
    """Prepare the clips of `tables` whose inputs are not kept, attributed or not; returns `name: reason` of those that could
    not be."""
    work = begin(config, tables, progress, False, config.out)
    clips = [clip for which in WHICH for clip in tables[which]]
    missing = [clip for clip in clips if not work.prepared.has(clip)]
    captions = captions_to_embed(missing, work.prepared)
    if captions:
        with progress.steps("embedding captions", len(captions)) as step:
            embed_captions(captions, work.model, work.prepared, step)
    with clip_preparer(config, work.model, work.prepared) as preparer:
        prepare_clips(missing, work.model, work.prepared, preparer, progress)
    lacking = ((clip, work.prepared.lacking(clip)) for clip in clips)
    return [f"{clip.name or clip.id}: {why}" for clip, why in lacking if why]


def read_tables(config: Config, progress: Progress | None) -> Tables:
    return {which: read_clips(config, which, progress) for which in WHICH}


def read_clips(config: Config, which: str, progress: Progress | None = None) -> ClipTable:
    """The clips of the configuration's "pool" or "queries"."""
    source: Place = getattr(config, which)
    columns = {str(k): v for k, v in config.columns.items()}
    return ClipTable.read(source, config.root, columns, progress, fetch_limits(config))


@dataclass(frozen=True)
class Work:
    """What is to be done. shards: those still to be made; waiting: their clips without a row; tasks: the same for workers."""

    config: Config
    progress: Progress
    model: VideoModel
    tables: Tables
    prepared: PreparedFolder
    made_with: dict[str, object]
    stores: dict[str, Store]
    waiting: list[Clip]
    tasks: list[Make]


def begin(
    config: Config, tables: Tables, progress: Progress, retry_failed: bool, prepared_in: Path, part: Part | None = None
) -> Work:
    """Open model, folders and stores, refuse what does not fit, plan, and say what there is to do."""
    source = config.model
    model = load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision)
    shape = model.latent_shape(config.video.frames, config.video.height, config.video.width)
    # Whatever can be wrong with the settings comes before the first file.
    if config.gradients.error == "temporal" and shape[1] == 1:
        raise ConfigError(
            "gradients.error is temporal, but a clip of so few frames has one latent frame and nothing changes in it"
        )
    fitting_names(model.parameter_names(), config.gradients.parameters)
    made_with = prepared_fingerprint(config, model)
    fingerprint, dim = feature_fingerprint(config, model, made_with), feature_dim(config, model)
    model.free()
    prepared = PreparedFolder(prepared_in / "prepared", made_with)
    stores = {which: Store(store_place(config, which), fingerprint, dim, config.store.features) for which in WHICH}
    write_atomic(config.out / "motive.yaml", dump_config(config).encode())
    if retry_failed:
        for which, store in stores.items():
            store.reopen_failures()
            for clip in tables[which]:
                prepared.forget_failure(clip)
    planned = {which: store.plan(tables[which].clips, config.store.shard_size) for which, store in stores.items()}
    tasks = [task for which in WHICH for task in _tasks(which, share_of(planned[which], part), tables[which])]
    waiting = [clip for task in tasks for clip in stores[task.which].without_row(task.clips)]
    _announce(config, progress, prepared, waiting, shape, dim)
    return Work(config, progress, model, tables, prepared, made_with, stores, waiting, tasks)


def _tasks(which: str, shards: Sequence[Shard], clips: ClipTable) -> list[Make]:
    by_id = {clip.id: clip for clip in clips}
    return [Make(which, shard, tuple(by_id[name] for name in shard.ids)) for shard in shards]


def _announce(
    config: Config, progress: Progress, prepared: PreparedFolder, waiting: list[Clip], shape: tuple[int, ...], dim: int
) -> None:
    """What there is to do and the disk it takes; how long, the progress says after the second clip."""
    if not waiting:
        return
    fresh = sum(not prepared.has(clip) for clip in waiting)
    channels, *grid = shape
    clip_bytes = 4 * (channels + 1) * math.prod(grid)
    feature_bytes = layout(config.store.features, dim).itemsize
    kept = f", about {fresh * clip_bytes / 1e6:,.1f} MB and their captions on disk" if config.store.cache else ", nothing kept"
    progress.say(f"to prepare: {fresh} clips{kept}")
    progress.say(f"to attribute: {len(waiting)} clips, {len(waiting) * feature_bytes / 1e6:,.1f} MB of features")


def _do(work: Work, run: str) -> None:
    """All captions first, since the text encoder is not held beside the denoiser; then all shards."""
    if not work.tasks:
        return
    config, captions = work.config, captions_to_embed(work.waiting, work.prepared)

    def setup(own: Config) -> Setup:
        return Setup(own, run, work.prepared.folder, work.made_with)

    notes, tries = config.out / "workers", config.engine.tries
    if config.engine.kind == "ray":
        with RayWorkers(config.engine.address) as cluster:
            team = crew(config, cluster.cpus, cluster.gpus)
            cluster.start(partial(worker, setup(team.share)), team.count, team.cpus, team.gpus)
            for tasks in (_embeddings(captions, team.count), work.tasks):
                drive(cluster, tasks, tries, notes, run)
    elif local := shares(config):
        with Sandbox([partial(worker, setup(own)) for own in local], threads=local[0].engine.threads or 1) as children:
            for tasks in (_embeddings(captions, len(local)), work.tasks):
                drive(children, tasks, tries, notes, run)
    else:
        with closing(Maker(setup(config))) as maker:
            for task in [*_embeddings(captions, 1), *work.tasks]:
                maker.do(task)


def _embeddings(captions: Sequence[str], workers: int) -> Sequence[Task]:
    """The captions in as many parts as there are workers: each loads the text encoder once."""
    parts = (tuple(captions[first::workers]) for first in range(workers))
    return [Embed(part) for part in parts if part]


def _summary(work: Work) -> Indexed:
    config = work.config
    columns = ["name", "status", "reason", "label", "repeated", "cuts", "sha256", "caption"]
    rows = {which: store.rows(columns) for which, store in work.stores.items()}
    everything = rows["pool"] + rows["queries"]
    notes = [f"{which}: {line}" for which, table in work.tables.items() for line in (*table.duplicates, *table.notes)]
    videos = {row["sha256"] for row in rows["pool"] if row["sha256"]}
    shared = [row["name"] for row in rows["queries"] if row["sha256"] in videos]
    if shared:
        notes.append(f"{len(shared)} queries are also in the pool, where they score highest: {', '.join(shared[:5])}")
    if still := sum(row["label"] == "static" and row["status"] == "ok" for row in everything):
        notes.append(f"{still} clips are static (below {config.motion.floor:g} px/frame) and get a mask of ones")
    if mute := sum(not row["caption"] for row in everything):
        notes.append(f"{mute} clips have no caption and are attributed with an empty one")
    if slow := sum((row["repeated"] or 0) > 0 for row in everything):
        notes.append(f"{slow} clips have fewer than {config.video.fps:g} fps: frames repeat in them")
    if cut := [row["name"] for row in everything if row["cuts"]]:
        notes.append(f"{len(cut)} clips contain hard cuts: {', '.join(cut[:5])}")
    usable = {which: sum(row["status"] == "ok" for row in part) for which, part in rows.items()}
    failed, left_out = reasons(everything, "failed"), reasons(everything, "left-out")
    return Indexed(usable["pool"], usable["queries"], failed, left_out, notes, work.model.trained)
