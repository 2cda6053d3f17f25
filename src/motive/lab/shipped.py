"""What ships with the lab: the trained model, and the effects of training that `motive lab evaluate` measured with it."""

from pathlib import Path

HERE = Path(__file__).parent


def shipped_model() -> Path:
    """The WanPipeline folder of the small model trained by `motive lab train`."""
    return HERE / "model"


def measured_effects() -> Path:
    """motive-lab-v1's effects.json: subsets of its pool, and the queries' losses after training on each."""
    return HERE / "measured" / "motive-lab-v1.json"
