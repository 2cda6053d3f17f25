"""A process that reads one file after another, named on standard input, and says on standard output what came of each.

It lives under limits and may die of any file: `tests.fuzz.run` starts another.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from motive.config import load_config
from motive.errors import ClipError, ManifestError, MotiveError
from motive.video.decode import Sampling, decode
from motive.video.sources import Opener
from motive.video.table import ClipTable

FRAMES, HEIGHT, WIDTH = 9, 32, 48


def read_video(path: Path) -> None:
    """Exactly the frames that were asked for, or ClipError; where in the file they are taken follows from its size."""
    place = "start" if path.stat().st_size % 2 else "centre"
    frames = decode(path, Sampling(FRAMES, 16, HEIGHT, WIDTH, place)).frames  # type: ignore[arg-type]
    assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert frames.dtype == "uint8"


def read_manifest(path: Path) -> None:
    """Clips that can be written down and whose bytes can be had, or ManifestError."""
    table = ClipTable.read(path.parent if path.suffix == ".arrow" else path)
    opener = Opener()
    assert len({clip.id for clip in table}) == len(table)
    for clip in table:
        words = [clip.id, clip.key, clip.name, clip.caption, clip.problem, clip.where, str(clip.source), *table.notes]
        json.dumps(words, ensure_ascii=False).encode()
        if clip.problem is None:
            with opener.local_copy(clip.source, clip.sha256) as copy:
                assert copy.is_file()


def read_settings(path: Path) -> None:
    """A configuration, or ConfigError."""
    load_config(path)


READERS: dict[str, Callable[[Path], None]] = {"video": read_video, "manifest": read_manifest, "settings": read_settings}
REFUSALS: dict[str, type[MotiveError] | tuple[type[MotiveError], ...]] = {
    "video": ClipError,
    "manifest": ManifestError,
    "settings": MotiveError,
}


def outcome(kind: str, path: Path) -> tuple[str, str]:
    """("good", ""), ("refused", reason), or ("wrong", what is wrong with it)."""
    try:
        READERS[kind](path)
    except REFUSALS[kind] as error:
        return ("refused", str(error)) if str(error) else ("wrong", "a reason without words")
    except BaseException as error:  # noqa: BLE001, whatever it is, it is what the fuzzer looks for
        return "wrong", f"{type(error).__name__}: {error}"
    return "good", ""


def main(memory: int) -> None:
    """memory: bytes of address space that the process may take."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        kind, path = json.loads(line)
        came, said = outcome(kind, Path(path))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([came, said, peak]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
