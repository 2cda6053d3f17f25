"""The verbs: each does one stage of a run, from files to files, and returns what it did. The command line only calls them.

A run's folder (`out`) holds

    motive.yaml             the resolved configuration
    prepared/               see attribution.prepare.PreparedFolder
    pool/, queries/         see attribution.store.Store; elsewhere with `store.at`
    scores.parquet          see attribution.scores.write_scores
    selection.jsonl, ...    see attribution.selection_files.save_selection
    export/                 see attribution.exports.export

With `cascade` the pool's store holds the shortlist alone, and beside these are

    coarse-1/, coarse-2/    a run's folder for each coarse stage
    shortlist.json          the clips that reached full fidelity
"""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from motive.attribution.cascade import load_shortlist, save_shortlist, shortlist
from motive.attribution.exports import export as write_exports
from motive.attribution.features import clip_attributor, feature_dim, feature_fingerprint, fill_store
from motive.attribution.influence import score as score_stores
from motive.attribution.influence import scored_state
from motive.attribution.packing import layout
from motive.attribution.prepare import (
    Inputs,
    PreparedFolder,
    clip_preparer,
    fetch_limits,
    prepare_clips,
    prepare_texts,
    prepared_fingerprint,
)
from motive.attribution.run_stores import WHICH as WHICH
from motive.attribution.run_stores import open_store, store_place
from motive.attribution.scores import Scores, load_scores
from motive.attribution.selection import Selection
from motive.attribution.selection import select as choose
from motive.attribution.selection_files import save_selection
from motive.attribution.store import Shard, Store
from motive.config import Config, differences, dump_config, stage_config
from motive.errors import ClipError, ConfigError, StoreError
from motive.files import new_file, write_atomic
from motive.gradients.parameters import fitting_names
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.outcome import Shown as Shown
from motive.outcome import each_once, reasons
from motive.outcome import show as show
from motive.places import Place
from motive.progress import Progress, Silent
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


def prepare(config: Config, progress: Progress | None = None) -> list[str]:
    """The first half of `index`, which needs no denoiser: decode, track motion, encode, and keep it all on disk.

    Returns `name: reason` of every clip that could not be prepared.
    """
    if config.cascade:
        # Which clips reach full fidelity is not known before the first stage has scored them.
        return prepare(stage_config(config, 1), progress)
    work = _begin(config, _read_tables(config, progress), progress or Silent())
    _prepare(work)
    failed = []
    for clip in work.waiting:
        try:
            work.prepared.load(clip)
        except ClipError as error:
            failed.append(f"{clip.name or clip.id}: {error}")
    return failed


def index(config: Config, progress: Progress | None = None, retry_failed: bool = False) -> Indexed:
    """Prepare and attribute all clips of the pool and all queries; what is done already is not done again.

    retry_failed: try clips again that are recorded as failed. Raises MotiveError for what stops the whole run; a clip
    that cannot be used is recorded in the store with its reason.
    """
    progress = progress or Silent()
    tables = _read_tables(config, progress)
    size = len(tables["pool"])
    before: list[Indexed] = []
    for number, stage in enumerate(config.cascade, start=1):
        coarse = stage_config(config, number)
        progress.say(f"stage {number} of {len(config.cascade) + 1}: {len(tables['pool'])} clips, in {coarse.out}")
        same = (coarse.video, coarse.motion) == (config.video, config.motion)
        before.append(_index(coarse, tables, progress, retry_failed, (config if same else coarse).out))
        scores = score(coarse)
        select(coarse)
        chosen = shortlist(scores, size, stage.share)
        save_shortlist(chosen, config.out / "shortlist.json")
        tables["pool"] = tables["pool"].only(set(chosen.ids))
    if config.cascade:
        progress.say(f"full fidelity: {len(tables['pool'])} of {size} clips")
    done = _index(config, tables, progress, retry_failed, config.out)
    return replace(
        done,
        failed=each_once(line for stage in (*before, done) for line in stage.failed),
        left_out=each_once(line for stage in (*before, done) for line in stage.left_out),
        notes=each_once(line for stage in (*before, done) for line in stage.notes),
    )


def _index(config: Config, tables: dict[str, ClipTable], progress: Progress, retry_failed: bool, prepared_in: Path) -> Indexed:
    """One stage: prepare and attribute the clips of `tables`."""
    work = _begin(config, tables, progress, retry_failed, prepared_in)
    with _inputs(work) as inputs:
        for which, store in work.stores.items():
            attribute = clip_attributor(config, work.model, which)
            batch = config.gradients.batch
            fill_store(store, work.shards[which], work.tables[which], inputs, attribute, batch, work.progress)
    work.model.free()
    for store in work.stores.values():
        if store.superseded:
            raise StoreError(f"{store.folder}: another run has planned other clips here meanwhile; run again")
    return _summary(work)


def score(config: Config) -> Scores:
    """Influence of the indexed pool on the indexed queries; written to scores.parquet."""
    pool, queries = (open_store(config, which) for which in WHICH)
    return score_stores(pool, queries, config.out / "scores.parquet", config.influence.hessian)


def select(config: Config) -> Selection:
    """Vote and rank on scores.parquet; written to selection.jsonl, harmful.jsonl, ranking.parquet and others.

    Raises StoreError if the clips have changed since they were scored.
    """
    scores = load_scores(config.out / "scores.parquet")
    if scores.facts.state != scored_state(*(open_store(config, which) for which in WHICH)):
        raise StoreError(f"{config.out}: its clips have changed since they were scored; run `motive score` again")
    if config.cascade:
        return _select_from_shortlist(config, scores)
    selection = choose(scores, config.selection.keep)
    save_selection(selection, scores, config.out)
    return selection


