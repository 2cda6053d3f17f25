"""arm.json: what an arm was trained with, and whether it is done."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motive.attribution.prepare import prepared_fingerprint
from motive.config import Config
from motive.errors import StoreError
from motive.files import digest, write_json
from motive.fingerprints import refuse_differences
from motive.models.base import VideoModel
from motive.seeds import STREAM_VERSION
from motive.training.arms import Arm
from motive.video.table import Clip

FREE = {"log", "save_every", "checkpointing", "accumulation"}
"""Settings of `train` that change no result but by rounding, and so may change while an arm is trained."""


def arm_settings(
    config: Config, model: VideoModel, arm: Arm, clips: Sequence[Clip], weights: Mapping[str, float]
) -> dict[str, Any]:
    """Everything that an arm's weights depend on."""
    told = sorted((clip.id, clip.key, repr(weights[clip.id])) for clip in clips)
    return {
        "train": config.train.model_dump(mode="json", exclude=FREE),
        "model": model.fingerprint("denoiser") | {"dtype": config.model.dtype},
        "prepared": prepared_fingerprint(config, model),
        "clips": digest(*(part for clip in told for part in clip))[:32],
        "seed": arm.seed,
        "stream_version": STREAM_VERSION,
    }


def read_record(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an arm's folder says of it, None if it says nothing; raises StoreError if it was trained with other settings."""
    file = folder / "arm.json"
    if not file.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        remedy = "Use them again, delete the folder, or choose another `out`."
        refuse_differences(f"{folder} was trained with other settings", record["settings"], settings, remedy)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file}: damaged ({error}); delete {folder}, and training begins anew") from None
    return record


def write_record(
    folder: Path, arm: Arm, steps: int, clips: int, settings: Mapping[str, Any], seconds: float, state: str
) -> None:
    """state: "started" or "done". steps: those that the arm takes in all."""
    about = {"arm": arm.text, "name": arm.name, "seed": arm.seed, "steps": steps, "clips": clips}
    write_json(folder / "arm.json", about | {"settings": settings, "seconds": round(seconds, 3), "state": state})
