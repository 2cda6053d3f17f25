import json

import numpy as np
import pytest
import torch

from motive.lab import train as lab_train
from motive.lab import world
from motive.lab.motions import PHYSICAL
from motive.lab.optimise import optimise, write_curve
from motive.lab.samples import generate
from motive.lab.train import MAX_TOKENS, Recipe, draw_spec, train, vocabulary
from motive.models.build import word_tokenizer
from motive.models.registry import load_model
from motive.progress import Silent

SHORT = Recipe(clips=6, vae_steps=4, denoiser_steps=4, batch=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    train(folder, SHORT, "cpu", Silent())
    return folder


def test_training_ends_in_a_pipeline_that_generates_and_attributes(trained) -> None:
    model = load_model(str(trained / "model"), [0.75], "cpu")
    assert model.trained
    assert model.latent_stride == (4, 8, 8)
    assert model.text_tokens == MAX_TOKENS
    assert generate(trained / "model", ["a small striped red disc bounces"]).shape == (1, world.FRAMES, 64, 64, 3)
    size = sum(file.stat().st_size for file in (trained / "model").rglob("*"))
    assert size < 20e6, "what ships must stay below 20 MB"


def test_every_stage_is_kept_and_not_done_again(trained, monkeypatch) -> None:
    monkeypatch.setattr(lab_train, "optimise", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(lab_train, "_render_small", lambda *_: pytest.fail("rendered again"))
    assert train(trained, SHORT, "cpu", Silent()) == trained / "model"


def test_latents_are_normalised(trained) -> None:
    latents = np.load(trained / "latents.npy").astype(np.float64)
    assert latents.shape == (6, 16, 5, 8, 8)
    assert abs(latents.mean(axis=(0, 2, 3, 4))).max() < 0.5
    assert np.allclose(latents.std(axis=(0, 2, 3, 4)), 1, atol=0.5)


def test_an_interrupted_stage_goes_on_to_the_same_weights(tmp_path) -> None:
    def trained_to(folder, stop: int | None) -> torch.Tensor:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        layer = torch.nn.Linear(8, 8)

        def loss(step: int) -> torch.Tensor:
            if step == stop:
                raise KeyboardInterrupt
            return layer(torch.full((2, 8), 0.1 * step)).square().mean()

        optimise("layer", [layer], loss, 12, folder, "cpu", Silent(), averaging=0.9, save_every=0)
        return layer.weight.detach().clone()

    whole = trained_to(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        trained_to(tmp_path / "parts", 7)
    assert torch.equal(trained_to(tmp_path / "parts", None), whole)


def test_captions_need_no_letter_by_letter_spelling() -> None:
    tokenizer = word_tokenizer(vocabulary(), MAX_TOKENS)
    for number in range(200):
        words = world.caption(draw_spec(0, number), True)
        pieces = tokenizer.tokenize(words)
        whole = [word for word in words.replace(",", "").split() if len(word) > 1]
        assert {"\u2581" + word for word in whole} <= set(pieces), words
        assert len(tokenizer(words).input_ids) <= MAX_TOKENS


def test_in_the_training_world_looks_tell_nothing_of_the_motion() -> None:
    specs = [draw_spec(0, number) for number in range(4000)]
    red = [spec.motion for spec in specs if spec.looks.colour == "red"]
    for motion in PHYSICAL:
        share = np.mean([spec.motion == motion for spec in specs])
        assert abs(np.mean([m == motion for m in red]) - share) < 4 * np.sqrt(share / len(red))


def test_the_loss_curve_is_kept(tmp_path) -> None:
    write_curve(tmp_path / "curve.jsonl", [1.0] * 50 + [0.5] * 50)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert lines == [{"step": 50, "loss": 1.0}, {"step": 100, "loss": 0.5}]
