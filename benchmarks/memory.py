"""Peak memory that capturing one clip of the true Wan configurations takes, counted on the meta device: no GPU, no weights.

For Wan2.1-T2V-1.3B and 14B and Wan2.2-TI2V-5B at 81 x 480 x 832 in bfloat16: `project_gradient` itself runs, forward,
backward and fold, on tensors without data, and every storage counts from its making to its end. Without checkpointing, with
activation checkpointing, and with what is kept moved to the host besides (`gradients.offload`).

Weights have the dtypes that loading gives them, a few small ones float32. Where CUDA has one kernel and the meta device takes
many steps, a stand-in allocates what the kernel does: attention keeps q, k, v, its output and a float32 a row and head, and
adds dq up in float32 (FlashAttention-2); RMSNorm keeps its input and a float32 a row. Not counted: the CUDA context,
workspaces inside cuBLAS and cuDNN, and what the allocator loses to fragmentation.

    python benchmarks/memory.py --check
    python benchmarks/memory.py --validate      # a small model on the CPU, the count beside torch.profiler's record
"""

import argparse
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from gpu import TRUE, Case
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motive.gradients.capture import project_gradient
from motive.gradients.offload import offloaded
from motive.gradients.projection import Fastfood
from motive.models.build import WAN_2_1_1_3B

WAN_2_1_14B = WAN_2_1_1_3B | {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}
META = torch.device("meta")
FEW = {"num_attention_heads": 2, "text_dim": 256, "ffn_dim": 1536, "num_layers": 6}
SMALL = Case("small", WAN_2_1_1_3B | FEW, (16, 5, 32, 32), 64)

CASES = [
    (TRUE[0], 24e9),
    (Case("Wan2.1-T2V-14B", WAN_2_1_14B, TRUE[0].latents), 80e9),
    (TRUE[1], None),
]
"""A denoiser, and the bytes that a clip with checkpointing may take."""


