"""A clip's inputs to attribution: latents, text embedding, motion mask, and what the clip was.

Prepared once and kept on disk, one safetensors file a clip, they serve any later attribution, at another noise level,
projection or checkpoint, and fine-tuning, without decoding the video again.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from motive.attribution.ahead import ClipPreparer, clip_sampling, clip_workers
from motive.attribution.reading import ClipFacts, Read, clip_reader, frames_reader, read_motion
from motive.config import Config, MotionSection
from motive.engine.messages import Packet
from motive.errors import ClipError, LeftOutError, StoreError
from motive.files import digest, sha256_file, write_atomic, write_json
from motive.fingerprints import refuse_differences
from motive.models.base import VideoModel
from motive.motion.mask import MaskOptions
from motive.motion.registry import LEARNED, make_tracker
from motive.motion.trackers import Tracker
from motive.progress import Progress, Step, duration
from motive.video.remote import Limits as FetchLimits
from motive.video.table import Clip

PREPARED_VERSION = 2
"""Raised whenever the same settings would prepare a clip differently."""


@dataclass(frozen=True)
class Prepared:
    """latents float32 [C, f, h, w], normalised; text [tokens, dim]; mask float32 [f, h, w] in [0, 1]; all on the CPU."""

    latents: Tensor
    text: Tensor
    mask: Tensor
    facts: ClipFacts


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
        if lacking := self.lacking(clip):
            raise lacking
        try:
            with safe_open(path, framework="pt") as file:
                facts = ClipFacts(**json.loads(file.metadata()["facts"]))
                return Prepared(file.get_tensor("latents"), file.get_tensor("text"), file.get_tensor("mask"), facts)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: damaged ({error}); delete it and run again") from error

    def lacking(self, clip: Clip) -> ClipError | None:
        """Why there is nothing to load for a clip, None if there is."""
        if clip.problem:
            return ClipError(clip.problem)
        failed = self._failed_path(clip)
        if failed.exists():
            record = json.loads(failed.read_text(encoding="utf-8"))
            return (LeftOutError if record["left_out"] else ClipError)(record["reason"])
        return None if self._clip_path(clip).exists() else ClipError("was not prepared")

    def read(self, clip: Clip) -> Prepared | ClipError:
        """What `load` gives, or the ClipError that it raises."""
        try:
            return self.load(clip)
        except ClipError as error:
            return error

    def keep(self, clip: Clip, prepared: Prepared | ClipError) -> None:
        """Save a clip's inputs, or why it has none."""
        if isinstance(prepared, ClipError):
            self.save_failure(clip, prepared)
        else:
            self.save(clip, prepared)

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


def fetch_limits(config: Config) -> FetchLimits:
    """What fetching one video or manifest may take."""
    return FetchLimits(config.fetch.max_bytes, config.fetch.seconds)


def clip_tracker(config: Config, device: torch.device | str) -> Tracker:
    """The tracker that `config` asks for; raises ConfigError if there is none such."""
    motion = config.motion
    return make_tracker(
        motion.tracker, motion.weights, motion.sha256, motion.tracks, motion.trust, motion.rounds, motion.dtype, device
    )


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
    refuse_differences(
        f"{file.parent} was made with other settings", stored, fingerprint, "Use them again, or choose another `out`."
    )


@contextmanager
def clip_preparer(config: Config, model: VideoModel, folder: PreparedFolder) -> Iterator[ClipPreparer[Prepared]]:
    """Prepares clips of `config`; their captions' embeddings must be in `folder` already."""
    motion, stride = config.motion, model.latent_stride
    options, sampling, fetch = mask_options(motion), clip_sampling(config), fetch_limits(config)
    # Learned trackers run beside the model, on its device.
    track = clip_tracker(config, model.device) if motion.tracker in LEARNED else None

    def build(threads: int | None) -> Callable[[], Read]:
        if track:
            return partial(frames_reader, sampling, fetch)
        return partial(clip_reader, sampling, fetch, motion.tracker, stride, options, threads)

    def finish(clip: Clip, packet: Packet) -> Prepared:
        frames = packet.arrays["frames"]
        mask, moved = read_motion(frames, track, stride, options) if track else (packet.arrays["mask"], {})
        latents = model.encode_video(frames)
        if not latents.isfinite().all():
            raise ClipError("its latents are not finite: the VAE overflowed on it")
        # Cloned: a part of the memory that holds the frames would keep all of it.
        return Prepared(latents, folder.text(clip.caption), torch.from_numpy(mask).clone(), ClipFacts(**packet.facts, **moved))

    with clip_workers(config, build) as workers:
        yield ClipPreparer(workers, finish)


def captions_to_embed(clips: Iterable[Clip], folder: PreparedFolder) -> list[str]:
    """The distinct captions of `clips` that `folder` lacks, sorted."""
    return sorted({clip.caption for clip in clips if not clip.problem and not folder.has_text(clip.caption)})


def embed_captions(captions: Sequence[str], model: VideoModel, folder: PreparedFolder, step: Step = lambda: None) -> None:
    """Embed captions and keep them, `step` after each, then free the text encoder: it is by far the largest part."""
    for caption in captions:
        folder.save_text(caption, model.encode_text([caption])[0])
        step()
    model.free()


def prepare_clips(
    clips: Sequence[Clip], model: VideoModel, folder: PreparedFolder, preparer: ClipPreparer[Prepared], progress: Progress
) -> None:
    """Prepare and save every clip that `folder` lacks; a clip that cannot be is recorded there with its reason."""
    missing = [clip for clip in clips if not folder.has(clip)]
    if not missing:
        return
    # The first one also loads the model, and meanwhile others were read ahead.
    typical = min(2 * preparer.workers.ahead + 2, max(2, len(missing) // 2))
    begin = 0.0
    with progress.steps("preparing clips", len(missing)) as step:
        for number, (clip, prepared) in enumerate(preparer.as_they_come(missing), start=1):
            folder.keep(clip, prepared)
            step()
            begin = time.monotonic() if number == 1 else begin
            if number == typical:
                each = (time.monotonic() - begin) / (number - 1)
                progress.say(
                    f"preparing {len(missing)} clips takes about {duration(each * len(missing))}, {duration(each)} each"
                )
    model.free()
