"""The mutation fuzzer: every spoilt video gives exactly the wanted frames or a reason, every spoilt manifest clips or an error
in words, in bounded time and memory.

    python -m tests.fuzz.run video --cases 2000

Case k of a seed is always the same file: `--only K --keep FILE` makes one again. A file that kills its reader, as native
code may die of anything, is counted and told; the run goes on. The exit code is 1 if a file hung, or gave anything else.
"""

import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.fuzz.corpus import manifests, settings, videos
from tests.fuzz.mutations import mutate

SECONDS = 20.0
"""That one file may take; the files are a second or two of small pictures."""

MEMORY = 3 << 30
"""Bytes of address space of the process that decodes."""

CORPORA = {"video": videos, "manifest": manifests, "settings": settings}
"""Kinds of files, and what makes valid ones in a folder."""

COMPANIONS = {
    "prompts.txt": b"a ball\nit rolls\n",
    "state.json": json.dumps({"_data_files": [{"filename": "clips.arrow"}]}).encode(),
    "dataset_info.json": b"{}",
    "a.mp4": b"bytes of a",
    "b.mp4": b"bytes of b",
}
"""What lies beside a manifest."""


@dataclass
class Told:
    """What came of all cases. outcomes: how many of each kind; bad: lines on those that must not be."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0


class Reader:
    """A process that reads files, started again whenever it has died."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.seconds, self.memory = seconds, memory
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def read(self, kind: str, path: Path) -> tuple[str, str, int]:
        """("good" | "refused" | "wrong" | "crash" | "hang", what is said of it, the process's peak in KiB)."""
        process = self.process = self.process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps([kind, str(path)]).encode() + b"\n")
            process.stdin.flush()
        if not select.select([process.stdout], [], [], self.seconds)[0]:
            self.stop()
            return "hang", f"no answer within {self.seconds:g} s", 0
        line = process.stdout.readline()
        if line:
            came, said, peak = json.loads(line)
            return came, said, peak
        code = process.wait()
        self.stop()
        return "crash", signal.Signals(-code).name if code < 0 else f"exit code {code}", 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _started(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.fuzz.worker", str(self.memory)]
        quiet = subprocess.DEVNULL
        place = Path(__file__).parents[2]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, cwd=place)


def cases(seed: int, numbers: Sequence[int], files: Sequence[tuple[str, bytes]]) -> Iterator[tuple[int, str, bytes]]:
    """Number, name and bytes of each case; a case depends on seed, number and files alone."""
    contents = [content for _, content in files]
    for number in numbers:
        chance = random.Random(f"{seed}/{number}")  # noqa: S311
        name, content = files[number % len(files)]
        how, spoilt = mutate(content, chance, contents)
        yield number, f"case {number}: {name}, {how}", spoilt


def fuzz(kind: str, seed: int, numbers: Sequence[int], files: Sequence[tuple[str, bytes]], seconds: float = SECONDS) -> Told:
    """Read all cases, one after another."""
    told = Told()
    with tempfile.TemporaryDirectory(prefix="motive-fuzz-") as folder, Reader(seconds) as reader:
        for name, content in COMPANIONS.items():
            (Path(folder) / name).write_bytes(content)
        for number, name, content in cases(seed, numbers, files):
            path = Path(folder) / Path(files[number % len(files)][0]).name
            path.write_bytes(content)
            begin = time.monotonic()
            came, said, peak = reader.read(kind, path)
            path.unlink()
            told.outcomes[came] += 1
            told.slowest = max(told.slowest, (time.monotonic() - begin, name))
            told.peak = max(told.peak, peak)
            if came == "refused":
                told.reasons[said.replace(f"{path}", "").split(":")[0][:60] or said.split(": ")[1][:60]] += 1
            if came == "crash" or "the process that read it died" in said:
                told.crashes.append(f"{name}: {said}")
            if came in ("wrong", "hang"):
                told.bad.append(f"{name}: {came}: {said}")
    return told


def report(told: Told, seed: int) -> str:
    """What came of it, in lines."""
    total = sum(told.outcomes.values())
    counts = ", ".join(f"{told.outcomes[kind]:,} {kind}" for kind in ("good", "refused", "crash", "hang", "wrong"))
    lines = [f"seed {seed}: {total:,} spoilt files: {counts}"]
    lines += [f"  {count:6,}  {reason}" for reason, count in told.reasons.most_common(12)]
    lines.append(f"slowest {told.slowest[0]:.2f} s ({told.slowest[1]}); peak of a process {told.peak / 1024:,.0f} MiB")
    lines += [f"native crash, contained: {line}" for line in told.crashes]
    lines += [f"NOT AS IT MUST BE: {line}" for line in told.bad]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(CORPORA))
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one case")
    parser.add_argument("--keep", type=Path, help="where to leave its file")
    asked = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")
    with tempfile.TemporaryDirectory(prefix="motive-fuzz-") as folder:
        files = list(CORPORA[asked.kind](Path(folder)))
    numbers = range(asked.cases) if asked.only is None else [asked.only]
    if asked.keep is not None:
        for _, name, content in cases(asked.seed, numbers, files):
            asked.keep.write_bytes(content)
            print(f"{asked.keep}: {name}")
    told = fuzz(asked.kind, asked.seed, numbers, files)
    print(f"{asked.kind}, {report(told, asked.seed)}")
    return 1 if told.bad else 0


if __name__ == "__main__":
    sys.exit(main())
