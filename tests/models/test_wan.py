import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from motive.errors import ConfigError, ModelError
from motive.gradients.parameters import fitting_names
from motive.models.base import VideoModel
from motive.models.build import SMALL, WAN_2_1_1_3B, build_wan
from motive.models.folder import find_folder
from motive.models.registry import load_model
from motive.models.wan import WanModel
from motive.motion.mask import to_latent_grid
from tests.conftest import TINY


def test_the_papers_model_has_the_papers_number_of_parameters() -> None:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        denoiser = WanTransformer3DModel(**WAN_2_1_1_3B)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == 1_418_996_800


def test_the_papers_size_gives_the_papers_latents_and_mask(tmp_path) -> None:
    """The real configuration through the adapter: the VAE's is diffusers' default, which is Wan 2.1's."""
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        vae = AutoencoderKLWan()
    vae.save_config(tmp_path / "vae")
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(WAN_2_1_1_3B))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline"}))
    model = load_model(str(tmp_path), [0.75075], "cpu")
    assert model.trained
    assert model.latent_stride == (4, 8, 8)
    assert model.latent_shape(81, 480, 832) == (16, 21, 60, 104)
    assert to_latent_grid(np.ones((81, 480, 832), np.float32), model.latent_stride).shape == (21, 60, 104)
    assert len(model.parameter_names()) == 825
    # 30 blocks of self-attention: four projections with biases, two norms.
    assert len(fitting_names(model.parameter_names(), ["*.attn1.*"])) == 30 * 10


def test_parameter_names_are_those_of_the_loaded_denoiser(model) -> None:
    assert model.parameter_names() == [name for name, _ in model.denoiser.named_parameters()]


@pytest.mark.parametrize(
    ("size", "message"),
    [((80, 480, 832), "video.frames is 80.*77"), ((81, 484, 832), "484 x 832.*16"), ((81, 480, 840), "480 x 840")],
)
def test_sizes_the_model_cannot_take_are_refused_before_anything_is_loaded(model, size, message) -> None:
    with pytest.raises(ConfigError, match=message):
        model.latent_shape(*size)


def test_latents_are_the_normalised_mean_of_the_posterior(model) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), dtype=np.uint8)
    latents = model.encode_video(frames)
    assert latents.shape == model.latent_shape(5, 32, 48)
    vae = model._vae
    pixels = torch.from_numpy(frames).float().permute(3, 0, 1, 2)[None] / 127.5 - 1
    raw = vae.encode(pixels).latent_dist.mean[0]
    for channel in range(16):
        expected = (raw[channel] - vae.config.latents_mean[channel]) / vae.config.latents_std[channel]
        assert torch.allclose(latents[channel], expected, atol=1e-5)


def test_captions_are_embedded_as_the_pipeline_embeds_them(model, tiny_wan) -> None:
    from diffusers import WanPipeline

    captions = ["a red disc falls", "zebra caf\u00e9 &amp;\n  rain", ""]
    pipeline = WanPipeline.from_pretrained(tiny_wan)
    expected, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False, max_sequence_length=512)
    for embedding, row in zip(model.encode_text(captions), expected, strict=True):
        assert torch.allclose(embedding, row[: len(embedding)], atol=1e-5)
        assert row[len(embedding) :].abs().max() == 0


def test_an_embedding_does_not_depend_on_its_company(model) -> None:
    alone = model.encode_text(["a red disc"])[0]
    together = model.encode_text(["a blue square spins", "a red disc"])[1]
    assert torch.equal(alone, together)


def test_the_error_is_that_of_flow_matching(model) -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(2, 16, 3, 4, 6), torch.randn(2, 16, 3, 4, 6)
    text = model.encode_text(["a disc", "a square moves left"])
    error = model.error(latents, text, noise, 0.75075)
    padded = torch.zeros(2, 512, TINY["text_dim"])
    for row, embedding in zip(padded, text, strict=True):
        row[: len(embedding)] = embedding
    noisy = 0.24925 * latents + 0.75075 * noise
    predicted = model.denoiser(noisy, torch.tensor([750.75, 750.75]), padded).sample
    assert torch.allclose(error, predicted - (noise - latents), atol=1e-5)


def test_the_timestep_reaches_a_bfloat16_model_unrounded(tiny_wan) -> None:
    model = load_model(str(tiny_wan), [0.75075], "cpu", "bfloat16")
    seen = []
    model.denoiser.condition_embedder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    text = model.encode_text(["a disc"])
    model.error(torch.randn(1, 16, 1, 4, 6), text, torch.randn(1, 16, 1, 4, 6), 0.75075).square().mean().backward()
    assert seen[0].dtype == torch.float32
    assert float(seen[0][0]) == 750.75
    assert {parameter.grad.dtype for parameter in model.denoiser.parameters()} >= {torch.bfloat16}


