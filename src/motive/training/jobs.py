"""What is to be trained: an arm's clips, what each counts, and the settings that its result depends on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motive.attribution.prepare import PreparedFolder
from motive.config import Config
from motive.errors import StoreError
from motive.models.base import VideoModel
from motive.training.arms import Arm, arm_clips
from motive.training.record import arm_settings, read_record
from motive.training.weights import clip_weights
from motive.video.table import Clip


@dataclass(frozen=True)
class Job:
    """An arm to be trained, in its folder. clips, weights: by id, in order of id. settings: as arm.json tells them."""

    arm: Arm
    folder: Path
    clips: dict[str, Clip]
    weights: dict[str, float]
    settings: dict[str, Any]
    done: bool


def find_job(config: Config, model: VideoModel, inputs: PreparedFolder, arm: Arm) -> Job:
    """Raises StoreError if the arm's clips are not chosen or not prepared, or it was trained with other settings."""
    chosen = {clip.id: clip for clip in arm_clips(config, arm)}
    weights = clip_weights(config, list(chosen))
    clips = {name: chosen[name] for name in sorted(weights)}
    lacking = [f"{clip.name}: {why}" for clip in clips.values() if (why := inputs.lacking(clip))]
    if lacking:
        kept = "" if config.store.cache else "store.cache is false, and training reads what it would have kept. "
        if config.cascade:
            raise StoreError(
                f"{inputs.folder}: {len(lacking)} of the {len(clips)} clips of the arm {arm.text} did not reach full fidelity "
                "in this cascade, and have no inputs there; train it in a run without `cascade`"
            )
        raise StoreError(
            f"{inputs.folder}: {len(lacking)} of the {len(clips)} clips of the arm {arm.text} are not there, such as\n"
            f"  {lacking[0]}\n{kept}Run `motive prepare {config.out}` to make their inputs"
        )
    settings = arm_settings(config, model, arm, list(clips.values()), weights)
    folder = arm.folder(config.out)
    record = read_record(folder, settings)
    return Job(arm, folder, clips, weights, settings, record is not None and record["state"] == "done")
