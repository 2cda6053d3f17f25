"""VBench itself, run as a program in an environment of its own, and its results read back as from a stranger.

Each arm's videos lie under plain names in official/<arm>/videos/ of the run, and beside them what VBench said: results.json and
log.txt. VBench's own command line would put names and prompts into a shell's command; the driver that runs in its environment
reads them from a file instead.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from motive.errors import ConfigError, EvaluationError
from motive.evaluation.measure import Measurement
from motive.evaluation.metric import Metric
from motive.evaluation.section import OfficialSection
from motive.evaluation.study.samples import Samples
from motive.evaluation.vbench import DIMENSIONS, read_results
from motive.files import digest, make_folder, write_json
from motive.progress import Progress
from motive.text import printable

DRIVER = Path(__file__).with_name("vbench_driver.py")
PREFIX = "vbench:"
"""Of VBench's metrics, whose names are those of its dimensions."""
LOG_TAIL = 2000
"""Characters of a failed VBench's log that an error shows."""


def measure_officially(
    section: OfficialSection, samples: Samples, found: Sequence[Measurement], folder: Path, progress: Progress
) -> tuple[dict[str, Any], list[Measurement], list[Metric]]:
    """VBench's scores for each arm; the measurements with its numbers added; and those numbers as metrics.

    Raises ConfigError without an environment or for dimensions that do not take one's own videos, EvaluationError if VBench
    fails or its results are not what they should be.
    """
    _check(section)
    progress.say(f"VBench measures {len(found)} videos of {len(samples.videos)} arms: {', '.join(section.dimensions)}")
    scores: dict[str, Any] = {}
    more: list[Measurement] = []
    with progress.steps("VBench", len(samples.videos)) as step:
        for arm in samples.videos:
            own = [one for one in found if one.arm == arm]
            if own:
                # A name from outside is no name of a folder here.
                place = folder / f"{''.join(c if c.isalnum() and c.isascii() else '_' for c in arm)[:40]}-{digest(arm)[:8]}"
                scores[arm], numbers = _of_arm(section, own, samples.prompts, place)
                more += [replace(one, values=one.values | extra) for one, extra in zip(own, numbers, strict=True)]
            step()
    return {"dimensions": list(section.dimensions), "arms": scores}, more, [_metric(name) for name in section.dimensions]


def _of_arm(
    section: OfficialSection, own: Sequence[Measurement], prompts: dict[str, str], place: Path
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """VBench's scores for an arm, and its numbers for each of the arm's samples."""
    shutil.rmtree(place, ignore_errors=True)
    videos = place / "videos"
    make_folder(videos)
    names = [f"{n:06d}.mp4" for n in range(len(own))]
    for name, one in zip(names, own, strict=True):
        (videos / name).symlink_to(one.file.resolve())
    task = {
        "videos": str(videos),
        "prompts": {name: prompts[one.prompt] for name, one in zip(names, own, strict=True)},
        "dimensions": list(section.dimensions),
        "device": section.device,
        "output": str(place),
        "name": "vbench",
    }
    write_json(place / "task.json", task)
    _run(section, place)
    scores, numbers = read_results(place / "vbench_eval_results.json", section.dimensions, names)
    return scores, [{PREFIX + dimension: numbers[dimension][name] for dimension in section.dimensions} for name in names]


def _run(section: OfficialSection, place: Path) -> None:
    """Run the driver to its end, or kill it and all that it started."""
    log = place / "log.txt"
    command = [str(section.python), str(DRIVER), str(place / "task.json")]
    # Another environment's modules must not come in the way.
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(  # noqa: S603, the user's own Python and our driver
                command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        except OSError as error:
            raise ConfigError(f"evaluate.official.python: {section.python} cannot be started ({error})") from None
        try:
            code = process.wait(section.seconds)
        except subprocess.TimeoutExpired:
            raise EvaluationError(
                f"VBench took more than {section.seconds:g} s, see evaluate.official.seconds; {log}"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        said = "\n".join(f"  {printable(line)}" for line in _tail(log).splitlines()[-12:])
        raise EvaluationError(f"VBench ended with {code}; the end of {log}:\n{said}")


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        return file.read().decode(errors="replace")


def _check(section: OfficialSection) -> None:
    if section.python is None:
        raise ConfigError("evaluate.official.python: give the Python of an environment with VBench; see docs/how-to.md")
    if not section.python.is_file():
        raise ConfigError(f"evaluate.official.python: {section.python}: no such file")
    if unknown := sorted(set(section.dimensions) - set(DIMENSIONS)):
        raise ConfigError(
            f"evaluate.official.dimensions: {', '.join(unknown)}: of one's own videos VBench computes {', '.join(DIMENSIONS)}"
        )


def _metric(dimension: str) -> Metric:
    unit = "share" if dimension == "dynamic_degree" else "of 1"
    return Metric(PREFIX + dimension, unit, "higher", lambda _: None)
