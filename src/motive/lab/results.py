"""results.json as a page: docs/results.md is written by this, all but the discussion at its end, which is kept."""

from typing import Any

from motive.lab.evaluate import END_ROWS
from motive.lab.suite import SuiteSpec, plan_digest

DISCUSSION = "## What this says"
"""Heading of the part of a page that people write."""

TITLES = {"looks": "Captions without motion words", "motion": "Captions that name the motion"}


def page(results: dict[str, Any], before: str = "") -> str:
    """The whole page, Markdown; the discussion at the end of the page that was there `before` stays as it is."""
    suite, effort = results["suite"], results["effort"]
    kinds = list(results["captions"])
    parts = [
        "# Results in the lab",
        "Written by `motive lab evaluate --page`, all but the discussion at the end.",
        f"Suite {suite['version']} ({plan_digest(SuiteSpec(**suite))[:12]}): looks and motion are confounded in the pool, and "
        "every query wears looks that belong to another motion. Intervals are 95 %, by bootstrap. The headline is the first "
        "kind of captions, in which nothing but the video tells the motion.",
    ]
    parts += [part for kind in kinds for part in _kind(kind, results["captions"][kind], effort, results["best"])]
    if len(kinds) > 1:
        parts.append(f"With captions other than the first kind, gradients have at most {effort['other_draws']} draws.")
    if "ablations" in results:
        parts += _ablations(results["ablations"])
    if "masks" in results:
        parts += _masks(results["masks"])
    if "frontier" in results:
        parts += _frontier(results["frontier"])
    _, heading, discussion = before.partition(DISCUSSION)
    if heading:
        parts.append(heading + discussion.rstrip())
    return "\n\n".join(parts) + "\n"


def interval(value: list[float]) -> str:
    """`0.31 [0.25, 0.38]`."""
    mean, low, high = value
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _kind(kind: str, measured: dict[str, Any], effort: dict[str, Any], best: str) -> list[str]:
    """Everything about one kind of captions: the headline table, how far to trust it, removal and addition, controls."""
    named = {best: "**Motive, `preset: best`**"} | HEADLINE
    rows = [
        ["*ceiling: the same subsets retrained*", interval(measured["reliability"]["retest"]), "", "", ""],
        ["*regression on motions, fitted to other subsets' losses*", interval(measured["reliability"]["learned"]), "", "", ""],
        *(_row(title, row, measured) for row, title in named.items() if row in measured["lds"]),
    ]
    ranked = sorted(measured["lds"], key=lambda row: -measured["lds"][row][0])
    every = markdown(HEAD, [_row(row, row, measured) for row in ranked])
    return [
        f"## {TITLES[kind]}",
        markdown(HEAD, rows),
        *_trust(measured, effort),
        *_ends(measured, named),
        *_controls(measured, named),
        f"<details><summary>All {len(ranked)} scores</summary>\n\n{every}\n\n</details>",
    ]


HEAD = ["score", "LDS", "precision", "recall", "mean average precision"]

HEADLINE = {
    "paper": "Motive as in the paper, `preset: paper`",
    "plain x1": "without mask",
    "motion x1": "2048 dimensions and a floor for static clips",
    "motion x4": "... 4 draws, directions averaged",
    "motion x16": "... 16 draws",
    "motion x64": "... 64 draws",
    "motion x16, kernel": "... 16 draws, kernel inverse",
    "temporal x16": "16 draws, temporal residual",
    "temporal x16, kernel": "... and kernel inverse",
    "temporal attention, pool masked x16": "16 draws, temporal residual, self-attention alone",
    "temporal attention x16": "... and the pool unmasked: `preset: best` without kernel inverse",
    "temporal attention x64, kernel": "`preset: best` with 64 draws",
    "oracle x16": "16 draws, mask from the true displacement",
    "told the motion": "told the motion",
    "flow histogram": "similarity of optical-flow histograms",
    "latent similarity": "similarity of mean VAE latents",
    "motion magnitude": "motion magnitude",
    "random": "random",
}
"""Rows of the headline table, and what they are called there; `preset: best` comes first."""


def _row(title: str, row: str, measured: dict[str, Any]) -> list[str]:
    found = measured["retrieval"][row]
    return [title, interval(measured["lds"][row]), *(interval(found[name]) for name in ("precision", "recall", "map"))]


def _trust(measured: dict[str, Any], effort: dict[str, Any]) -> list[str]:
    reliability, tuning = measured["reliability"], effort["tuning"]
    parts = [
        f"LDS: linear datamodelling score. {effort['subsets']} random halves of the pool, in which the shares of motions vary, "
        f"are trained on with {effort['seeds']} seeds, for {tuning['steps']} steps of {tuning['batch']} clips; Spearman of "
        "predicted against measured motion-weighted loss of the queries, relative to the run's mean, mean over queries.",
        f"Losses differ by {100 * reliability['between_subsets']:.2f} % between subsets and by "
        f"{100 * reliability['between_seeds']:.2f} % between seeds of one subset; measured with other noise they agree at "
        f"{interval(reliability['draws'])}.",
        f"Precision and recall: clips with the query's motion in the best {100 * effort['share']:.0f} % of the pool. To be "
        "told the motion gives the most there is, random is chance.",
    ]
    if measured["times_paper"] is not None:
        parts.append(f"LDS of `preset: best` over that of `preset: paper`: {interval(measured['times_paper'])}.")
    return parts


