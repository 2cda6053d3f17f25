from fnmatch import fnmatch

import numpy as np
import pytest
import torch

from motive.errors import ConfigError
from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise
from motive.gradients.parameters import choose_parameters, fitting_names
from motive.gradients.projection import Exact
from tests.reference import method

WAN = ["scale_shift_table", "patch_embedding.weight", "condition_embedder.time_embedder.linear_1.weight"]
WAN += [f"blocks.{n}.{part}" for n in range(30) for part in ("scale_shift_table", "attn1.to_out.0.weight", "ffn.net.2.bias")]
WAN += ["proj_out.weight"]


@pytest.fixture
def inputs(model):
    torch.manual_seed(2)
    shape = model.latent_shape(9, 48, 64)
    return torch.randn(shape), model.encode_text(["a red disc falls"])[0], torch.rand(shape[1:]), shared_noise(0, shape)


@pytest.mark.parametrize(
    "patterns", [["*.attn1.*"], ["*.attn1.to_q.*", "proj_out.bias"], ["last:1 blocks"], ["last:2 blocks", "proj_out.*"], ["*"]]
)
def test_chosen_parameters_give_their_part_of_the_gradient(model, inputs, patterns) -> None:
    latents, text, mask, noise = inputs
    denoiser = model.denoiser
    whole = Exact({name: p.numel() for name, p in denoiser.named_parameters()})
    true = method.gradient(denoiser, latents, text, mask, noise, [0.75])
    choose_parameters(denoiser, patterns)
    sizes = {name: p.numel() for name, p in denoiser.named_parameters() if p.requires_grad}
    part = project_gradient(denoiser, Exact(sizes), [lambda: clip_loss(model, latents, text, mask, noise, 0.75)])
    assert {name for name in whole.places if any(fits(name, pattern) for pattern in patterns)} == sizes.keys()
    expected = np.concatenate([true[whole.places[name]] for name in sorted(sizes)])
    assert part.norm == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    assert abs(part.feature.numpy() - expected / np.linalg.norm(expected)).max() < 1e-5
    choose_parameters(denoiser, ["*"])
    assert all(p.requires_grad for p in denoiser.parameters())


def test_a_pattern_that_fits_no_parameter_is_refused(model) -> None:
    with pytest.raises(ConfigError, match="attn9"):
        choose_parameters(model.denoiser, ["*.attn1.*", "*.attn9.*"])


def fits(name: str, pattern: str) -> bool:
    blocks = {"last:1 blocks": ("blocks.1.",), "last:2 blocks": ("blocks.0.", "blocks.1.")}
    return name.startswith(blocks[pattern]) if pattern in blocks else fnmatch(name, pattern)


def test_the_last_blocks_are_those_of_the_longest_numbered_list() -> None:
    assert fitting_names(WAN, ["last:2 blocks"]) == {name for name in WAN if name.startswith(("blocks.28.", "blocks.29."))}
    assert fitting_names(WAN, ["last:1 block"]) == {name for name in WAN if name.startswith("blocks.29.")}
    assert fitting_names(["0.weight", "2.weight", "10.weight"], ["last:2 blocks"]) == {"2.weight", "10.weight"}
    both = fitting_names(WAN, ["last:1 blocks", "proj_out.*"])
    assert both == fitting_names(WAN, ["last:1 blocks"]) | {"proj_out.weight"}


@pytest.mark.parametrize(
    ("names", "pattern", "says"),
    [
        (WAN, "last:31 blocks", "has 30 blocks"),
        (WAN, "last:0 blocks", "has 30"),
        (["a.weight"], "last:1 blocks", "no numbered"),
    ],
)
def test_more_blocks_than_there_are_is_refused(names, pattern, says) -> None:
    with pytest.raises(ConfigError, match=says):
        fitting_names(names, [pattern])


def test_the_backward_pass_ends_below_the_last_chosen_block(model, inputs) -> None:
    latents, text, mask, noise = inputs
    choose_parameters(model.denoiser, ["last:1 blocks"])
    in_the_graph: list[bool] = []
    for block in model.denoiser.blocks:
        block.register_forward_hook(lambda *arguments: in_the_graph.append(arguments[2].requires_grad))
    clip_loss(model, latents, text, mask, noise, 0.75)
    assert in_the_graph == [False, True]
