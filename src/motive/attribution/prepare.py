"""A clip's inputs to attribution: latents, text embedding, motion mask, and what the clip was.

Prepared once and kept on disk, one safetensors file a clip, they serve any later attribution, at another noise level,
projection or checkpoint, and fine-tuning, without decoding the video again.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from motive.config import Config, MotionSection, differences
from motive.errors import ClipError, LeftOutError, StoreError
from motive.files import digest, sha256_file, write_atomic, write_json
from motive.models.base import VideoModel
from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.registry import make_tracker
from motive.motion.trackers import Tracker
from motive.progress import Progress, duration
from motive.video.decode import Sampling, decode
from motive.video.remote import Limits
from motive.video.sources import Opener
from motive.video.table import Clip

PREPARED_VERSION = 1
"""Raised whenever the same settings would prepare a clip differently."""


@dataclass(frozen=True)
class ClipFacts:
    """What a clip was and how it moved; motion in px/frame at the standardised size (see motion.mask.Motion)."""

    frames: int
    fps: float
    source_width: int
    source_height: int
    source_fps: float
    source_seconds: float
    codec: str
    repeated: int
    motion_mean: float
    motion_peak: float
    motion_sustained: float
    camera_px: float
    camera_support: float
    cuts: int
    label: str


@dataclass(frozen=True)
class Prepared:
    """latents float32 [C, f, h, w], normalised; text [tokens, dim]; mask float32 [f, h, w] in [0, 1]; all on the CPU."""

    latents: Tensor
    text: Tensor
    mask: Tensor
    facts: ClipFacts


Prepare = Callable[[Clip], Prepared]
"""Gives a clip's inputs, or raises ClipError with the reason why it has none."""


