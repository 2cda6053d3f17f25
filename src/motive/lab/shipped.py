"""What ships with the lab: the trained model, effects of training that `motive lab evaluate` measured with it, a judge."""

from pathlib import Path

HERE = Path(__file__).parent


def shipped_model() -> Path:
    """The WanPipeline folder of the small model trained by `motive lab train`."""
    return HERE / "model"


def measured_effects() -> Path:
    """motive-lab-v1's effects.json: subsets of its pool, and the queries' losses after training on each."""
    return HERE / "measured" / "motive-lab-v1.json"


def shipped_judge() -> Path:
    """The judge of motion (lab.correct), fitted by `motive lab judge-motion`."""
    return HERE / "measured" / "judge.safetensors"
