import numpy as np
import pytest
import torch

from motive.lab.counterfactual import Run, Tuning, batches_of, fine_tune, half_subsets, measure, measure_runs
from motive.lab.inputs import Inputs
from motive.lab.shipped import shipped_model
from motive.lab.suite import LabClip
from motive.lab.world import Looks, Spec
from motive.models.registry import load_model
from motive.progress import Silent

SHORT = Tuning(steps=3, batch=4, rate=1e-4, draws=2)
SHAPE = (10, 16, 5, 8, 8)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """Ten clips of random latents: what is tested here is the bookkeeping around a fine-tune, which is real."""
    torch.manual_seed(0)
    model = load_model(str(shipped_model()), (0.75,), "cpu")
    looks = Looks("disc", "red", "striped", "large", "grey", "bright")
    clips = [LabClip(f"clip_{n}", n, Spec("bounce", looks)) for n in range(10)]
    texts = model.encode_text(["a large striped red disc"] * 10)
    masks = {"true": torch.rand(10, 5, 8, 8)}
    return Inputs(
        clips,
        torch.randn(SHAPE),
        texts,
        masks,
        np.zeros((10, 17, 64, 64, 3), np.uint8),
        np.zeros((10, 17, 64, 64, 2), np.float32),
    )


def meetings(run: Run, steps: int) -> dict[int, list[tuple[float, float]]]:
    """For each clip, the noise level and the first number of the noise of each of its turns."""
    met: dict[int, list[tuple[float, float]]] = {}
    batches = batches_of(SHAPE, run, Tuning(batch=3))
    for _ in range(steps):
        for number, noise, sigma in zip(*next(batches), strict=True):
            met.setdefault(number, []).append((float(sigma), float(noise.flatten()[0])))
    return met


def test_a_clip_meets_the_same_noise_in_the_same_epoch_whatever_else_is_in_the_subset() -> None:
    few, many = meetings(Run("few", (1, 4, 7), 5), 12), meetings(Run("many", tuple(range(9)), 5), 36)
    for clip in (1, 4, 7):
        assert few[clip] == many[clip]
    assert few[1] != meetings(Run("other", (1, 4, 7), 6), 12)[1]


def test_an_epoch_holds_every_clip_of_the_subset_once() -> None:
    met = meetings(Run("some", (0, 2, 5, 6, 9), 1), 15)
    assert {clip: len(turns) for clip, turns in met.items()} == {0: 9, 2: 9, 5: 9, 6: 9, 9: 9}


def test_the_noise_levels_of_a_clip_fill_the_schedule() -> None:
    met = meetings(Run("one", (3, 4, 5), 1), 64)
    u = np.sort([sigma / (3 - 2 * sigma) for sigma, _ in met[3]])
    assert np.diff(u).max() < 3 / len(u)


def test_halves_are_halves_and_their_shares_of_kinds_vary() -> None:
    kinds = ["a"] * 40 + ["b"] * 40 + ["c"] * 40
    subsets = half_subsets(kinds, 50, seed=3)
    assert (subsets.sum(axis=1) == 60).all()
    shares = subsets[:, :40].mean(axis=1)
    assert shares.std() > 3 * np.sqrt(0.25 / 40 / 2), "subsets drawn clip by clip would vary less"
    assert abs(shares.mean() - 0.5) < 0.15
    assert (half_subsets(kinds, 50, seed=3) == subsets).all()


def test_a_run_depends_on_its_clips_and_seed_alone(inputs, tmp_path) -> None:
    runs = [Run("a", (0, 1, 2, 3, 4), 1), Run("b", (5, 6, 7, 8, 9), 1), Run("c", (0, 1, 2, 3, 4), 2)]
    together = measure_runs(runs, inputs, inputs, str(shipped_model()), SHORT, tmp_path / "together", 1, Silent())
    alone = measure_runs(runs[:1], inputs, inputs, str(shipped_model()), SHORT, tmp_path / "alone", 1, Silent())
    assert together.shape == (3, 2, 10)
    assert (together[0] == alone[0]).all()
    assert (together[0] != together[1]).any()
    assert (together[0] != together[2]).any()


def test_finished_runs_are_not_run_again_and_other_settings_are(inputs, tmp_path) -> None:
    run = [Run("a", (0, 1), 1)]
    first = measure_runs(run, inputs, inputs, str(shipped_model()), SHORT, tmp_path, 1, Silent())
    stamps = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = measure_runs(run, inputs, inputs, str(shipped_model()), SHORT, tmp_path, 1, Silent())
    assert (first == again).all()
    assert stamps == {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    measure_runs(run, inputs, inputs, str(shipped_model()), Tuning(4, 4, 1e-4, 2), tmp_path, 1, Silent())
    assert len(list(tmp_path.iterdir())) == 2


def test_training_on_a_clip_helps_it_more_than_training_on_another(inputs) -> None:
    after = []
    for own in (2, 9):
        model = load_model(str(shipped_model()), (0.75,), "cpu")
        fine_tune(model, inputs, Run("own", (own,), 0), Tuning(steps=8, batch=4, rate=3e-4))
        after.append(measure(model, inputs, 8).mean(axis=0))
    gain = after[1] - after[0]
    assert gain[2] == gain.max() > 0 > gain.min() == gain[9]


def test_the_two_halves_of_a_measurement_differ_by_noise_alone(inputs) -> None:
    """Halves at other noise levels would differ several times over, since a loss depends on its noise level most of all."""
    first, second = measure(load_model(str(shipped_model()), (0.75,), "cpu"), inputs, 16)
    assert (first != second).all()
    assert first == pytest.approx(second, rel=0.2)
