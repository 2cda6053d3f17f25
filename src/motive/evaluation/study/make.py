"""Making a study: which pairs and checks there are, their neutral ids, and their videos encoded alike."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from motive.errors import ClipError, StudyError
from motive.evaluation.study.media import encode, moves, shape
from motive.evaluation.study.samples import Sample, Samples
from motive.evaluation.study.study import Alteration, Pair, Study, Video, key_file, save_study
from motive.files import digest, sha256_file
from motive.progress import Progress, Silent
from motive.seeds import stream
from motive.text import printable

QUESTION = "Which video shows the more natural motion for the text?"
KINDS = (Alteration.FROZEN, Alteration.IDENTICAL)
"""Of attention checks, by default."""
QUESTION_LIMIT = 500
"""Characters."""


@dataclass(frozen=True)
class Design:
    """What a study asks of whom.

    reference: compare this arm with all others, instead of all with all. pairs: the most for each two arms, spread over
    prompts; None for all. per_rater: as in Study. checks: attention checks that every rater gets; kinds: taken in turn.
    seed: None draws one; whoever knows it can tell sides.
    """

    question: str = QUESTION
    reference: str | None = None
    pairs: int | None = None
    per_rater: int | None = None
    checks: int = 4
    kinds: tuple[Alteration, ...] = KINDS
    seed: int | None = None


def make_study(samples: Samples, folder: Path, design: Design, progress: Progress | None = None) -> Study:
    """Plan a study of `samples`, encode its videos to folder/media and write its key last.

    Samples that cannot be read are left out with their pairs, and noted. Stopped and run again, it does not encode again.

    Raises StudyError if the folder holds a study, or the design does not fit the samples.
    """
    _check(samples, folder, design)
    progress = progress or Silent()
    seed = secrets.randbits(53) if design.seed is None else design.seed
    arms = tuple(sorted(samples.videos, key=lambda arm: (arm != design.reference, arm)))
    planned = [
        (first, second, sample)
        for first, second in combinations(arms, 2)
        if design.reference in (None, first)
        for sample in _chosen(samples, first, second, design.pairs, seed)
    ]
    wanted = {(arm, sample) for first, second, sample in planned for arm in (first, second)}
    files, unusable = _encode(samples, wanted, folder / "media", progress)
    pairs = tuple(
        _pair(samples, seed, sample, ((first, files[first, sample]), (second, files[second, sample])))
        for first, second, sample in planned
        if (first, sample) in files and (second, sample) in files
    )
    if not pairs:
        raise StudyError(
            f"no two arms have a usable video of the same prompt and seed: {'; '.join((*unusable, *samples.left_out)[:3])}"
        )
    checks = tuple(_checks(samples, seed, files, design, folder / "media", progress))
    notes = (*samples.left_out, *unusable, *_alone(samples, arms), *_unlike(files, folder / "media"))
    study = Study(seed, design.question.strip(), arms, design.reference, design.per_rater, pairs, checks, notes)
    save_study(study, folder)
    return study


def _check(samples: Samples, folder: Path, design: Design) -> None:
    if key_file(folder).exists():
        raise StudyError(f"{folder}: holds a study already; its votes need its key, so choose another folder")
    if design.reference is not None and design.reference not in samples.videos:
        raise StudyError(f"no arm {printable(design.reference)!r}; there are {', '.join(samples.videos)}")
    if not design.question.strip() or len(design.question) > QUESTION_LIMIT:
        raise StudyError(f"the question has {len(design.question)} characters; 1 to {QUESTION_LIMIT} are possible")
    if design.checks and not design.kinds:
        raise StudyError("attention checks need at least one kind")


def _chosen(samples: Samples, first: str, second: str, most: int | None, seed: int) -> list[Sample]:
    """At most `most` samples that both arms have: drawn at random, all prompts before any prompt's second seed."""
    common = sorted(samples.videos[first].keys() & samples.videos[second].keys())
    drawn = [common[n] for n in stream(seed, "pairs", first, second).permutation(len(common))]
    turn: dict[str, int] = {}
    rounds = {}
    for prompt, number in drawn:
        rounds[prompt, number] = turn[prompt] = turn.get(prompt, -1) + 1
    return sorted(sorted(drawn, key=lambda sample: rounds[sample])[:most])


