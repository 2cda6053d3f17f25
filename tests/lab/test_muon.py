import pytest
import torch
from torch import nn

from motive.lab.muon import Muon, matrices, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (16, 64), (64, 16), (32, 432)])
def test_a_direction_becomes_nearly_orthogonal(shape) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.4
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonal(matrix).flatten(), (u @ v).flatten(), dim=0) > 0.95


def test_it_minimises_and_leaves_other_parameters_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
    x = torch.randn(64, 8)
    y = x @ torch.randn(8, 4)
    muon, others = Muon(matrices([net])), [p.detach().clone() for p in net[1].parameters()]
    losses = []
    for step in range(60):
        loss = (net(x) - y).square().mean()
        net.zero_grad()
        loss.backward()
        muon.step(0.05 * (1 - step / 60))
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(others, net[1].parameters(), strict=True))
    assert len(muon.weights) == 2