def _select_from_shortlist(config: Config, scores: Scores) -> Selection:
    """Keep as many clips as of the whole pool; the harmful ones are those of the first stage, which alone has seen them."""
    pool = load_shortlist(config.out / "shortlist.json").pool
    count = len(scores)
    whole = choose(scores, min(config.selection.keep * pool / count, 1.0))
    selection = replace(whole, harmful=whole.harmful[:0])
    save_selection(selection, scores, config.out)
    first, told = config.out / "coarse-1", config.out / "selection.md"
    with new_file(config.out / "harmful.jsonl") as aside:
        shutil.copyfile(first / "harmful.jsonl", aside)
    head = f"{count} of {pool} clips reached full fidelity. The harmful ones, by the first stage: {first / 'selection.md'}."
    write_atomic(told, f"{head}\n\n{told.read_text(encoding='utf-8')}".encode())
    return selection


def export(config: Config, progress: Progress | None = None) -> list[str]:
    """Write the selected clips for trainers into export/; returns a line for each that could not be.

    Raises StoreError if `video` is not what the clips were attributed with: training would see something else.
    """
    attributed = open_store(config, "pool").fingerprint["prepared"]["video"]
    if changed := differences(attributed, config.video.model_dump(mode="json"), "video."):
        raise StoreError("clips can only be exported as they were attributed:\n" + "\n".join(f"  {c}" for c in changed))
    chosen = config.out / "selection.jsonl"
    return write_exports(chosen, config.out / "export", config.export, config.video, progress or Silent(), fetch_limits(config))


def run(config: Config, progress: Progress | None = None) -> Indexed:
    """Everything: index, score, select, export. Running it again goes on from wherever it stopped."""
    done = index(config, progress)
    score(config)
    select(config)
    return replace(done, failed=done.failed + export(config, progress))


def read_clips(config: Config, which: str, progress: Progress | None = None) -> ClipTable:
    """The clips of the configuration's "pool" or "queries"."""
    source: Place = getattr(config, which)
    columns = {str(k): v for k, v in config.columns.items()}
    return ClipTable.read(source, config.root, columns, progress, fetch_limits(config))


@dataclass(frozen=True)
class _Work:
    """What `prepare` and `index` start from. shards: those still to be made; waiting: their clips without a row."""

    config: Config
    progress: Progress
    model: VideoModel
    tables: dict[str, ClipTable]
    prepared: PreparedFolder
    stores: dict[str, Store]
    shards: dict[str, list[Shard]]
    waiting: list[Clip]


def _read_tables(config: Config, progress: Progress | None) -> dict[str, ClipTable]:
    return {which: read_clips(config, which, progress) for which in WHICH}


def _begin(
    config: Config,
    tables: dict[str, ClipTable],
    progress: Progress,
    retry_failed: bool = False,
    prepared_in: Path | None = None,
) -> _Work:
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
    prepared = PreparedFolder((prepared_in or config.out) / "prepared", made_with)
    stores = {which: Store(store_place(config, which), fingerprint, dim, config.store.features) for which in WHICH}
    write_atomic(config.out / "motive.yaml", dump_config(config).encode())
    if retry_failed:
        for which, store in stores.items():
            store.reopen_failures()
            for clip in tables[which]:
                prepared.forget_failure(clip)
    shards = {which: store.plan(tables[which].clips, config.store.shard_size) for which, store in stores.items()}
    planned = {which: {name for shard in shards[which] for name in shard.ids} for which in WHICH}
    waiting = [
        clip
        for which, store in stores.items()
        for clip in store.without_row([clip for clip in tables[which] if clip.id in planned[which]])
    ]
    _announce(config, progress, prepared, waiting, shape, dim)
    return _Work(config, progress, model, tables, prepared, stores, shards, waiting)


def _announce(
    config: Config, progress: Progress, prepared: PreparedFolder, waiting: list[Clip], shape: tuple[int, ...], dim: int
) -> None:
    """What there is to do and the disk it takes; how long, the stages say after their second clip."""
    if not waiting:
        return
    fresh = sum(not prepared.has(clip) for clip in waiting)
    channels, *grid = shape
    clip_bytes = 4 * (channels + 1) * math.prod(grid)
    feature_bytes = layout(config.store.features, dim).itemsize
    kept = f", about {fresh * clip_bytes / 1e6:,.1f} MB and their captions on disk" if config.store.cache else ", nothing kept"
    progress.say(f"to prepare: {fresh} clips{kept}")
    progress.say(f"to attribute: {len(waiting)} clips, {len(waiting) * feature_bytes / 1e6:,.1f} MB of features")


def _prepare(work: _Work) -> None:
    prepare_texts(work.waiting, work.model, work.prepared, work.progress)
    with clip_preparer(work.config, work.model, work.prepared) as preparer:
        prepare_clips(work.waiting, work.model, work.prepared, preparer, work.progress)


@contextmanager
def _inputs(work: _Work) -> Iterator[Inputs]:
    """From disk, where everything is prepared first; or as clips are asked for."""
    if work.config.store.cache:
        _prepare(work)
        yield work.prepared.load_each
        return
    prepare_texts(work.waiting, work.model, work.prepared, work.progress)
    with clip_preparer(work.config, work.model, work.prepared) as preparer:
        yield preparer.in_order


def _summary(work: _Work) -> Indexed:
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