@dataclass(frozen=True)
class Count:
    """Bytes on the device: of the denoiser's parameters and buffers; of its inputs; of what the graph keeps for backward when
    the forward pass is over, less those; of everything, at the peak. And bytes moved to the host."""

    weights: int
    inputs: int
    kept: int
    peak: int
    moved: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--validate", action="store_true", help="count a small model on the CPU, beside torch.profiler")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}\n")
    if options.validate:
        sys.exit(validate())
    print("| model | checkpointing | offloading | weights GiB | kept for backward GiB | peak GiB | on the host GiB | goal |")
    print("|---|---|---|--:|--:|--:|--:|---|")
    missed = False
    for case, goal in CASES:
        for checkpointing, offloading in ((False, False), (True, False), (True, True)):
            count = counted(case, checkpointing, offloading)
            words = ["yes" if given else "no" for given in (checkpointing, offloading)]
            figures = [f"{size / 2**30:.1f}" for size in (count.weights, count.kept, count.peak, count.moved)]
            said = ""
            if goal and checkpointing and not offloading:
                missed |= count.peak > goal
                said = f"at most {goal / 2**30:.1f} ({goal / 1e9:.0f} GB)"
            print(f"| {' | '.join([case.name, *words, *figures, said])} |", flush=True)
    print(f"\ngoals: with checkpointing, 1.3B in 24 GB and 14B in 80 GB: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


def counted(
    case: Case,
    checkpointing: bool,
    offloading: bool,
    device: torch.device = META,
    stand_ins: bool = True,
    dtype: torch.dtype = torch.bfloat16,
) -> Count:
    """The count of one clip's capture; without `stand_ins` as `device` would really compute it."""
    denoiser, inputs = built(case, checkpointing, device, dtype)
    counter = Counter(device)
    weights = {counter.add(tensor) for tensor in (*denoiser.parameters(), *denoiser.buffers())}
    heavy = counter.now
    given = {counter.add(tensor) for tensor in inputs}
    light = counter.now - heavy
    kept = []

    def loss() -> Tensor:
        with offloaded(denoiser) if offloading else saved_tensors_hooks(counter.keep, lambda tensor: tensor):
            value = loss_of(denoiser, inputs)
        kept.append(sum(counter.live[key] for key in counter.kept - weights - given))
        return value

    with kernels() if stand_ins else nullcontext(), counter:
        project_gradient(denoiser, Fastfood(512, 0, device), [loss])
    return Count(heavy, light, kept[0], counter.peak, counter.moved)


def built(
    case: Case, checkpointing: bool, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> tuple[nn.Module, list[Tensor]]:
    """A denoiser with the dtypes that `from_pretrained` gives it in `dtype`; latents, timestep and text for it."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    with device:
        denoiser = WanTransformer3DModel(**case.settings).eval()
        inputs = [torch.randn(1, *case.latents), torch.full((1,), 750.75), torch.randn(1, case.text, case.settings["text_dim"])]
    for name, parameter in denoiser.named_parameters():
        if not set(name.split(".")) & set(denoiser._keep_in_fp32_modules):
            parameter.data = parameter.data.to(dtype)
    if checkpointing:
        denoiser.enable_gradient_checkpointing()
    latents, timestep, text = inputs
    return denoiser, [latents.to(dtype), timestep, text.to(dtype)]


def loss_of(denoiser: nn.Module, inputs: list[Tensor]) -> Tensor:
    return (denoiser(*inputs, return_dict=False)[0].float() - inputs[0]).square().mean()


class Counter(TorchDispatchMode):
    """While active, counts the live bytes of one device's storages, views once, and their peak.

    On the meta device what goes from there to the host leaves ones there, and its bytes add up in `moved`.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.live: dict[int, int] = {}
        self.kept: set[int] = set()
        self.now = self.peak = self.moved = 0
        self._references: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.device == META and func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
            return torch.ones((), dtype=args[0].dtype).expand(args[0].shape)
        if func is torch.ops.aten.copy_.default and args[1].is_meta and not args[0].is_meta:
            self.moved += args[1].nbytes
            return args[0]
        made = func(*args, **kwargs)
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and leaf.device == self.device:
                self.add(leaf)
        return made

    def add(self, tensor: Tensor) -> int:
        """Count the storage of `tensor` from now until it is freed; its key in `live`."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.live:
            self.live[key] = storage.nbytes()
            self._references[key] = weakref.ref(storage, lambda _: self._drop(key))
            self.now += self.live[key]
            self.peak = max(self.peak, self.now)
        return key

    def keep(self, tensor: Tensor) -> Tensor:
        """A hook for saved tensors: notes that the graph keeps this one."""
        self.kept.add(self.add(tensor))
        return tensor

    def _drop(self, key: int) -> None:
        self.now -= self.live.pop(key)
        self.kept.discard(key)
        del self._references[key]


class Flash(torch.autograd.Function):
    """Allocates and keeps what FlashAttention-2 does, forward and backward, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.zeros_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_zeros(query.shape[:3], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, rows = ctx.saved_tensors
        gradients = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        # The kernel's own, freed when it ends: a float32 a row, and dq's sum.
        _ = torch.zeros_like(rows), query.new_zeros(query.shape, dtype=torch.float32)
        return gradients


class FusedNorm(torch.autograd.Function):
    """The same of CUDA's RMSNorm."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(given, weight, given.new_zeros((*given.shape[:-1], 1), dtype=torch.float32))
        return torch.zeros_like(given)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        given, weight, _ = ctx.saved_tensors
        return torch.zeros_like(given), torch.zeros_like(weight)


@contextmanager
def kernels() -> Iterator[None]:
    """While active, torch's attention is `Flash` and its RMSNorm `FusedNorm`."""
    functional = torch.nn.functional
    theirs = functional.scaled_dot_product_attention, functional.rms_norm
    functional.scaled_dot_product_attention = lambda query, key, value, **_: Flash.apply(query, key, value)
    functional.rms_norm = lambda given, shape, weight, eps: FusedNorm.apply(given, weight)
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.rms_norm = theirs


def validate(bound: float = 0.05) -> int:
    """Print counts on the CPU, without stand-ins, beside the peaks that the allocator recorded, both less weights and inputs;
    1 if one is off by more than `bound`."""
    torch.set_num_threads(1)
    cpu, worst = torch.device("cpu"), 0.0
    print("| checkpointing | the allocator's peak MiB | counted MiB | off by |")
    print("|---|--:|--:|--:|")
    for checkpointing in (False, True):
        denoiser, inputs = built(SMALL, checkpointing, cpu)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
            project_gradient(denoiser, Fastfood(512, 0, cpu), [partial(loss_of, denoiser, inputs)])
        events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
        true = max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
        count = counted(SMALL, checkpointing, False, cpu, stand_ins=False)
        ours = count.peak - count.weights - sum(tensor.nbytes for tensor in inputs)
        worst = max(worst, abs(ours / true - 1))
        print(
            f"| {'yes' if checkpointing else 'no'} | {true / 2**20:.2f} | {ours / 2**20:.2f} | {ours / true - 1:+.1%} |",
            flush=True,
        )
    print(f"\ngoal: off by at most {bound:.0%}: {'MISSED' if worst > bound else 'met'}")
    return int(worst > bound)


if __name__ == "__main__":
    main()
