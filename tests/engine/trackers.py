"""Trackers as users bring them, with something wrong: each does something bad to bright clips, and tracks all others."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from motive.motion.trackers import Displacement, Frames, dis
from tests.engine import work

BRIGHT = 200


def track(frames: Frames, bad: Callable[[Any], object]) -> Displacement:
    if frames.mean() > BRIGHT:
        bad(3)
    return dis(frames)


def wait(_: Any) -> None:
    """As long as a file is there."""
    while Path(os.environ["WAIT_WHILE"]).exists():
        time.sleep(0.02)


segfaulting = partial(track, bad=work.segfault)
hanging = partial(track, bad=work.hang)
hanging_in_c = partial(track, bad=work.hang_in_c)
eating = partial(track, bad=work.eat)
leaving = partial(track, bad=work.leave)
raising = partial(track, bad=work.raise_error)
talking = partial(track, bad=lambda _: print("a bright one"))
waiting = partial(track, bad=wait)
