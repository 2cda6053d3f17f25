"""The settings of `motive evaluate`."""

from pathlib import Path

from pydantic import Field

from motive.section import Section

FREE = ("temporal_flickering", "dynamic_degree_dis", "mean_motion")
"""Metrics that need no weights."""


class OfficialSection(Section):
    """VBench itself, in an environment of its own."""

    python: Path | None = None
    """The Python of an environment with VBench, for `motive evaluate --official`; see docs/how-to.md."""
    dimensions: tuple[str, ...] = Field(("subject_consistency", "dynamic_degree", "motion_smoothness"), min_length=1)
    """Which of VBench's dimensions to compute; those that take videos of one's own."""
    device: str = "cuda"
    """What VBench computes on."""
    seconds: float = Field(24 * 3600.0, gt=0)
    """Seconds that it may take for one arm."""


class EvaluateSection(Section):
    metrics: tuple[str, ...] = Field(FREE, min_length=1)
    """What to measure: temporal_flickering, dynamic_degree (RAFT, needs `raft`), dynamic_degree_dis (with OpenCV's DIS, another
    number), mean_motion, subject_consistency (needs `dino`), background_consistency (needs `clip`), aesthetic_quality (needs
    `aesthetic_clip` and `aesthetic_head`); or metrics of your own, as package.module:name."""
    raft: Path | None = None
    """RAFT's checkpoint, as `motion.weights` takes it (VBench uses raft-things.pth), with the extra `raft`."""
    dino: Path | None = None
    """A local folder of a DINO vision transformer, such as facebook/dino-vitb16."""
    clip: Path | None = None
    """A local folder of a CLIP model, for VBench's numbers openai/clip-vit-base-patch32."""
    aesthetic_clip: Path | None = None
    """A local folder of the CLIP model that the aesthetic head belongs to: openai/clip-vit-large-patch14."""
    aesthetic_head: Path | None = None
    """LAION's linear head for it, sa_0_4_vit_l_14_linear.pth or .safetensors."""
    resamples: int = Field(4000, ge=100, le=1_000_000)
    """Bootstrap samples of an interval, and random sign patterns of a test."""
    official: OfficialSection = OfficialSection()
