"""What ships with the lab: the trained model."""

from pathlib import Path

HERE = Path(__file__).parent


def shipped_model() -> Path:
    """The WanPipeline folder of the small model trained by `motive lab train`."""
    return HERE / "model"
