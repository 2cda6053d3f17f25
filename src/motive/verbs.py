"""The verbs: each does one stage of a run, from files to files, and returns what it did. The command line only calls them.

A run's folder (`out`) holds

    motive.yaml             the resolved configuration
    prepared/               see attribution.prepare.PreparedFolder
    pool/, queries/         see attribution.store.Store
    scores.parquet          see attribution.influence.save_scores
    selection.jsonl, ...    see attribution.selection.save_selection
    export/                 see attribution.exports.export
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motive.attribution.exports import export as write_exports
from motive.attribution.features import clip_attributor, feature_dim, feature_fingerprint, fill_store
from motive.attribution.influence import Scores, load_scores, save_scores
from motive.attribution.influence import score as score_stores
from motive.attribution.prepare import (
    PreparedFolder,
    clip_preparer,
    prepare_clips,
    prepare_texts,
    prepared_fingerprint,
)
from motive.attribution.selection import Selection, save_selection
from motive.attribution.selection import select as choose
from motive.attribution.store import Row, Store
from motive.config import Config, dump_config
from motive.errors import StoreError
from motive.files import write_atomic
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.progress import Progress, Silent
from motive.video.table import ClipTable

WHICH = ("pool", "queries")
"""The two sets of clips; they get exactly the same treatment."""


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


@dataclass(frozen=True)
class Shown:
    """A run's outcome: its description in Markdown, the entries of selection.jsonl and harmful.jsonl, `name: reason` of
    every clip without a score, and whether the model is trained."""

    text: str
    kept: list[dict[str, Any]]
    harmful: list[dict[str, Any]]
    not_scored: list[str]
    trained: bool


def index(config: Config, progress: Progress | None = None, retry_failed: bool = False) -> Indexed:
    """Prepare and attribute all clips of the pool and all queries; what is done already is not done again.

    retry_failed: try clips again that are recorded as failed. Raises MotiveError for what stops the whole run; a clip
    that cannot be used is recorded in the store with its reason.
    """
    progress = progress or Silent()
    tables = {which: read_clips(config, which, progress) for which in WHICH}
    model = load_model(
        config.model.path, config.gradients.sigmas, config.model.device, config.model.dtype, config.model.revision
    )
    # Sizes the model cannot take should fail now, not at the first clip.
    model.latent_shape(config.video.frames, config.video.height, config.video.width)
    made_with = prepared_fingerprint(config, model)
    prepared = PreparedFolder(config.out / "prepared", made_with)
    stores = _open_stores(config, model, made_with)
    write_atomic(config.out / "motive.yaml", dump_config(config).encode())
    if retry_failed:
        for name, store in stores.items():
            store.reopen_failures()
            for clip in tables[name]:
                prepared.forget_failure(clip)

    pending = {}
    for name, store in stores.items():
        planned = {clip for shard in store.plan(tables[name].clips, config.store.shard_size) for clip in shard.ids}
        pending[name] = [clip for clip in tables[name] if clip.id in planned and not store.has_row(clip)]
    waiting = [clip for clips in pending.values() for clip in clips]
    prepare = clip_preparer(config, model, prepared)
    prepare_texts(waiting, model, prepared, progress)
    if config.store.cache:
        prepare_clips(waiting, model, prepared, prepare, progress)
        prepare = prepared.load
    attribute = clip_attributor(config, model)
    for name, store in stores.items():
        fill_store(store, tables[name].clips, prepare, attribute, config, progress)
    model.free()
    return _summary(config, stores, tables, model.trained)


def score(config: Config) -> Scores:
    """Influence of the indexed pool on the indexed queries; written to scores.parquet."""
    scores = score_stores(*(Store.open(config.out / which) for which in WHICH))
    save_scores(scores, config.out / "scores.parquet")
    return scores


def select(config: Config) -> Selection:
    """Vote and rank on scores.parquet; written to selection.jsonl, harmful.jsonl, ranking.parquet and others."""
    scores = load_scores(config.out / "scores.parquet")
    selection = choose(scores, config.selection.keep)
    save_selection(selection, scores, config.out)
    return selection


def export(config: Config, progress: Progress | None = None) -> list[str]:
    """Write the selected clips for trainers into export/; returns a line for each that could not be."""
    chosen = config.out / "selection.jsonl"
    return write_exports(chosen, config.out / "export", config.export, config.video, progress or Silent())


def show(config: Config) -> Shown:
    """What a run chose, from its files alone; raises StoreError if it has not come that far."""
    description = config.out / "selection.md"
    if not description.exists():
        raise StoreError(f"{config.out}: no selection here; run `motive select` first")
    return Shown(
        text=description.read_text(encoding="utf-8").rstrip("\n"),
        kept=_read_jsonl(config.out / "selection.jsonl"),
        harmful=_read_jsonl(config.out / "harmful.jsonl"),
        not_scored=[line for which in WHICH for line in _reasons(Store.open(config.out / which).rows(), "failed", "left-out")],
        trained=load_scores(config.out / "scores.parquet").trained,
    )


def run(config: Config, progress: Progress | None = None) -> Indexed:
    """Everything: index, score, select, export. Running it again goes on from wherever it stopped."""
    done = index(config, progress)
    score(config)
    select(config)
    return replace(done, failed=done.failed + export(config, progress))


def read_clips(config: Config, which: str, progress: Progress | None = None) -> ClipTable:
    """The clips of the configuration's "pool" or "queries"."""
    source: Path = getattr(config, which)
    return ClipTable.read(source, config.root, {str(k): v for k, v in config.columns.items()}, progress)


def _open_stores(config: Config, model: VideoModel, prepared: dict[str, object]) -> dict[str, Store]:
    fingerprint = feature_fingerprint(config, model, prepared)
    dim, precision = feature_dim(config, model), config.store.features
    return {which: Store(config.out / which, fingerprint, dim, precision) for which in WHICH}


def _summary(config: Config, stores: dict[str, Store], tables: dict[str, ClipTable], trained: bool) -> Indexed:
    rows = {which: store.rows(["name", "status", "reason", "label", "repeated", "sha256"]) for which, store in stores.items()}
    everything = rows["pool"] + rows["queries"]
    notes = [f"{which}: {line}" for which, table in tables.items() for line in table.duplicates]
    videos = {row["sha256"] for row in rows["pool"] if row["sha256"]}
    shared = [row["name"] for row in rows["queries"] if row["sha256"] in videos]
    if shared:
        notes.append(f"{len(shared)} queries are also in the pool, where they score highest: {', '.join(shared[:5])}")
    if still := sum(row["label"] == "static" and row["status"] == "ok" for row in everything):
        treated = "get a mask of ones" if config.motion.floor else "keep their mask"
        notes.append(f"{still} clips are static (below {config.motion.floor:g} px/frame) and {treated}")
    if slow := sum((row["repeated"] or 0) > 0 for row in everything):
        notes.append(f"{slow} clips have fewer than {config.video.fps:g} fps: frames repeat in them")
    usable = {which: sum(row["status"] == "ok" for row in part) for which, part in rows.items()}
    failed, left_out = _reasons(everything, "failed"), _reasons(everything, "left-out")
    return Indexed(usable["pool"], usable["queries"], failed, left_out, notes, trained)


def _reasons(rows: list[Row], *statuses: str) -> list[str]:
    return [f"{row['name'] or row['id']}: {row['reason']}" for row in rows if row["status"] in statuses]


def _read_jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
