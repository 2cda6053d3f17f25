"""Fine-tuning: what comes out, what it depends on, and what is refused."""

import json
import shutil

import pytest
import torch
from diffusers import WanPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motive import verbs
from motive.errors import ConfigError, ModelError, MotiveError, StoreError
from motive.files import read_jsonl, sha256_file, write_jsonl
from motive.gradients.loss import clip_losses, shared_noise
from motive.models.registry import load_model
from motive.training.finetune import train
from motive.training.tuning import make_tunable, plain_weights

PART = "transformer/diffusion_pytorch_model.safetensors"


def tuned(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / PART)


def pipeline(folder) -> WanPipeline:
    made = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def video(pipe: WanPipeline) -> torch.Tensor:
    """What diffusers alone generates, from noise that is always the same."""
    noise = torch.Generator().manual_seed(0)
    size = {"height": 48, "width": 64, "num_frames": 5, "num_inference_steps": 2}
    return pipe("a square", guidance_scale=1.0, generator=noise, output_type="pt", **size).frames


def test_arms_take_the_same_steps_and_are_recorded(run) -> None:
    folders = train(run("train.log=tensorboard"), ["base", "motive", "full@3"])
    assert [folder.name for folder in folders] == ["motive", "full@3"]
    for folder, name, seed, clips in zip(folders, ("motive", "full"), (0, 3), (2, 6), strict=True):
        record = json.loads((folder / "arm.json").read_text())
        assert {key: record[key] for key in ("arm", "name", "seed", "steps", "clips", "state")} == {
            "arm": folder.name,
            "name": name,
            "seed": seed,
            "steps": 4,
            "clips": clips,
            "state": "done",
        }
        lines = read_jsonl(folder / "loss.jsonl")
        assert [line["step"] for line in lines] == [0, 1, 2, 3]
        assert all(line["loss"] > 0 and line["rate"] == 0.001 for line in lines)
        assert next((folder / "log").glob("events.out.tfevents.*")).stat().st_size > 0
        assert not (folder / "checkpoint.safetensors").exists()


def test_the_same_clips_under_another_name_and_in_another_order_give_the_same_weights(run) -> None:
    config = run()
    lines = read_jsonl(config.out / "selection.jsonl")
    (config.out / "baselines").unlink()
    write_jsonl(config.out / "baselines" / "twin" / "selection.jsonl", reversed(lines))
    one, two, other = train(config, ["motive", "twin", "motive@1"])
    assert sha256_file(one / "model" / PART) == sha256_file(two / "model" / PART)
    assert sha256_file(one / "model" / PART) != sha256_file(other / "model" / PART)


def test_a_trained_folder_is_a_whole_pipeline_of_its_own(run, tiny_wan) -> None:
    (folder,) = train(run("train.rate=0.01"), ["motive"])
    before, after = video(pipeline(tiny_wan)), video(pipeline(folder / "model"))
    assert before.shape == after.shape
    assert (before != after).any()
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        for file in (folder / "model" / part).iterdir():
            assert file.is_file() and not file.is_symlink(), "the folder must stay whole when the base model's is gone"
            assert sha256_file(file) == sha256_file(tiny_wan / part / file.name)


def test_a_models_own_words_lead_nowhere(run, tiny_wan, tmp_path) -> None:
    """Names in a model's index are folders of it, not ways out of it, nor to the denoiser by another name."""
    hostile = tmp_path / "hostile"
    shutil.copytree(tiny_wan, hostile)
    index = json.loads((hostile / "model_index.json").read_text())
    index |= {"..": ["a", "B"], "./transformer": ["diffusers", "WanTransformer3DModel"], "": ["a", "B"]}
    (hostile / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "arm.json").write_text("{}")
    config = run("train.rate=0.01")
    model = config.model.model_copy(update={"path": str(hostile)})
    (folder,) = train(config.model_copy(update={"model": model}), ["motive"])
    assert json.loads((folder / "arm.json").read_text())["state"] == "done"
    base = load_file(hostile / PART)
    assert any((tensor != base[name]).any() for name, tensor in tuned(folder).items())


def test_an_adapter_loads_in_diffusers_and_is_what_was_trained(run, tiny_wan) -> None:
    settings = ("train.method=lora", "train.rank=4", "train.alpha=8", "train.rate=0.01")
    config = run(*settings, name="lora")
    (folder,) = train(config, ["motive"])
    pipe = pipeline(tiny_wan)
    before = video(pipe)
    pipe.load_lora_weights(folder / "lora")
    after = video(pipe)
    assert (before - after).abs().max() > 1e-4
    merged = pipeline(tiny_wan)
    merged.transformer.load_state_dict(plain_weights(pipe.transformer))
    torch.testing.assert_close(video(merged), after, atol=1e-5, rtol=1e-4)