def saying(model: Path, place: Path, tokens: int | None) -> VideoModel:
    """A copy of a model whose tokenizer says that it takes so many tokens, or says nothing."""
    folder = place / f"takes {tokens}"
    shutil.copytree(model, folder)
    file = folder / "tokenizer" / "tokenizer_config.json"
    told = json.loads(file.read_text())
    told.pop("model_max_length", None)
    file.write_text(json.dumps(told if tokens is None else told | {"model_max_length": tokens}))
    return load_model(str(folder), [0.75], "cpu")


@pytest.mark.parametrize(("tokens", "expected"), [(32, 32), (None, 512), (512, 512), (10**30, 512)])
def test_text_is_padded_to_the_tokens_that_the_folder_was_trained_with(tiny_wan, tmp_path, tokens, expected) -> None:
    model = saying(tiny_wan, tmp_path, tokens)
    seen = []
    model.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    text = model.encode_text(["a disc", "a red square moves left"])
    model.error(torch.randn(2, 16, 1, 4, 6), text, torch.randn(2, 16, 1, 4, 6), 0.75)
    (padded,) = seen
    assert padded.shape == (2, expected, TINY["text_dim"])
    for row, embedding in zip(padded, text, strict=True):
        assert torch.equal(row[: len(embedding)], embedding)
        assert row[len(embedding) :].abs().max() == 0


def test_a_caption_is_cut_to_the_tokens_that_the_folder_was_trained_with(tiny_wan, tmp_path) -> None:
    model, plain = saying(tiny_wan, tmp_path, 32), load_model(str(tiny_wan), [0.75], "cpu")
    long, short = "red disc " * 50, "a red disc"
    assert len(model.encode_text([long])[0]) == 32
    assert 100 < len(plain.encode_text([long])[0]) <= 512
    (embedding,) = model.encode_text([long])
    assert model.error(torch.randn(1, 16, 1, 4, 6), [embedding], torch.randn(1, 16, 1, 4, 6), 0.75).isfinite().all()
    assert torch.allclose(model.encode_text([short])[0], plain.encode_text([short])[0], atol=1e-5)


def test_every_clip_of_a_batch_may_have_a_noise_level_of_its_own(model) -> None:
    torch.manual_seed(0)
    latents, noise = torch.randn(3, 16, 3, 4, 6), torch.randn(3, 16, 3, 4, 6)
    text = model.encode_text(["a disc", "a square moves left", ""])
    sigmas = [0.2, 0.75075, 0.9]
    together = model.error(latents, text, noise, torch.tensor(sigmas))
    for n, sigma in enumerate(sigmas):
        alone = model.error(latents[n : n + 1], text[n : n + 1], noise[n : n + 1], sigma)
        assert torch.allclose(together[n], alone[0], atol=1e-4)
        same = model.error(latents, text, noise, sigma)
        assert torch.allclose(together[n], same[n], atol=1e-4)
        assert not torch.allclose(together[n], model.error(latents, text, noise, sigmas[n - 1])[n], atol=1e-2)


def test_one_time_for_a_clip_is_the_prediction_with_that_time_for_every_token_as_wan_2_2_takes_it(tiny_wan, tmp_path) -> None:
    folder = tmp_path / "ti2v"
    shutil.copytree(tiny_wan, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"expand_timesteps": True}))
    model = load_model(str(folder), [0.75], "cpu")
    torch.manual_seed(0)
    latents, noise, sigmas = torch.randn(2, 16, 3, 4, 6), torch.randn(2, 16, 3, 4, 6), torch.tensor([0.75, 0.3])
    text = model.encode_text(["a disc", "a square"])
    error = model.error(latents, text, noise, sigmas)
    level = sigmas.view(-1, 1, 1, 1, 1)
    padded = torch.stack([torch.nn.functional.pad(row, (0, 0, 0, model.text_tokens - len(row))) for row in text])
    tokens = (1000 * sigmas)[:, None].expand(-1, 3 * 2 * 3)
    prediction = model.denoiser((1 - level) * latents + level * noise, tokens, padded, return_dict=False)[0]
    assert torch.allclose(error, prediction - (noise - latents), atol=1e-4)