class PreparedFolder:
    """A folder of prepared clips, all made with one fingerprint.

    prepared.json       the fingerprint
    texts/<hash>.safetensors    one embedding a distinct caption, read again when clips are prepared
    clips/<key>.safetensors     a Prepared, its facts in the metadata
    clips/<key>.failed.json     the reason why that clip could not be prepared
    """

    def __init__(self, folder: Path, fingerprint: dict[str, object]) -> None:
        """Open or create; raises StoreError, listing the differences, if it was made with another fingerprint."""
        self.folder = folder
        check_fingerprint(folder / "prepared.json", fingerprint, ("texts/*", "clips/*"))

    def load(self, clip: Clip) -> Prepared:
        """Raises ClipError with the reason why the clip could not be prepared, StoreError if its file is damaged."""
        path = self._clip_path(clip)
        failed = self._failed_path(clip)
        if clip.problem:
            raise ClipError(clip.problem)
        if failed.exists():
            record = json.loads(failed.read_text(encoding="utf-8"))
            raise (LeftOutError if record["left_out"] else ClipError)(record["reason"])
        try:
            with safe_open(path, framework="pt") as file:
                facts = ClipFacts(**json.loads(file.metadata()["facts"]))
                return Prepared(file.get_tensor("latents"), file.get_tensor("text"), file.get_tensor("mask"), facts)
        except FileNotFoundError:
            raise ClipError("was not prepared") from None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete it and run again") from error

    def save(self, clip: Clip, prepared: Prepared) -> None:
        tensors = {name: getattr(prepared, name).contiguous() for name in ("latents", "text", "mask")}
        write_atomic(self._clip_path(clip), save(tensors, {"facts": json.dumps(asdict(prepared.facts))}))
        self._failed_path(clip).unlink(missing_ok=True)

    def save_failure(self, clip: Clip, error: ClipError) -> None:
        record = {"id": clip.id, "reason": str(error), "left_out": isinstance(error, LeftOutError)}
        write_json(self._failed_path(clip), record)

    def has(self, clip: Clip) -> bool:
        """Whether there is nothing left to try."""
        return clip.problem is not None or self._clip_path(clip).exists() or self._failed_path(clip).exists()

    def forget_failure(self, clip: Clip) -> None:
        self._failed_path(clip).unlink(missing_ok=True)

    def text(self, caption: str) -> Tensor:
        path = self._text_path(caption)
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor("text")
        except (SafetensorError, OSError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete it and run again") from error

    def save_text(self, caption: str, text: Tensor) -> None:
        write_atomic(self._text_path(caption), save({"text": text.contiguous()}))

    def has_text(self, caption: str) -> bool:
        return self._text_path(caption).exists()

    def _clip_path(self, clip: Clip) -> Path:
        return self.folder / "clips" / f"{clip.key[:32]}.safetensors"

    def _failed_path(self, clip: Clip) -> Path:
        return self.folder / "clips" / f"{clip.key[:32]}.failed.json"

    def _text_path(self, caption: str) -> Path:
        return self.folder / "texts" / f"{digest(caption)[:32]}.safetensors"


def prepared_fingerprint(config: Config, model: VideoModel) -> dict[str, object]:
    """Everything that a prepared clip depends on. Raises ConfigError for a tracker that does not exist."""
    clip_tracker(config, model.device)
    motion = config.motion.model_dump(mode="json", exclude={"weights", "sha256"})
    weights = {} if config.motion.weights is None else {"weights": sha256_file(config.motion.weights)}
    return {
        "version": PREPARED_VERSION,
        "model": {"family": model.family, "dtype": config.model.dtype, **model.fingerprint("encoders")},
        "video": config.video.model_dump(mode="json"),
        "motion": motion | weights,
    }


def mask_options(motion: MotionSection) -> MaskOptions:
    """How a configuration makes masks."""
    return MaskOptions(**{field.name: getattr(motion, field.name) for field in fields(MaskOptions)})


def fetch_limits(config: Config) -> Limits:
    """What fetching one video or manifest may take."""
    return Limits(config.fetch.max_bytes, config.fetch.seconds)


def clip_tracker(config: Config, device: torch.device | str) -> Tracker:
    """The tracker that `config` asks for; raises ConfigError if there is none such."""
    motion = config.motion
    return make_tracker(motion.tracker, motion.weights, motion.sha256, motion.tracks, motion.trust, device)


def check_fingerprint(file: Path, fingerprint: dict[str, object], content: Sequence[str]) -> None:
    """Write the fingerprint where there is none; raise StoreError with the differences where there is another.

    content: patterns of what was made with it; as long as there is none of it, a new fingerprint takes the old one's place.
    """
    if not any(True for pattern in content for _ in file.parent.glob(pattern)):
        write_json(file, fingerprint)
        return
    if not file.exists():
        raise StoreError(f"{file}: missing, and {file.parent} holds files; move it away and run again")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{file}: damaged ({error}); move {file.parent} away and run again") from None
    # Through JSON, so that tuples and lists compare equal.
    changed = differences(stored, json.loads(json.dumps(fingerprint)))
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise StoreError(f"{file.parent} was made with other settings:\n{lines}\nUse them again, or choose another `out`.")


def clip_preparer(config: Config, model: VideoModel, folder: PreparedFolder) -> Prepare:
    """A function that makes a clip's inputs from its video; its caption's embedding must be in `folder` already."""
    video, motion = config.video, config.motion
    tracker = clip_tracker(config, model.device)
    sampling = Sampling(video.frames, video.fps, video.height, video.width, video.place, video.max_pixels)
    options = mask_options(motion)
    opener = Opener(fetch_limits(config))

    def prepare(clip: Clip) -> Prepared:
        if clip.problem:
            raise ClipError(clip.problem)
        with opener.local_copy(clip.source, clip.sha256) as path:
            decoded = decode(path, sampling)
        mask, moved = motion_mask(decoded.frames, tracker, model.latent_stride, options)
        latents = model.encode_video(decoded.frames)
        if not latents.isfinite().all():
            raise ClipError("its latents are not finite: the VAE overflowed on it")
        facts = ClipFacts(
            frames=video.frames,
            fps=video.fps,
            source_width=decoded.source_width,
            source_height=decoded.source_height,
            source_fps=decoded.source_fps,
            source_seconds=decoded.source_seconds,
            codec=decoded.codec,
            repeated=decoded.repeated,
            motion_mean=moved.mean,
            motion_peak=moved.peak,
            motion_sustained=moved.sustained,
            camera_px=moved.camera_px,
            camera_support=moved.camera_support,
            cuts=moved.cuts,
            label=moved.label,
        )
        return Prepared(latents, folder.text(clip.caption), mask, facts)

    return prepare


def prepare_texts(clips: Iterable[Clip], model: VideoModel, folder: PreparedFolder, progress: Progress) -> None:
    """Embed every distinct caption that `folder` lacks, then free the text encoder: it is by far the largest part."""
    wanted = sorted({clip.caption for clip in clips if not clip.problem and not folder.has_text(clip.caption)})
    if not wanted:
        return
    with progress.steps("embedding captions", len(wanted)) as step:
        for caption in wanted:
            folder.save_text(caption, model.encode_text([caption])[0])
            step()
    model.free()


def prepare_clips(
    clips: Sequence[Clip], model: VideoModel, folder: PreparedFolder, prepare: Prepare, progress: Progress
) -> None:
    """Prepare and save every clip that `folder` lacks; a clip that cannot be is recorded there with its reason."""
    missing = [clip for clip in clips if not folder.has(clip)]
    if not missing:
        return
    with progress.steps("preparing clips", len(missing)) as step:
        for number, clip in enumerate(missing, start=1):
            begin = time.monotonic()
            try:
                folder.save(clip, prepare(clip))
            except ClipError as error:
                folder.save_failure(clip, error)
            step()
            if number == min(2, len(missing)):  # the first one also loads the model
                each = time.monotonic() - begin
                progress.say(
                    f"preparing {len(missing)} clips takes about {duration(each * len(missing))}, {duration(each)} each"
                )
    model.free()
