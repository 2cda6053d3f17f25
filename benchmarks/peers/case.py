"""What every side of `benchmarks/peers.py` attributes: a small plain transformer, its loss, and examples as one file.

Needs torch and safetensors only, so that each library's own environment can import it.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

TOKENS, CHANNELS = 256, 64
WIDTH, HEADS, BLOCKS = 256, 4, 8
POOL, QUERIES = 64, 8
SIGMA = 0.5


@dataclass(frozen=True)
class Examples:
    """Inputs and targets of the loss, both float32 [n, TOKENS, CHANNELS]."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.inputs.split(size), self.targets.split(size), strict=True))


class Transformer(nn.Module):
    """[n, TOKENS, CHANNELS] to the same, of nn.Linear, nn.LayerNorm and one nn.Embedding of positions: 6.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(CHANNELS, WIDTH)
        self.positions = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.outward = nn.Linear(WIDTH, CHANNELS)
        # What the examples differ in should outweigh what the outputs of a random model have in common.
        nn.init.normal_(self.positions.weight, std=0.02)
        nn.init.normal_(self.outward.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.inward(inputs) + self.positions(torch.arange(TOKENS))
        for block in self.blocks:
            x = block(x)
        return self.outward(self.norm(x))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.first(x)
        query, key, value = (
            layer(normed).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        # Written out: torch's fused attention has no batching rule on a CPU, which would slow down the libraries that use vmap.
        weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(dim=3)
        x = x + self.out((weights @ value).transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


def losses(predicted: Tensor, targets: Tensor) -> Tensor:
    """The loss of each example, [n]: the mean squared error over tokens and channels."""
    return (predicted - targets).square().mean(dim=(1, 2))


def write_case(file: Path, pool: int = POOL, seed: int = 0) -> None:
    """Weights, `pool` examples and QUERIES queries, all of `seed`, as one safetensors file.

    An example is noised as in flow matching, with noise of its own; what it shows is a mixture of eight smooth patterns, so
    that the cosines of gradients spread.
    """
    torch.manual_seed(seed)
    count = pool + QUERIES
    waves = torch.linspace(0, 1, TOKENS)[:, None] * torch.randint(1, 6, (8, 1, CHANNELS)) + torch.rand(8, 1, CHANNELS)
    patterns = (2 * torch.pi * waves).sin() * 2**0.5
    shares = torch.distributions.Dirichlet(torch.full((8,), 0.3)).sample((count,))
    clean = torch.einsum("nk,ktc->ntc", shares / shares.norm(dim=1, keepdim=True), patterns)
    noise = torch.randn(count, TOKENS, CHANNELS)
    inputs, targets = (1 - SIGMA) * clean + SIGMA * noise, noise - clean
    weights = {f"weights.{name}": tensor for name, tensor in Transformer().state_dict().items()}
    examples = {"inputs": inputs, "targets": targets}
    save_file(weights | {name: tensor.contiguous() for name, tensor in examples.items()}, file)


def read_examples(file: Path) -> tuple[Examples, Examples]:
    """Pool and queries."""
    with safe_open(file, "pt") as tensors:
        inputs, targets = tensors.get_tensor("inputs"), tensors.get_tensor("targets")
    return Examples(inputs[:-QUERIES], targets[:-QUERIES]), Examples(inputs[-QUERIES:], targets[-QUERIES:])


def read_model(file: Path) -> Transformer:
    model = Transformer().eval()
    with safe_open(file, "pt") as tensors:
        model.load_state_dict({name: tensors.get_tensor(f"weights.{name}") for name in model.state_dict()})
    return model
