import numpy as np
import pytest
import torch

from motive.gradients.projection import Exact, Fastfood, Gaussian, Projector
from tests.reference import method

CPU = torch.device("cpu")


def project(projector: Projector, gradients: dict[str, torch.Tensor]) -> np.ndarray:
    accumulator = torch.zeros(projector.width)
    for name, gradient in gradients.items():
        projector.add(accumulator, name, gradient)
    return projector.finish(accumulator).double().numpy()


def correlated_pair(rng: np.random.Generator, shape: tuple[int, ...], cosine: float) -> tuple[np.ndarray, np.ndarray]:
    a, b = rng.standard_normal((2, *shape))
    a /= np.linalg.norm(a)
    b -= (a * b).sum() * a
    b /= np.linalg.norm(b)
    return a, cosine * a + np.sqrt(1 - cosine**2) * b


def cosines(a: np.ndarray, b: np.ndarray, seeds: range, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Inner products and cosines of the projections of a and b, one for each seed."""
    inner, cosine = [], []
    for seed in seeds:
        projector = Fastfood(dim, seed, CPU)
        pa, pb = (project(projector, {"w": torch.from_numpy(v).float()}) for v in (a, b))
        inner.append(pa @ pb)
        cosine.append(pa @ pb / np.linalg.norm(pa) / np.linalg.norm(pb))
    return np.array(inner), np.array(cosine)


def hot_columns(rng: np.random.Generator, cosine: float) -> tuple[np.ndarray, np.ndarray]:
    """Two gradients of a 1024-wide weight with 95 % of their energy in the same two columns."""
    a, b = correlated_pair(rng, (977, 1024), cosine)
    weights = np.full(1024, np.sqrt(0.05 / 1022))
    weights[[130, 642]] = np.sqrt(0.95 / 2)
    a, b = a * weights, b * weights
    return a / np.linalg.norm(a), b / np.linalg.norm(b)


@pytest.mark.parametrize("kind", ["white", "hot columns", "constant", "a few numbers"])
def test_fastfood_is_unbiased_and_errs_as_theory_says(kind: str) -> None:
    rng = np.random.default_rng(3)
    if kind == "white":
        a, b = correlated_pair(rng, (700, 1024), 0.4)
    elif kind == "hot columns":
        a, b = hot_columns(rng, 0.4)
    elif kind == "constant":
        a, b = np.ones((300, 1024)), np.ones((300, 1024))
        b[:90] = -1
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    else:
        a, b = correlated_pair(rng, (13,), 0.4)
    true = float((a * b).sum())
    dim, seeds = 512, range(200)
    inner, cosine = cosines(a, b, seeds, dim)
    # <P a, P b> has variance (1 + c^2) / D', its cosine (1 - c^2)^2 / D' to first order.
    spread = np.sqrt((1 + true**2) / dim)
    assert abs(inner.mean() - true) < 4 * spread / np.sqrt(len(seeds)), "biased"
    error = np.sqrt(((cosine - true) ** 2).mean())
    theory = (1 - true**2) / np.sqrt(dim)
    assert 0.8 * theory < error < 1.2 * theory, f"rmse {error:.4f}, theory {theory:.4f}"


def test_more_dimensions_err_less() -> None:
    a, b = hot_columns(np.random.default_rng(4), 0.2)
    errors = [np.sqrt(((cosines(a, b, range(60), dim)[1] - (a * b).sum()) ** 2).mean()) for dim in (128, 2048)]
    assert 3.0 < errors[0] / errors[1] < 5.5, errors  # sqrt(2048 / 128) = 4


def test_one_block_meets_exactly_the_fastfood_matrix() -> None:
    dim, projector = 5, Fastfood(5, 11, CPU)
    rng = np.random.default_rng(0)
    small = rng.standard_normal(1000)
    layout = projector._layout("w", 1)
    (sign,), (shift,) = layout.signs, layout.shifts
    block = np.zeros(projector.block)
    block[:1000] = small
    # The projector signs first and shifts then; the matrix has the signs inside, so they are taken out here.
    shifted = sign * np.roll(block * projector.signs.double().numpy(), shift)
    expected = method.fastfood_matrix(projector.block, dim, projector) @ (shifted * projector.signs.double().numpy())
    assert project(projector, {"w": torch.from_numpy(small).float()}) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: Fastfood(64, 5, CPU), lambda: Gaussian(64, 5, CPU), lambda: Exact({"a": 70_000, "b": 12})]
)
def test_projection_is_linear_and_free_of_order(make) -> None:
    torch.manual_seed(0)
    first = {"a": torch.randn(70, 1000), "b": torch.randn(3, 2, 2)}
    second = {"a": torch.randn(70, 1000), "b": torch.randn(3, 2, 2)}
    reordered = dict(reversed(first.items()))
    both = {name: 2 * first[name] - 3 * second[name] for name in first}
    one, other = project(make(), first), project(make(), second)
    assert project(make(), reordered) == pytest.approx(one, rel=1e-5, abs=1e-5)
    assert project(make(), both) == pytest.approx(2 * one - 3 * other, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    "make", [lambda: Fastfood(64, 5, CPU), lambda: Gaussian(64, 5, CPU), lambda: Exact({"a": 800_000, "b": 12})]
)
def test_gradients_given_together_are_projected_each_on_its_own(make) -> None:
    torch.manual_seed(0)
    several = {"a": torch.randn(3, 200, 4000).bfloat16(), "b": torch.randn(3, 3, 2, 2)}
    projector = make()
    accumulators = torch.zeros(3, projector.width)
    for name, gradients in several.items():
        projector.add(accumulators, name, gradients)
    found = projector.finish(accumulators)
    for n, row in enumerate(found):
        one = project(make(), {name: gradients[n] for name, gradients in several.items()})
        assert row.double().numpy() == pytest.approx(one, rel=1e-4, abs=1e-3)


def test_the_way_blocks_are_added_up_on_a_gpu_gives_the_same_sum() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(2, 6_000_123)
    on_cpu, as_on_gpu = Fastfood(64, 5, CPU), Fastfood(64, 5, CPU)
    as_on_gpu.chunk, as_on_gpu._add_chunk = 64, as_on_gpu._gather_blocks
    one, other = (torch.zeros(2, on_cpu.width) for _ in range(2))
    on_cpu.add(one, "w", gradient)
    as_on_gpu.add(other, "w", gradient)
    assert torch.allclose(on_cpu.finish(one), as_on_gpu.finish(other), rtol=1e-4, atol=1e-2)


def test_the_same_seed_and_name_give_the_same_projection_and_others_do_not() -> None:
    gradient = torch.ones(100_000)
    one = project(Fastfood(32, 1, CPU), {"w": gradient})
    assert np.array_equal(one, project(Fastfood(32, 1, CPU), {"w": gradient}))
    assert abs(one - project(Fastfood(32, 2, CPU), {"w": gradient})).max() > 0.1
    assert abs(one - project(Fastfood(32, 1, CPU), {"v": gradient})).max() > 0.1


def test_projections_have_not_changed_since_stores_were_written() -> None:
    """If this fails, raise PROJECTION_VERSION or STREAM_VERSION: old features can no longer be compared with new ones."""
    gradient = torch.arange(200_000, dtype=torch.float32).remainder(7) - 3
    assert project(Fastfood(4, 0, CPU), {"w": gradient}) == pytest.approx(PINNED_FASTFOOD, rel=1e-4)
    assert project(Gaussian(4, 0, CPU), {"w": gradient[:9000]}) == pytest.approx(PINNED_GAUSSIAN, rel=1e-4)


PINNED_FASTFOOD = [1383.3761, -819.5675, 696.6569, 327.3046]
PINNED_GAUSSIAN = [-145.687, 16.4012, -45.9718, -58.9881]


def test_bfloat16_gradients_are_added_up_in_float32() -> None:
    torch.manual_seed(1)
    gradient = torch.randn(300_000).bfloat16()
    projector = Fastfood(64, 0, CPU)
    assert np.array_equal(project(projector, {"w": gradient}), project(projector, {"w": gradient.float()}))


def test_gaussian_is_unbiased_too() -> None:
    a, b = correlated_pair(np.random.default_rng(5), (9000,), 0.5)
    inner = []
    for seed in range(60):
        projector = Gaussian(64, seed, CPU)
        inner.append(project(projector, {"w": torch.from_numpy(a)}) @ project(projector, {"w": torch.from_numpy(b)}))
    assert abs(np.mean(inner) - 0.5) < 4 * np.sqrt(1.25 / 64 / 60)


def test_exact_keeps_every_number_in_order_of_name() -> None:
    projector = Exact({"b": 2, "a": 3})
    out = project(projector, {"b": torch.tensor([4.0, 5.0]), "a": torch.tensor([[1.0, 2.0, 3.0]])})
    assert out.tolist() == [1, 2, 3, 4, 5]
