"""A study's result as Markdown, in the form papers print it."""

from motive.evaluation.study.bootstrap import Share
from motive.evaluation.study.result import Result
from motive.text import markdown_text


def markdown(result: Result) -> str:
    """The whole result: the table of comparisons first. Names and notes from outside are escaped."""
    lines = [
        f"Question: {markdown_text(result.question)}",
        "",
        "| comparison | win % | tie % | loss % | preferred % | votes | prompts | raters |",
    ]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    for row in result.comparisons:
        shares = " | ".join(_percent(share) for share in (row.win, row.tie, row.loss, row.preferred))
        names = f"{markdown_text(row.first)} against {markdown_text(row.second)}"
        lines.append(f"| {names} | {shares} | {row.votes} | {row.prompts} | {row.raters} |")
    if not result.comparisons:
        lines.append("| no votes count yet | | | | | | | |")
    lines += [
        "",
        "Win: the first of the two was chosen. Preferred: a tie counts half to each; 50 is no difference. In brackets 95 % "
        "intervals, from resampling prompts and raters.",
        "",
        _agreement(result),
        "",
    ]
    if result.left is not None:
        lines += [f"Of the votes that are no ties, {_percent(result.left)} % went to the video on the left.", ""]
    lines += [f"{result.rule} Of {len(result.raters)} raters, {sum(not r.left_out for r in result.raters)} count.", ""]
    lines += ["| rater | votes | of | attention checks right | left out |", "|---|--:|--:|--:|---|"]
    lines += [
        f"| {markdown_text(r.rater)} | {r.votes} | {r.of} | {r.right} of {r.checks} | {r.left_out} |" for r in result.raters
    ]
    if result.notes:
        lines += ["", "Notes:", "", *(f"* {markdown_text(note)}" for note in result.notes)]
    return "\n".join(lines) + "\n"


def _agreement(result: Result) -> str:
    found = result.agreement
    if found.percent is None:
        return "Agreement between raters: no pair was rated twice."
    parts = [f"Agreement between raters, on {found.pairs} pairs: the same answer in {100 * found.percent:.1f} % of cases"]
    for name, value in (("ordinal", found.ordinal), ("nominal", found.nominal)):
        said = "not defined, all answers are the same" if value is None else f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"
        parts.append(f"Krippendorff's alpha ({name}) {said}")
    return "; ".join(parts) + "."


def _percent(share: Share) -> str:
    value, low, high = (100 * part for part in share)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
