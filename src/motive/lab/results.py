"""results.json as a page: docs/results.md is written by this, all but the discussion at its end, which is kept."""

from typing import Any

from motive.lab.evaluate import END_ROWS
from motive.lab.suite import SuiteSpec, plan_digest

DISCUSSION = "## What this says"
"""Heading of the part of a page that people write."""

TITLES = {"looks": "captions without motion words", "motion": "captions that name the motion"}


def page(results: dict[str, Any], before: str = "") -> str:
    """The whole page, Markdown; the discussion at the end of the page that was there `before` stays as it is."""
    suite, effort = results["suite"], results["effort"]
    kinds = list(results["captions"])
    parts = [
        "# Results in the lab",
        "Written by `motive lab evaluate --page`, all but the discussion at the end.",
        f"Suite {suite['version']} ({plan_digest(SuiteSpec(**suite))[:12]}): looks and motion are confounded in the pool, and "
        "every query wears looks that belong to another motion. Intervals are 95 %, by bootstrap. The headline is the first "
        "kind of captions: words that name the motion give the answer away.",
    ]
    parts += [part for kind in kinds for part in _counterfactual(kind, results["captions"][kind], effort, results["best"])]
    parts += [part for kind in kinds for part in _retrieval(kind, results["captions"][kind], effort, results["best"])]
    if "ablations" in results:
        parts += _ablations(results["ablations"])
    _, heading, discussion = before.partition(DISCUSSION)
    if heading:
        parts.append(heading + discussion.rstrip())
    return "\n\n".join(parts) + "\n"


def table(captions: dict[str, Any], rows: list[str]) -> list[list[str]]:
    """Rows of name, LDS if it was measured, precision, recall and mean average precision: what the demo prints too."""
    found = []
    for row in rows:
        measured = captions["retrieval"][row]
        lds = [interval(captions["lds"][row])] if "lds" in captions else []
        found.append([row, *lds, *(interval(measured[name]) for name in ("precision", "recall", "map"))])
    return found


def interval(value: list[float]) -> str:
    """`0.31 [0.25, 0.38]`."""
    mean, low, high = value
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _counterfactual(kind: str, measured: dict[str, Any], effort: dict[str, Any], best: str) -> list[str]:
    reliability, tuning = measured["reliability"], effort["tuning"]
    ranked = sorted(measured["lds"], key=lambda row: -measured["lds"][row][0])
    rows = [["*ceiling: the same subsets retrained*", interval(reliability["retest"])]]
    rows += [[_bold(row, best), interval(measured["lds"][row])] for row in ranked]
    ends = [
        [
            row,
            *(_percent(measured["ends"].get(f"{way}/{row}/{end}")) for way in ("only", "without") for end in ("top", "bottom")),
        ]
        for row in dict.fromkeys((*END_ROWS, "random"))
        if f"only/{row}/top" in measured["ends"]
    ]
    parts = [
        f"## What training does: {TITLES[kind]}",
        f"Linear datamodelling score: {effort['subsets']} random halves of the pool, each fine-tuned {effort['seeds']} times "
        f"for {tuning['steps']} steps of {tuning['batch']} clips; Spearman of the predicted against the measured "
        "motion-weighted loss of the queries, mean over queries.",
        f"Losses differ by {100 * reliability['between_subsets']:.2f} % between subsets and by "
        f"{100 * reliability['between_seeds']:.2f} % between seeds of one subset; measured on the other half of the draws they "
        f"agree at {interval(reliability['draws'])}.",
        markdown(["score", "LDS"], rows),
    ]
    if measured["times_paper"] is not None:
        parts.append(f"`preset: best` over `preset: paper`: {interval(measured['times_paper'])} times as good.")
    if ends:
        parts += [
            "Change of the queries' motion-weighted loss, in percent of the base model's (less is better), after fine-tuning, "
            "for equal steps, with only the named tenth of the pool, and without it:",
            markdown(["score", "only its top", "only its bottom", "without its top", "without its bottom"], ends),
        ]
    return parts


def _retrieval(kind: str, measured: dict[str, Any], effort: dict[str, Any], best: str) -> list[str]:
    found = measured["retrieval"]
    ranked = sorted(found, key=lambda row: -found[row]["precision"][0])
    rows = [[_bold(row, best), *(interval(found[row][name]) for name in ("precision", "recall", "map"))] for row in ranked]
    controls = [name for name in next(iter(found.values()))["top"] if name != "physical"]
    ends = [
        [_bold(row, best), *(f"{found[row]['top'][name]:.2f} / {found[row]['bottom'][name]:.2f}" for name in controls)]
        for row in ranked
        if row in (best, "paper", "plain x1", "random", "motion magnitude", "latent similarity", "flow histogram")
    ]
    motions = list(next(iter(found.values()))["per_motion"])
    each = [
        [row, *(f"{found[row]['per_motion'][motion]:.2f}" for motion in motions)] for row in (best, "paper") if row in found
    ]
    return [
        f"## Retrieval: {TITLES[kind]}",
        f"Clips with the query's motion in the best {100 * effort['share']:.0f} % of the pool; random is chance.",
        markdown(["score", "precision", "recall", "mean average precision"], rows),
        "Share of control clips in the top / bottom of the ranking:",
        markdown(["score", *controls], ends),
        "Precision for each motion:",
        markdown(["score", *motions], each),
    ]


def _ablations(found: dict[str, Any]) -> list[str]:
    trackers = [
        [name, *(f"{measured[c]['correlation']:.2f} / {measured[c]['iou']:.2f}" for c in ("clean", "noise", "camera"))]
        for name, measured in found["trackers"].items()
    ]
    return [
        "## Ablations",
        "Projected against exact cosines (Spearman over pool clips, mean over queries):",
        markdown(["D'", *found["projection"]], [["Spearman", *(f"{v:.3f}" for v in found["projection"].values())]]),
        f"One draw of noise level and noise against the mean of ten: {found['timesteps']['one against ten']:.2f}.",
        "Clip length (17 to 41 frames) against the sum of a clip's scores, Spearman:",
        markdown(list(found["length"]), [[f"{value:+.2f}" for value in found["length"].values()]]),
        "Mean overlap of the top sets of two motions: "
        + ", ".join(f"{name} {value:.2f}" for name, value in found["overlap"].items())
        + ".",
        "Trackers against the true displacement at the model's size: correlation of magnitudes / IoU of the moving region:",
        markdown(["tracker", "clean", "sensor noise", "moving camera"], trackers),
    ]


def _bold(row: str, best: str) -> str:
    return f"**{row}** (preset: best)" if row == best else row


def _percent(value: list[float] | None) -> str:
    return "" if value is None else f"{value[0]:+.2f} [{value[1]:+.2f}, {value[2]:+.2f}]"