def test_an_adapter_begins_as_no_change_and_follows_from_the_seed(run, tiny_wan) -> None:
    options = run("train.method=lora").train
    made = [load_model(str(tiny_wan), [0.75], "cpu").denoiser for _ in range(3)]
    parameters = [make_tunable(denoiser, options, seed) for denoiser, seed in zip(made, (1, 1, 2), strict=True)]
    assert all(".lora_" in name for name in parameters[0])
    assert all((value == parameters[1][name]).all() for name, value in parameters[0].items())
    assert any((value != parameters[2][name]).any() for name, value in parameters[0].items())
    plain = load_model(str(tiny_wan), [0.75], "cpu").denoiser.state_dict()
    begun = plain_weights(made[0])
    assert begun.keys() == plain.keys()
    assert all((value == begun[name]).all() for name, value in plain.items())


def test_training_on_a_clip_lowers_its_loss(run, tiny_wan, scored) -> None:
    config = run("train.steps=40", "train.rate=0.003", "train.precision=bf16", "train.ema=0.9")
    (folder,) = train(config, ["motive"])
    entry = read_jsonl(config.out / "selection.jsonl")[0]
    clip = load_file(config.out / "prepared" / "clips" / f"{entry['key'][:32]}.safetensors")
    losses = []
    for source in (tiny_wan, folder / "model"):
        model = load_model(str(source), [0.75], "cpu")
        noise = shared_noise(5, clip["latents"].shape)
        one = torch.ones_like(clip["mask"])
        with torch.no_grad():
            losses.append(float(clip_losses(model, [clip["latents"]], [clip["text"]], [one], noise, 0.5)[0]))
    assert losses[1] < 0.95 * losses[0]


@pytest.mark.parametrize("setting", ["train.accumulation=3", "train.checkpointing=true"])
def test_what_only_saves_memory_changes_nothing_but_rounding(run, setting) -> None:
    (plain,) = train(run(name="plain"), ["motive"])
    (other,) = train(run(setting, name="other"), ["motive"])
    torch.testing.assert_close(tuned(other), tuned(plain), atol=2e-5, rtol=1e-4)


def test_other_settings_are_refused_and_the_same_ones_do_nothing(run) -> None:
    (folder,) = train(run(), ["motive"])
    stamp = (folder / "arm.json").stat().st_mtime_ns
    train(run("train.log=tensorboard"), ["motive"])
    assert (folder / "arm.json").stat().st_mtime_ns == stamp
    with pytest.raises(StoreError, match=r"train\.rate: stored 0\.001, now 0\.002"):
        train(run("train.rate=0.002"), ["motive"])
    selection = run().out / "selection.jsonl"
    fewer = read_jsonl(selection)[:1]
    selection.unlink()
    write_jsonl(selection, fewer)
    with pytest.raises(StoreError, match="clips: stored"):
        train(run(), ["motive"])


def test_clips_that_are_not_prepared_are_told_with_what_to_do(run, scored) -> None:
    config = run("store.cache=false")
    (config.out / "prepared").unlink()
    shutil.copytree(scored / "prepared", config.out / "prepared", ignore=shutil.ignore_patterns("clips"))
    with pytest.raises(StoreError, match=r"(?s)2 of the 2 clips of the arm motive.*store\.cache is false.*motive prepare"):
        train(config, ["motive"])
    assert verbs.prepare(config) == []
    assert train(config, ["motive"])


@pytest.mark.parametrize(
    ("arm", "settings", "told"),
    [
        ("motive/../x", [], "no arm"),
        ("jepa", [], r"baselines/jepa/selection\.jsonl: missing.*motive baseline"),
        ("motive", ["train.log=wandb"], "wandb, which is not installed"),
        ("motive", ["train.method=lora", 'train.targets=["to_x"]'], "'to_x' fits none"),
    ],
)
def test_what_cannot_be_trained_is_told(run, arm, settings, told) -> None:
    with pytest.raises(MotiveError, match=f"(?s){told}"):
        train(run(*settings), [arm])


def test_a_loss_that_is_not_finite_ends_the_training(run, scored) -> None:
    config = run()
    (config.out / "prepared").unlink()
    shutil.copytree(scored / "prepared", config.out / "prepared")
    for file in (config.out / "prepared" / "clips").glob("*.safetensors"):
        with safe_open(file, "pt") as kept:
            tensors, told = {name: kept.get_tensor(name) for name in kept.keys()}, kept.metadata()  # noqa: SIM118
        save_file(tensors | {"latents": tensors["latents"] * float("nan")}, file, told)
    with pytest.raises(ModelError, match="in step 0 of motive the loss is nan"):
        train(config, ["motive"])
    assert not (config.out / "arms" / "motive" / "model").exists()


def test_a_warmup_longer_than_training_is_refused(run) -> None:
    with pytest.raises(ConfigError, match="warmup is 4 of only 4 steps"):
        run("train.warmup=4")
