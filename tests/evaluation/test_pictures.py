"""DINO and CLIP metrics with small models that transformers itself builds."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

from motive.errors import ConfigError, ModelError
from motive.evaluation.metric import Video
from motive.evaluation.pictures import (
    aesthetic_quality,
    background_consistency,
    clip_embedder,
    consistency,
    subject_consistency,
)
from tests.conftest import moving_square

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
STILL = Video(moving_square(5, speed=0), 16, "a square")
MOVING = Video(moving_square(5, speed=6), 16, "a square")


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    ViTModel(ViTConfig(image_size=224, patch_size=32, **SIZES), add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = SIZES | {"vocab_size": 40, "eos_token_id": 2, "bos_token_id": 1}
    vision = SIZES | {"image_size": 32, "patch_size": 16, "projection_dim": 12}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    return folder


def test_consistency_is_the_mean_of_the_cosines_with_the_frame_before_and_the_first() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    assert consistency(vectors) == pytest.approx(((0.6 + 0.6) / 2 + 0) / 2), "negative cosines count 0"
    assert consistency(vectors[:1]) is None


def test_a_still_is_wholly_consistent_and_a_moving_square_less(dino, clip) -> None:
    for metric in (subject_consistency(dino, "cpu"), background_consistency(clip, "cpu")):
        assert metric.measure(STILL) == pytest.approx(1, abs=1e-5)
        assert metric.measure(MOVING) < metric.measure(STILL)


def test_frames_are_seen_alone_whatever_is_beside_them(clip) -> None:
    embed = clip_embedder(clip, "cpu")
    frames = np.concatenate([moving_square(13, seed=n) for n in range(2)])
    assert torch.allclose(embed(frames)[20:], embed(frames[20:]), atol=1e-5)


def test_the_aesthetic_head_is_linear_and_over_ten(clip, tmp_path) -> None:
    weight, bias = torch.randn(1, 12), torch.tensor([5.0])
    save_file({"weight": weight, "bias": bias}, tmp_path / "head.safetensors")
    torch.save({"weight": weight, "bias": bias}, tmp_path / "head.pth")
    seen = clip_embedder(clip, "cpu")(MOVING.frames)
    for name in ("head.safetensors", "head.pth"):
        value = aesthetic_quality(clip, tmp_path / name, "cpu").measure(MOVING)
        assert value == pytest.approx(float((seen @ weight.T + bias).mean() / 10), abs=1e-6)


def test_a_published_clip_that_numbers_its_positions_loads(clip, tmp_path) -> None:
    """As openai/clip-vit-base-patch32 does: whole numbers beside the weights."""
    shutil.copytree(clip, tmp_path / "clip")
    tensors = load_file(clip / "model.safetensors")
    positions = {f"{part}_model.embeddings.position_ids": torch.arange(5)[None] for part in ("text", "vision")}
    save_file(tensors | positions, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    own, same = (clip_embedder(folder, "cpu")(STILL.frames) for folder in (clip, tmp_path / "clip"))
    assert torch.equal(own, same)


def test_weights_that_are_not_what_they_should_be_are_refused(clip, dino, tmp_path, capsys) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        subject_consistency(tmp_path / "nowhere", "cpu")
    with pytest.raises(ModelError, match="missing"):
        background_consistency(dino, "cpu").measure(STILL)
    assert "MISSING" not in "".join(capsys.readouterr()), "told in our own words alone"
    save_file({"weight": torch.zeros(1, 5), "bias": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="takes 5 numbers"):
        aesthetic_quality(clip, tmp_path / "other.safetensors", "cpu").measure(STILL)
    save_file({"layers": torch.zeros(1, 5)}, tmp_path / "wrong.safetensors")
    with pytest.raises(ConfigError, match="linear head"):
        aesthetic_quality(clip, tmp_path / "wrong.safetensors", "cpu")