def _ends(measured: dict[str, Any], named: dict[str, str]) -> list[str]:
    found = measured["ends"]
    ends = [
        [named[row], *(_percent(found.get(f"{way}/{row}/{end}")) for way in ("only", "without") for end in ("top", "bottom"))]
        for row in dict.fromkeys((*END_ROWS, "random"))
        if f"only/{row}/top" in found
    ]
    if not ends:
        return []
    return [
        "Change of the queries' motion-weighted loss, in percent of the base model's (less is better), after fine-tuning, "
        "for equal steps, with only the named tenth of the pool, and without it:",
        markdown(["score", "only its top", "only its bottom", "without its top", "without its bottom"], ends),
    ]


def _controls(measured: dict[str, Any], named: dict[str, str]) -> list[str]:
    """Where control clips come in the ranking, and which motions are found."""
    found = measured["retrieval"]
    rows = [row for row in named if row in found]
    kinds = [name for name in found["random"]["top"] if name != "physical"]
    motions = list(found["random"]["per_motion"])
    ends = [[named[row], *(f"{found[row]['top'][k]:.2f} / {found[row]['bottom'][k]:.2f}" for k in kinds)] for row in rows]
    each = [[named[row], *(f"{found[row]['per_motion'][motion]:.2f}" for motion in motions)] for row in rows[:3]]
    return [
        "Share of control clips in the top / bottom of the ranking:",
        markdown(["score", *kinds], ends),
        "Precision for each motion:",
        markdown(["score", *motions], each),
    ]


def _ablations(found: dict[str, Any]) -> list[str]:
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
    ]


def _masks(found: dict[str, Any]) -> list[str]:
    truth = [
        [name, *(f"{measured['correlation']:.2f} / {measured['iou']:.2f}" for measured in conditions.values())]
        for name, conditions in found["truth"].items()
    ]
    still = [[name, *(f"{share:.2f}" for share in shares.values())] for name, shares in found["still"].items()]
    figures = (("both", "lds"), ("both", "precision"), ("best", "lds"), ("best", "precision"))
    masks = [
        [name, *(interval(row[score][figure]) for score, figure in figures), interval(row["over default"])]
        for name, row in found["found"].items()
    ]
    head = [f"{score}, {figure}" for score in ("masked on both sides", "`preset: best`") for figure in ("LDS", "precision")]
    return [
        "## Masks",
        "Trackers against the true displacement at the model's size: correlation of magnitudes / IoU of the moving region. "
        "Where the camera moves, the truth is what moves beside it.",
        markdown(["tracker", *next(iter(found["truth"].values()))], truth),
        "Share of clips that get no mask of their own, where no object moves (at the size they are rendered at):",
        markdown(["tracker", *next(iter(found["still"].values()))], still),
        "What attribution finds through each mask: the paper's score with 4 draws, masked on both sides; and `preset: best`, "
        "whose queries alone are masked, with the difference of its precision to that of the default mask, query by query.",
        markdown(["tracker, mask", *head, "over default"], masks),
    ]


AGAIN = "How repeatable that tenth is: the share of it that the best tenth by a second full score, of other draws, holds:"


def _frontier(found: dict[str, Any]) -> list[str]:
    parts = [
        [name, f"{row['cost']:.2f}", f"{row['spearman']:.2f}", interval(row["lds"]), interval(row["precision"])]
        for name, row in found["parts"].items()
    ]
    stored = [
        [name, f"{row['bytes']:,}", *(interval(row[figure]) for figure in ("lds", "over", "precision"))]
        for name, row in found["storage"].items()
    ]
    totals = list(found["cascade"][0]["recall"])
    cascade = [
        [row["full"], row["coarse"], f"{row['cost']:.2f}", *("" if v is None else f"{v:.2f}" for v in row["recall"].values())]
        for row in found["cascade"]
    ]
    again = [f"{value:.2f} with {draws} draws" for draws, value in found["again"].items()]
    return [
        "## Cheaper attribution",
        "Parts of the model, or of the clip: seconds a clip over those of everything; Spearman of the scores of one draw with "
        f"those of all parameters (over clips, mean over queries); LDS and precision with {found['draws']} draws.",
        markdown(["what counts", "cost", "Spearman", "LDS", "precision"], parts),
        "Features of `preset: best`, as the store keeps them:",
        markdown(["numbers", "bytes a clip", "LDS", "over 512 x float32", "precision"], stored),
        "Coarse to fine: of the tenth that a full score selects, the share that a shortlist by a cheaper score holds; mean "
        "over motions, each with its own queries. The shortlist is as long as the total cost leaves room for.",
        markdown(["full score", "coarse score", "its cost", *(f"total cost {total}" for total in totals)], cascade),
        *([f"{AGAIN} {', '.join(again)}."] if again else []),
    ]


def _percent(value: list[float] | None) -> str:
    return "" if value is None else f"{value[0]:+.2f} [{value[1]:+.2f}, {value[2]:+.2f}]"
