"""What a study's votes say: shares per comparison with intervals, which raters count, and how far they agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motive.evaluation.study.agreement import Metric, alpha, alpha_of, coincidences, percent_agreement
from motive.evaluation.study.bootstrap import CONFIDENCE, RESAMPLES, Share, intervals
from motive.evaluation.study.sheet import sheet
from motive.evaluation.study.study import TIE, Study
from motive.evaluation.study.votes import Vote
from motive.seeds import stream

CHECKS_RIGHT = 0.75
"""The share of attention checks a rater must have right to count."""

FEW_RATERS = 8
"""With fewer, intervals are told to be uncertain: resampling so few says little of how raters differ."""


@dataclass(frozen=True)
class RaterResult:
    """votes: on pairs of arms. checks, right: attention checks answered, and rightly. left_out: why, or ""."""

    rater: str
    votes: int
    of: int
    checks: int
    right: int
    left_out: str


@dataclass(frozen=True)
class Comparison:
    """How `first` fared against `second`: shares of votes; preferred counts a tie half to each."""

    first: str
    second: str
    votes: int
    prompts: int
    raters: int
    win: Share
    tie: Share
    loss: Share
    preferred: Share


@dataclass(frozen=True)
class Agreement:
    """Between raters, on the pairs that several rated; None where nothing can be said.

    percent: the share of pairs of raters with the same answer. nominal, ordinal: Krippendorff's alpha of first, tie,
    second, as names or in that order; the interval resamples prompts. pairs: with two votes or more.
    """

    pairs: int
    percent: float | None
    nominal: Share | None
    ordinal: Share | None


@dataclass(frozen=True)
class Result:
    """left: the share of decided votes for the video on the left, 0.5 if sides do not matter. raters: all, counted or not."""

    study: str
    question: str
    rule: str
    comparisons: tuple[Comparison, ...]
    agreement: Agreement
    left: Share | None
    raters: tuple[RaterResult, ...]
    notes: tuple[str, ...]


def study_result(study: Study, votes: Sequence[Vote], checks_right: float = CHECKS_RIGHT) -> Result:
    """Judge a study by its latest votes. The order of votes does not matter."""
    raters = _raters(study, votes, checks_right)
    counted = {rater.rater for rater in raters if not rater.left_out}
    pairs = {pair.id: pair for pair in study.pairs}
    valid = sorted((v for v in votes if v.rater in counted and v.pair in pairs), key=lambda v: (v.rater, v.pair))
    comparisons = []
    for first, second in study.comparisons:
        cast = [v for v in valid if tuple(video.arm for video in pairs[v.pair].videos) == (first, second)]
        if cast:
            comparisons.append(_comparison(study, first, second, cast))
    return Result(
        study.id,
        study.question,
        _rule(study, checks_right),
        tuple(comparisons),
        _agreement(study, valid),
        _left(study, valid),
        tuple(raters),
        (*_doubts(comparisons), *study.notes),
    )


def _rule(study: Study, checks_right: float) -> str:
    if not study.checks:
        return "The study has no attention checks; every rater counts."
    return (
        f"A rater counts who has answered at least one attention check, and at least {100 * checks_right:.0f} % of those "
        "answered rightly."
    )


def _raters(study: Study, votes: Sequence[Vote], checks_right: float) -> list[RaterResult]:
    right = {check.id: check.right for check in study.checks}
    found = []
    for rater in sorted({vote.rater for vote in votes}):
        own = [vote for vote in votes if vote.rater == rater]
        answers = [vote.choice == right[vote.pair] for vote in own if vote.pair in right]
        reason = ""
        if study.checks and not answers:
            reason = "answered no attention check"
        elif answers and sum(answers) / len(answers) < checks_right:
            reason = f"{sum(answers)} of {len(answers)} attention checks right"
        of = study.sheet_size - len(study.checks)
        found.append(RaterResult(rater, len(own) - len(answers), of, len(answers), sum(answers), reason))
    return found


def _comparison(study: Study, first: str, second: str, cast: Sequence[Vote]) -> Comparison:
    counts = _crossed(study, [(vote, _answer(study, vote)) for vote in cast])
    prompts, raters, _ = counts.shape
    shares = intervals(counts, np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0.5, 0]]), first, second)
    return Comparison(first, second, len(cast), prompts, raters, *shares)


def _answer(study: Study, vote: Vote) -> int:
    """0 for the pair's first video, 1 for a tie, 2 for the second."""
    return 1 if vote.choice == TIE else 2 * [video.id for video in study.by_id[vote.pair].videos].index(vote.choice)


def _crossed(study: Study, answered: Sequence[tuple[Vote, int]]) -> NDArray[np.int64]:
    """[P, R, 3]: how many votes of each answer, by prompt and rater; of those that have any."""
    prompts = {name: n for n, name in enumerate(sorted({study.by_id[vote.pair].prompt for vote, _ in answered}))}
    raters = {name: n for n, name in enumerate(sorted({vote.rater for vote, _ in answered}))}
    counts = np.zeros((len(prompts), len(raters), 3), np.int64)
    for vote, answer in answered:
        counts[prompts[study.by_id[vote.pair].prompt], raters[vote.rater], answer] += 1
    return counts


def _agreement(study: Study, valid: Sequence[Vote]) -> Agreement:
    rated = sorted({vote.pair for vote in valid})
    index = {pair: n for n, pair in enumerate(rated)}
    counts = np.zeros((len(rated), 3), np.int64)
    for vote in valid:
        counts[index[vote.pair], _answer(study, vote)] += 1
    several = counts.sum(axis=1) >= 2
    if not several.any():
        return Agreement(0, None, None, None)
    counts = counts[several]
    prompts = [study.by_id[pair].prompt for pair, kept in zip(rated, several, strict=True) if kept]
    drawn = _resampled_coincidences(counts, prompts)

    def value(metric: Metric) -> Share | None:
        whole, samples = alpha(counts, metric), alpha_of(drawn, metric)
        if not np.isfinite(whole):
            return None
        low, high = np.nanquantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return whole, float(low), float(high)

    return Agreement(len(counts), percent_agreement(counts), value("nominal"), value("ordinal"))


def _resampled_coincidences(counts: NDArray[np.int64], prompts: Sequence[str]) -> NDArray[np.float64]:
    """[RESAMPLES, 3, 3]: of prompts drawn anew. Raters are not: one drawn twice would agree with himself."""
    names = {name: n for n, name in enumerate(sorted(set(prompts)))}
    met = np.zeros((len(names), 3, 3))
    np.add.at(met, [names[name] for name in prompts], coincidences(counts))
    draw = stream(0, "study", "agreement", len(names))
    times = draw.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return np.asarray(np.einsum("bp,pij->bij", times, met))


def _left(study: Study, valid: Sequence[Vote]) -> Share | None:
    """How often the left video was chosen, among votes that are no ties."""
    sides = {rater: {s.pair.id: s.sides for s in sheet(study, rater)} for rater in {vote.rater for vote in valid}}
    decided = [(v, 2 * sides[v.rater][v.pair].index(v.choice)) for v in valid if v.choice != TIE]
    if not decided:
        return None
    return intervals(_crossed(study, decided), np.array([[1.0, 0.0, 0.0]]), "left")[0]


def _doubts(comparisons: Sequence[Comparison]) -> list[str]:
    fewest = min((comparison.raters for comparison in comparisons), default=FEW_RATERS)
    if fewest == 1:
        return ["one rater in a comparison: its intervals speak for that rater alone"]
    if fewest < FEW_RATERS:
        return [f"{fewest} raters in a comparison: if raters differ much, its intervals are too narrow"]
    return []