def _encode(
    samples: Samples, wanted: Iterable[tuple[str, Sample]], media: Path, progress: Progress
) -> tuple[dict[tuple[str, Sample], str], list[str]]:
    """Names below `media` of the encoded samples, and a line for each one that cannot be used.

    A name is a digest of the source's bytes, and files are made in the names' order: neither tells arms apart.
    """
    sources = sorted((sha256_file(samples.videos[arm][sample]), arm, sample) for arm, sample in wanted)
    files, unusable = {}, []
    with progress.steps("encoding videos", len(sources)) as step:
        for content, arm, sample in sources:
            name = f"{content[:16]}.mp4"
            try:
                encode(samples.videos[arm][sample], media / name)
                files[arm, sample] = name
            except ClipError as error:
                unusable.append(f"{arm}/{samples.videos[arm][sample].name}: {error}")
            step()
    return files, unusable


def _pair(
    samples: Samples, seed: int, sample: Sample, shown: Sequence[tuple[str, str]], check: Alteration | None = None
) -> Pair:
    """`shown`: arm and file of both videos."""
    prompt, number = sample
    id = digest("pair", str(seed), check or "", prompt, str(number), *(arm for arm, _ in shown))[:16]
    first, second = (Video(digest("video", str(seed), id, str(n))[:16], file, arm) for n, (arm, file) in enumerate(shown))
    return Pair(id, prompt, samples.prompts[prompt], number, (first, second), check)


def _checks(
    samples: Samples, seed: int, files: dict[tuple[str, Sample], str], design: Design, media: Path, progress: Progress
) -> Iterable[Pair]:
    """Attention checks made of samples drawn at random, each prompt at most once while others are left.

    A still differs from its frozen or reversed copy in nothing, so what does not visibly move serves for identical pairs
    alone.
    """
    drawn = sorted(files)
    drawn = [drawn[n] for n in stream(seed, "checks").permutation(len(drawn))]
    with progress.steps("making attention checks", design.checks) as step:
        for n in range(design.checks):
            kind = design.kinds[n % len(design.kinds)]
            source = next((s for s in drawn if kind is Alteration.IDENTICAL or moves(media / files[s])), None)
            if source is None:
                raise StudyError(
                    f"too few samples visibly move to make {design.checks} attention checks; choose fewer, or identical ones"
                )
            arm, sample = source
            drawn = sorted((s for s in drawn if s != source), key=lambda s: s[1][0] == sample[0])
            altered = f"{Path(files[source]).stem}-{kind}.mp4"
            encode(media / files[source], media / altered, kind)
            again = f"{Path(files[source]).stem}-original.mp4"
            encode(media / files[source], media / again)
            yield _pair(samples, seed, sample, ((arm, again), (arm, altered)), kind)
            step()


def _alone(samples: Samples, arms: Sequence[str]) -> Iterable[str]:
    for arm in arms:
        others = {sample for other in arms if other != arm for sample in samples.videos[other]}
        alone = len(samples.videos[arm].keys() - others)
        if alone:
            yield f"{arm}: {alone} videos of a prompt and seed that no other arm has"


def _unlike(files: dict[tuple[str, Sample], str], media: Path) -> Iterable[str]:
    """A note if size or length could tell raters which arm they see."""
    shapes: dict[str, set[str]] = {}
    for (arm, _), name in files.items():
        shapes.setdefault(arm, set()).add(str(shape(media / name)))
    if len({frozenset(seen) for seen in shapes.values()}) > 1:
        told = "; ".join(f"{arm}: {' or '.join(sorted(seen)[:3])}" for arm, seen in sorted(shapes.items()))
        yield f"raters could tell arms by their videos' shape: {told}"
