"""A worker whose model does nothing: everything else that a clip goes through is as ever.

In a module of its own, because worker processes import it.
"""

from collections.abc import Callable, Sequence

import torch

from motive.attribution import making
from motive.attribution.making import Setup, Task, worker
from motive.attribution.prepare import Prepared
from motive.config import Config
from motive.engine.messages import Packet
from motive.gradients.capture import Gradient
from motive.models.base import VideoModel

ANSWER = Gradient(torch.ones(512) / 512**0.5, 1.0, 1.0, 1.0)


def idle_worker(setup: Setup) -> Callable[[Task], Packet]:
    making.clip_attributor = idle
    return worker(setup)


def idle(config: Config, model: VideoModel, which: str) -> Callable[[Sequence[Prepared]], list[Gradient]]:
    return lambda clips: [ANSWER for _ in clips]
