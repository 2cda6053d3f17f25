"""The verbs: each does one stage of a run, from files to files, and returns what it did. The command line only calls them.

A run's folder (`out`) holds

    motive.yaml             the resolved configuration
    prepared/               see attribution.prepare.PreparedFolder
    pool/, queries/         see attribution.store.Store; elsewhere with `store.at`
    scores.parquet          see attribution.scores.write_scores
    selection.jsonl, ...    see attribution.selection_files.save_selection
    export/                 see attribution.exports.export
    baselines/<name>/       see baselines.make.make_baseline
    workers/                see attribution.notes; no result

With `cascade` the pool's store holds the shortlist alone, and beside these are

    coarse-1/, coarse-2/    a run's folder for each coarse stage
    shortlist.json          the clips that reached full fidelity
"""

import shutil
from dataclasses import replace
from pathlib import Path

from motive.attribution.cascade import load_shortlist, save_shortlist, shortlist
from motive.attribution.exports import export as write_exports
from motive.attribution.influence import score as score_stores
from motive.attribution.influence import scored_state
from motive.attribution.prepare import fetch_limits
from motive.attribution.run_stores import WHICH as WHICH
from motive.attribution.run_stores import open_store
from motive.attribution.scores import Scores, load_scores
from motive.attribution.selection import Selection
from motive.attribution.selection import select as choose
from motive.attribution.selection_files import save_selection
from motive.config import Config, stage_config
from motive.errors import ConfigError, StoreError
from motive.files import new_file, write_atomic
from motive.fingerprints import refuse_differences
from motive.indexing import Indexed as Indexed
from motive.indexing import index_stage, prepare_stage, read_tables
from motive.indexing import read_clips as read_clips
from motive.outcome import Shown as Shown
from motive.outcome import each_once
from motive.outcome import show as show
from motive.progress import Progress, Silent
from motive.sharing import Part


def prepare(config: Config, progress: Progress | None = None) -> list[str]:
    """The first half of `index`, which needs no denoiser: decode, track motion, encode, and keep it all on disk.

    Returns `name: reason` of every clip that could not be prepared.
    """
    if config.cascade:
        # Which clips reach full fidelity is not known before the first stage has scored them.
        return prepare(stage_config(config, 1), progress)
    return prepare_stage(config, read_tables(config, progress), progress or Silent())


def index(
    config: Config,
    progress: Progress | None = None,
    retry_failed: bool = False,
    part: Part | None = None,
    prepared_in: Path | None = None,
) -> Indexed:
    """Prepare and attribute all clips of the pool and all queries; what is done already is not done again.

    retry_failed: try clips again that are recorded as failed. part: only this part of the shards, while others make theirs.
    prepared_in: the run whose prepared inputs are shared, if not this one.
    Raises MotiveError for what stops the whole run; a clip that cannot be used is recorded in the store with its reason.
    """
    progress = progress or Silent()
    if part is not None and config.cascade:
        raise ConfigError("a cascade cannot be made in parts: each stage needs all scores of the one before")
    tables = read_tables(config, progress)
    size = len(tables["pool"])
    prepared_in = prepared_in or config.out
    before: list[Indexed] = []
    for number, stage in enumerate(config.cascade, start=1):
        coarse = stage_config(config, number)
        progress.say(f"stage {number} of {len(config.cascade) + 1}: {len(tables['pool'])} clips, in {coarse.out}")
        same = (coarse.video, coarse.motion) == (config.video, config.motion)
        before.append(index_stage(coarse, tables, progress, retry_failed, prepared_in if same else coarse.out))
        scores = score(coarse)
        select(coarse)
        chosen = shortlist(scores, size, stage.share)
        save_shortlist(chosen, config.out / "shortlist.json")
        tables["pool"] = tables["pool"].only(set(chosen.ids))
    if config.cascade:
        progress.say(f"full fidelity: {len(tables['pool'])} of {size} clips")
    done = index_stage(config, tables, progress, retry_failed, prepared_in, part)
    return replace(
        done,
        failed=each_once(line for stage in (*before, done) for line in stage.failed),
        left_out=each_once(line for stage in (*before, done) for line in stage.left_out),
        notes=each_once(line for stage in (*before, done) for line in stage.notes),
    )


def score(config: Config) -> Scores:
    """Influence of the indexed pool on the indexed queries; written to scores.parquet."""
    pool, queries = (open_store(config, which) for which in WHICH)
    return score_stores(pool, queries, config.out / "scores.parquet", config.influence.hessian)


def select(config: Config) -> Selection:
    """Vote and rank on scores.parquet; written to selection.jsonl, harmful.jsonl, ranking.parquet and others.

    Raises StoreError if the clips have changed since they were scored.
    """
    scores = current_scores(config)
    if config.cascade:
        return _select_from_shortlist(config, scores)
    selection = choose(scores, config.selection.keep)
    save_selection(selection, scores, config.out)
    return selection


def current_scores(config: Config) -> Scores:
    """What `score` wrote. Raises StoreError if there is nothing, or the clips have changed since."""
    scores = load_scores(config.out / "scores.parquet")
    if scores.facts.state != scored_state(*(open_store(config, which) for which in WHICH)):
        raise StoreError(f"{config.out}: its clips have changed since they were scored; run `motive score` again")
    return scores


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


def export(config: Config, progress: Progress | None = None, folder: Path | None = None) -> list[str]:
    """Write the selected clips for trainers into export/; returns a line for each that could not be.

    folder: that of another selection.jsonl, such as a baseline's, and then of export/; by default the run's. Raises StoreError
    if `video` is not what the clips were attributed with: training would see something else.
    """
    attributed = open_store(config, "pool").fingerprint["prepared"]["video"]
    now = config.video.model_dump(mode="json")
    refuse_differences("clips can only be exported as they were attributed", attributed, now, prefix="video.")
    folder = folder or config.out
    chosen = folder / "selection.jsonl"
    return write_exports(chosen, folder / "export", config.export, config.video, progress or Silent(), fetch_limits(config))


def run(config: Config, progress: Progress | None = None) -> Indexed:
    """Everything: index, score, select, export. Running it again goes on from wherever it stopped."""
    done = index(config, progress)
    score(config)
    select(config)
    return replace(done, failed=done.failed + export(config, progress))
