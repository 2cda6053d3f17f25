"""The lab's metrics of generated clips, for evaluate.metrics=[..., "motive.lab.correct_metrics:METRICS"]: whether a clip shows
the motion that its prompt asks for ("motion" in prompts.jsonl), and whether it keeps that motion's law."""

from functools import partial

from motive.evaluation.metric import Metric, Video
from motive.files import sha256_file
from motive.lab.correct import NAMES, judge
from motive.lab.laws import LAWS, fit_law, lawful
from motive.lab.shipped import shipped_judge
from motive.lab.traces import traces

VERSION = "2"


def correct_motion(video: Video) -> float | None:
    """1 if the judge sees the wanted motion, else 0; None where none is known."""
    if video.motion not in NAMES or len(video.frames) < 2:
        return None
    return float(judge([video.frames], [video.motion], video.fps).right[0])


def lawful_motion(video: Video) -> float | None:
    """1 if what falls, bounces or swings does so by the law and at a rate of the lab's world; None for other motions."""
    if video.motion not in LAWS or len(video.frames) < 2:
        return None
    return float(lawful(video.motion, fit_law(video.motion, traces(video.frames, video.fps))))


def parameter(motion: str, video: Video) -> float | None:
    """The fitted acceleration or period; None for another motion, or where too little moves for a fit."""
    if video.motion != motion or len(video.frames) < 2:
        return None
    fitted = fit_law(motion, traces(video.frames, video.fps))
    return None if fitted is None else fitted.value


METRICS = (
    Metric("correct_motion", "share", "higher", correct_motion, f"{VERSION}/{sha256_file(shipped_judge())}"),
    Metric("lawful_motion", "share", "higher", lawful_motion, VERSION),
    Metric("fall_acceleration", "heights/s^2", "neither", partial(parameter, "fall"), VERSION),
    Metric("bounce_acceleration", "heights/s^2", "neither", partial(parameter, "bounce"), VERSION),
    Metric("swing_period", "s", "neither", partial(parameter, "swing"), VERSION),
)
