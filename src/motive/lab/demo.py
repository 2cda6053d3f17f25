"""The demo: the whole method on the lab's confounded pool with the small model that ships, and how right it was."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motive import verbs
from motive.attribution.scores import load_scores
from motive.config import Config
from motive.lab import rivals
from motive.lab.inputs import Inputs, lab_config, read_inputs
from motive.lab.metrics import Scores, judge_retrieval
from motive.lab.results import interval
from motive.lab.shipped import shipped_model
from motive.lab.suite import SuiteSpec, plan, write_suite
from motive.progress import Progress
from motive.report.sheet import write_query_sheet
from motive.report.write import write_report

RUNS = {"best": "run", "paper": "run-paper"}
"""Folder of each preset's run."""

BATCH = 8
"""Clips a pass: at 64 x 64 one alone is too small to fill the machine."""

QUERY = "query_swing_0"
"""The query whose best and worst clips the demo shows."""


@dataclass(frozen=True)
class Demo:
    """What the demo did: the run with `preset: best`, its index, a table of scores and figures, the contact sheet of a query,
    and the report's first page."""

    config: Config
    indexed: verbs.Indexed
    table: list[list[str]]
    sheet: Path
    report: Path


def run_demo(folder: Path, spec: SuiteSpec, progress: Progress) -> Demo:
    """Render the suite of `spec`, attribute it twice, as `preset: best` and as `preset: paper`, and judge both."""
    plans = plan(spec)
    manifests = write_suite(folder / "suite", spec, progress)
    configs = {
        name: lab_config(folder / out, *manifests, shipped_model(), preset=name, gradients={"batch": BATCH})
        for name, out in RUNS.items()
    }
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
        judged = judge_retrieval(scores, pool.clips, queries.clips, best.selection.keep)
        table.append([name, *(interval(list(value)) for value in (judged.precision, judged.recall, judged.map))])
    sheet = folder / "sheet.png"
    write_query_sheet(best, QUERY, sheet)
    return Demo(best, indexed["best"], table, sheet, write_report(best, progress))


def _scores(config: Config, pool: Inputs, queries: Inputs) -> Scores:
    """A run's scores in the order of the suite's clips; a clip or query without one ranks last."""
    scores = load_scores(config.out / "scores.parquet")
    row, column = ({clip.name: n for n, clip in enumerate(inputs.clips)} for inputs in (pool, queries))
    found = np.full((len(pool), len(queries)), -np.inf)
    names = [Path(name).stem for name in scores.clips["name"].to_pylist()]
    asked = [Path(query["name"]).stem for query in scores.queries]
    found[np.ix_([row[name] for name in names], [column[name] for name in asked])] = scores.influence
    return found
