"""The settings of `motive baseline`."""

from typing import Literal

from pydantic import Field

from motive.section import Fraction, Section


class BaselinesSection(Section):
    encoder: str | None = None
    """For `embedding`: a video encoder of transformers, such as V-JEPA 2 (facebook/vjepa2-vitl-fpc64-256), as a local folder or
    hub id."""
    encoder_frames: int | None = Field(None, ge=1, le=1024)
    """Frames of a clip that the encoder sees, spread evenly; by default as many as it was trained with."""
    magnitude: Literal["mean", "sustained"] = "mean"
    """For `magnitude`: mean displacement over all pixels and frames, or sustained motion, what the floor for static clips is
    compared with."""
    alike: Fraction = 0.9
    """For `diverse`: the cosine above which a clip is a near-duplicate of one that is kept."""
    alike_by: Literal["features", "latents"] = "features"
    """Cosine of what: the features that were scored, so clips that would teach the same; or pooled latents, clips that look the
    same."""
    own: dict[str, str] = Field({})
    """Baselines of your own, by name: package.module:function, from a run's data (motive.baselines.choice.Run) to a Choice."""
