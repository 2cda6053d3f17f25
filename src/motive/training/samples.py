"""A video that is to be generated, and what stands beside it once it is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive.config import Config
from motive.errors import StoreError
from motive.files import digest, sha256_file, write_json
from motive.fingerprints import refuse_differences
from motive.models.base import VideoModel
from motive.models.folder import hash_part
from motive.seeds import stream
from motive.training.arms import Arm
from motive.training.prompts import Prompt
from motive.training.tuning import LORA_FILE, result_folder
from motive.video.write import write_video


@dataclass(frozen=True, eq=False)
class Sample:
    """One video of an arm. seed: its number among those of its prompt. about: all that it depends on, which its .json tells."""

    file: Path
    prompt: Prompt
    seed: int
    about: dict[str, Any]

    def is_made(self) -> bool:
        """Raises StoreError if it was made with other settings."""
        beside = self.file.with_suffix(".json")
        if not (self.file.exists() and beside.exists()):
            return False
        try:
            stored = json.loads(beside.read_text(encoding="utf-8"))
            # Where the model lies is told, but what counts of it are its weights.
            refuse_differences(
                f"{self.file} was made with other settings",
                stored | {"model": self.about["model"]},
                self.about,
                f"Use them again, or delete {self.file.parent} to make its videos anew.",
            )
        except (ValueError, AttributeError, TypeError) as error:
            raise StoreError(f"{beside}: damaged ({error}); delete it, and the video is made again") from None
        return True

    def keep(self, frames: NDArray[np.uint8]) -> None:
        """Write uint8 RGB [F, H, W, 3], and then what it is: a video alone counts as not made."""
        write_video(self.file, frames, self.about["fps"])
        write_json(self.file.with_suffix(".json"), self.about)


def samples_of(config: Config, arm: Arm, prompts: list[Prompt], model: VideoModel) -> list[Sample]:
    """All videos of an arm, prompt by prompt."""
    options, video = config.generate, config.video
    shared = {
        "steps": options.steps,
        "guidance": options.guidance,
        "negative": options.negative,
        "fps": options.fps or video.fps,
        "frames": options.frames or video.frames,
        "height": options.height or video.height,
        "width": options.width or video.width,
        "dtype": config.model.dtype,
        "noise": config.seed,
        "model": config.model.path,
        "weights": _weights(config, arm, model),
        "arm": arm.text,
    }
    folder = config.out / "samples" / arm.text
    return [
        Sample(folder / f"{prompt.id}-{seed}.mp4", prompt, seed, {"prompt": prompt.text, "seed": seed} | shared)
        for prompt in prompts
        for seed in range(options.seeds)
    ]


def sample_noise(sample: Sample, shape: tuple[int, int, int, int]) -> Tensor:
    """What the sampler begins with, N(0, I) float32 [C, f, h, w]: the same for a prompt and a seed in every arm."""
    draw = stream(sample.about["noise"], "sample", sample.prompt.id, sample.seed)
    return torch.from_numpy(draw.standard_normal(shape, np.float32))


def trained_folder(config: Config, arm: Arm) -> tuple[str, Path]:
    """How an arm was trained, "full" or "lora", and where its result lies. Raises StoreError if it is not trained."""
    folder = arm.folder(config.out)
    try:
        record = json.loads((folder / "arm.json").read_text(encoding="utf-8"))
        method, state = str(record["settings"]["train"]["method"]), record["state"]
    except FileNotFoundError:
        raise StoreError(f"{folder}: not trained; run `motive train {config.out} --arm {arm.text}` first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / 'arm.json'}: damaged ({error}); delete {folder} and train it anew") from None
    if state != "done":
        raise StoreError(f"{folder}: its training is not done; `motive train {config.out} --arm {arm.text}` goes on with it")
    return method, result_folder(folder, method)


def _weights(config: Config, arm: Arm, model: VideoModel) -> str:
    """What identifies the weights that a video is made with."""
    parts = model.fingerprint("encoders") | model.fingerprint("denoiser")
    if arm.name != "base":
        method, folder = trained_folder(config, arm)
        tuned = sha256_file(folder / LORA_FILE) if method == "lora" else hash_part(folder / model.denoiser_part)
        parts |= {"denoiser": digest(parts["denoiser"], tuned) if method == "lora" else tuned}
    return digest(*(part for item in sorted(parts.items()) for part in item))[:32]
