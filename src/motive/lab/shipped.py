"""What ships with the lab: the trained model, and the measured effects of training on motive-lab-v1."""

from pathlib import Path

HERE = Path(__file__).parent


def shipped_model() -> Path:
    """The WanPipeline folder of the small model trained by `motive lab train`."""
    return HERE / "model"


def measured_effects() -> Path:
    """JSON: for each kind of captions, the subsets of motive-lab-v1's pool, and the queries' losses after each."""
    return HERE / "measured" / "motive-lab-v1.json"
