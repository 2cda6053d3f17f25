"""Samples, a study made of them, and studies without videos for what needs none."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from motive.evaluation.study.make import Design, make_study
from motive.evaluation.study.samples import read_samples
from motive.evaluation.study.server import StudyServer
from motive.evaluation.study.study import Alteration, Pair, Study, Video, load_study
from motive.evaluation.study.votes import Votes
from motive.files import digest
from motive.video.write import write_video
from tests.conftest import moving_square

ARMS = ("zebra-tuned", "okapi-base", "lemur-random")
"""Names that stand nowhere else, so that they can be looked for."""

HOSTILE = {
    "markup": "<img src=x onerror=alert(1)></script><script>alert(2)</script>",
    "escape": "\x1b[31mred\x1b[0m and \u202eback\u202c, \u2028 'single' \"double\" & {{ 7 * 7 }}",
    "plain": "a square moves to the right",
}


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    """Three arms, three prompts, two seeds, in half a second each; one sample is missing, one is no video."""
    folder = tmp_path_factory.mktemp("samples")
    lines = [json.dumps({"id": id, "prompt": text}) for id, text in HOSTILE.items()]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    for a, arm in enumerate(ARMS):
        for p, prompt in enumerate(HOSTILE):
            for seed in range(2):
                frames = moving_square(9, speed=1.5 + a, seed=100 * a + 10 * p + seed)
                write_video(folder / arm / f"{prompt}-{seed}.mp4", frames, 16)
    (folder / ARMS[2] / "plain-1.mp4").unlink()
    (folder / ARMS[1] / "markup-1.mp4").write_text("no video")
    (folder / ARMS[1] / "notes-x.mp4").write_text("no sample")
    (folder / ARMS[1] / "unknown-3.mp4").write_text("no prompt")
    return folder


@pytest.fixture(scope="session")
def made(samples, tmp_path_factory) -> Path:
    """A study of one seed a prompt: six pairs against the reference, and two checks."""
    folder = tmp_path_factory.mktemp("made") / "study"
    make_study(read_samples(samples), folder, Design(reference=ARMS[0], pairs=3, checks=2, seed=11))
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """The study in a folder of its own, without votes."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "media").symlink_to(made / "media")
    (tmp_path / "study" / "key.json").write_bytes((made / "key.json").read_bytes())
    return tmp_path / "study"


@contextmanager
def serving(folder: Path, names: tuple[str, ...] = ()):
    """A running server of the study in `folder`."""
    study = load_study(folder)
    with Votes(folder) as votes, StudyServer(study, folder, votes, "127.0.0.1", 0, names) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def plain_study(
    arms: tuple[str, ...] = ("a", "b"), prompts: int = 4, seeds: int = 1, checks: tuple[Alteration, ...] = (), **more
) -> Study:
    """A study without videos: every arm against the first."""

    def pair(first: str, second: str, prompt: int, seed: int, check: Alteration | None = None) -> Pair:
        id = digest("test", first, second, str(prompt), str(seed), check or "")[:16]
        videos = tuple(
            Video(digest(id, side)[:16], f"{digest(id)[:16]}.mp4", arm) for side, arm in (("0", first), ("1", second))
        )
        return Pair(id, f"p{prompt}", f"prompt {prompt}", seed, videos, check)

    pairs = [pair(arms[0], arm, p, s) for arm in arms[1:] for p in range(prompts) for s in range(seeds)]
    asked = [pair(arms[0], arms[0], n, 0, kind) for n, kind in enumerate(checks)]
    settings = {"seed": 5, "question": "which?", "reference": arms[0], "per_rater": None, "notes": ()} | more
    return Study(arms=arms, pairs=tuple(pairs), checks=tuple(asked), **settings)
