"""The demo: the whole method on the lab's confounded pool with the small model that ships, and how right it was."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive import verbs
from motive.attribution.influence import load_scores
from motive.config import Config
from motive.lab import rivals
from motive.lab.evaluate import judge_retrieval
from motive.lab.inputs import Inputs, lab_config, read_inputs
from motive.lab.results import interval
from motive.lab.shipped import shipped_model
from motive.lab.suite import SuiteSpec, plan, write_suite
from motive.progress import Progress
from motive.report.sheet import write_query_sheet

QUERY = "query_swing_0"
"""The query whose best and worst clips the demo shows."""


@dataclass(frozen=True)
class Demo:
    """What the demo did: the run with `preset: best`, its index, a table of scores and figures, and the contact sheet."""

    config: Config
    indexed: verbs.Indexed
    table: list[list[str]]
    sheet: Path


def run_demo(folder: Path, spec: SuiteSpec, progress: Progress) -> Demo:
    """Render the suite of `spec`, attribute it twice, as `preset: best` and as `preset: paper`, and judge both."""
    plans = plan(spec)
    manifests = write_suite(folder / "suite", spec, progress)
    configs = {name: lab_config(folder / out, *manifests, shipped_model(), preset=name) for name, out in RUNS.items()}
    indexed = {name: verbs.run(config, progress) for name, config in configs.items()}
    best = configs["best"]
    pool, queries = read_inputs(best, plans, progress)
    rows = {f"Motive, preset: {name}": _scores(config, pool, queries) for name, config in configs.items()}
    rows |= {
        "similarity of looks": rivals.latent_similarity(pool, queries),
        "motion magnitude": rivals.motion_magnitude(pool, queries),
        "random": rivals.random(pool, queries),
    }
    table = [["score", "precision", "recall", "mean average precision"]]
    for name, scores in rows.items():
        judged = judge_retrieval(scores, pool, queries, best.selection.keep)
        table.append([name, *(interval(list(value)) for value in (judged.precision, judged.recall, judged.map))])
    sheet = folder / "sheet.png"
    write_query_sheet(best, QUERY, sheet)
    return Demo(best, indexed["best"], table, sheet)


RUNS = {"best": "run", "paper": "run-paper"}


def _scores(config: Config, pool: Inputs, queries: Inputs) -> NDArray[np.float64]:
    """A run's scores in the order of the suite's clips."""
    scores = load_scores(config.out / "scores.parquet")
    rows = {Path(name).stem: n for n, name in enumerate(scores.clips["name"].to_pylist())}
    columns = {Path(query["name"]).stem: q for q, query in enumerate(scores.queries)}
    order = np.ix_([rows[clip.name] for clip in pool.clips], [columns[clip.name] for clip in queries.clips])
    return scores.influence[order].astype(np.float64)