def test_wan_2_2_a14b_uses_the_denoiser_of_the_noise_level(tiny_wan, tmp_path) -> None:
    folder = tmp_path / "a14b"
    shutil.copytree(tiny_wan, folder)
    shutil.copytree(folder / "transformer", folder / "transformer_2")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"boundary_ratio": 0.875, "transformer_2": ["diffusers", "WanTransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))

    def part(*sigmas: float) -> str:
        return WanModel(folder, torch.device("cpu"), torch.float32, sigmas).denoiser_part

    assert part(0.75075) == "transformer_2"
    assert part(0.9, 0.95) == "transformer"
    with pytest.raises(ConfigError, match=r"both sides.*0\.875"):
        part(0.75, 0.9)


def test_freeing_drops_every_part_and_using_loads_it_again(model) -> None:
    first = model.denoiser
    model.encode_text(["a disc"])
    model.free()
    assert not {"denoiser", "_vae", "_text"} & vars(model).keys()
    assert model.denoiser is not first


def test_the_fingerprint_follows_the_weights_and_nothing_else(tiny_wan, tmp_path) -> None:
    copy = tmp_path / "another name"
    shutil.copytree(tiny_wan, copy)
    (copy / "README.md").write_text("a model card")
    config = copy / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_diffusers_version": "99"}, indent=8))
    one, same = (load_model(str(folder), [0.75], "cpu") for folder in (tiny_wan, copy))
    assert one.fingerprint("denoiser") == same.fingerprint("denoiser")
    assert one.fingerprint("encoders") == same.fingerprint("encoders")
    build_wan(tmp_path / "other", TINY, seed=1)
    other = load_model(str(tmp_path / "other"), [0.75], "cpu")
    assert other.fingerprint("denoiser") != one.fingerprint("denoiser")
    assert other.fingerprint("encoders") != one.fingerprint("encoders")


def test_a_built_model_is_a_pipeline_and_says_that_it_is_untrained(tmp_path) -> None:
    from diffusers import WanPipeline

    build_wan(tmp_path / "wan", TINY)
    assert not load_model(str(tmp_path / "wan"), [0.75], "cpu").trained
    pipeline = WanPipeline.from_pretrained(tmp_path / "wan")
    pipeline.set_progress_bar_config(disable=True)
    video = pipeline("a red disc", num_frames=5, height=32, width=32, num_inference_steps=1, output_type="np").frames
    assert video.shape == (1, 5, 32, 32, 3)
    with pytest.raises(ModelError, match="not empty"):
        build_wan(tmp_path / "wan", TINY)


def test_building_with_one_seed_gives_one_model(tmp_path) -> None:
    for name in ("a", "b"):
        build_wan(tmp_path / name, SMALL, seed=3)
    one, same = (load_model(str(tmp_path / name), [0.75], "cpu") for name in ("a", "b"))
    assert one.fingerprint("denoiser") == same.fingerprint("denoiser")


def test_unusable_models_are_refused_in_words(tiny_wan, tmp_path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_model(str(tmp_path / "nothing"), [0.75], "cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"model_index\.json: missing"):
        load_model(str(tmp_path / "empty"), [0.75], "cpu")
    (tmp_path / "empty" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ModelError, match=r"StableDiffusionPipeline; supported are.*WanPipeline"):
        load_model(str(tmp_path / "empty"), [0.75], "cpu")
    with pytest.raises(ConfigError, match="not a device"):
        load_model(str(tiny_wan), [0.75], "tpu9")
    broken = tmp_path / "broken"
    shutil.copytree(tiny_wan, broken)
    (weights,) = (broken / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="transformer: cannot be loaded"):
        _ = load_model(str(broken), [0.75], "cpu").denoiser


def test_pickled_weights_are_never_loaded(tiny_wan, tmp_path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_wan, folder)
    (weights,) = (folder / "transformer").glob("*.safetensors")
    weights.unlink()
    torch.save({}, folder / "transformer" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _ = load_model(str(folder), [0.75], "cpu").denoiser


def test_a_hub_id_is_its_snapshot(tiny_wan, tmp_path, monkeypatch) -> None:
    """A cache laid out as the hub client lays it out, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="no such folder, and the model hub"):
        find_folder("someone/something")
    repo = tmp_path / "models--someone--wan"
    commit = "0" * 40
    shutil.copytree(tiny_wan, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    folder = find_folder("someone/wan")
    assert folder == Path(repo / "snapshots" / commit)
    assert load_model("someone/wan", [0.75], "cpu").latent_stride == (4, 8, 8)
