"""What one rater gets: which pairs, in which order, on which sides. All of it follows from the study's seed and the name."""

import unicodedata
from dataclasses import dataclass

from motive.errors import StudyError
from motive.evaluation.study.study import Pair, Study
from motive.files import digest
from motive.seeds import stream

NAME_LIMIT = 60
"""Characters of a rater's name."""


@dataclass(frozen=True)
class Shown:
    """A pair as a rater sees it: the videos' ids from left to right."""

    pair: Pair
    sides: tuple[str, str]


def sheet(study: Study, rater: str) -> list[Shown]:
    """The pairs and checks of a rater, in order. `rater` is a name as `rater_name` gives it.

    With per_rater, every comparison of arms gets its equal share of them. Checks are spread: the list is cut into equal
    parts, and each holds one, somewhere.
    """
    draw = stream(study.seed, "sheet", rater)
    pairs = _share(study, rater)
    order = [pairs[n] for n in draw.permutation(len(pairs))]
    checks = [study.checks[n] for n in draw.permutation(len(study.checks))]
    for n, check in reversed(list(enumerate(checks))):
        low, high = (len(pairs) * part // len(checks) for part in (n, n + 1))
        order.insert(int(draw.integers(low, high + 1)), check)
    return [Shown(pair, _sides(study, rater, pair)) for pair in order]


def code(study: Study, rater: str) -> str:
    """What a rater shows to go on under a name already taken, and what a file of votes carries as proof of it."""
    return digest("code", str(study.seed), study.id, rater)[:12]


def rater_name(text: object) -> str:
    """The name as votes carry it: one spelling for all letter cases and spaces. Raises StudyError if it is none."""
    name = " ".join(unicodedata.normalize("NFKC", text).casefold().split()) if isinstance(text, str) else ""
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise StudyError(f"a rater's name has 1 to {NAME_LIMIT} characters that print")
    return name


def _share(study: Study, rater: str) -> list[Pair]:
    """All pairs, or per_rater of them, taken from the comparisons in turn."""
    if study.per_rater is None or study.per_rater >= len(study.pairs):
        return list(study.pairs)
    decks: dict[tuple[str, str], list[Pair]] = {}
    for pair in study.pairs:
        decks.setdefault((pair.videos[0].arm, pair.videos[1].arm), []).append(pair)
    draw = stream(study.seed, "share", rater)
    turns = []
    for first, deck in zip(draw.permutation(len(decks)), decks.values(), strict=True):
        turns += [(turn, int(first), deck[n]) for turn, n in enumerate(draw.permutation(len(deck)))]
    return [pair for _, _, pair in sorted(turns, key=lambda entry: entry[:2])[: study.per_rater]]


def _sides(study: Study, rater: str, pair: Pair) -> tuple[str, str]:
    """A coin for each rater and pair, on its own: no other pair can move it."""
    first, second = (video.id for video in pair.videos)
    return (first, second) if stream(study.seed, "side", rater, pair.id).integers(2) else (second, first)


def sheet_data(study: Study, rater: str) -> list[dict[str, object]]:
    """The sheet as the rater's page reads it: neutral ids and the prompt's text, nothing more."""
    return [{"pair": shown.pair.id, "prompt": shown.pair.caption, "videos": shown.sides} for shown in sheet(study, rater)]
