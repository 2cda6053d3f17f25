"""Generated videos: of the same prompts from the same noise, each made once."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

from motive.config import load_config
from motive.errors import ConfigError, StoreError
from motive.evaluation.study.samples import read_samples
from motive.files import read_jsonl, sha256_file
from motive.models.registry import load_model
from motive.training.arms import read_arms
from motive.training.finetune import train
from motive.training.generate import generate
from motive.training.prompts import read_prompts
from motive.training.samples import sample_noise, samples_of
from motive.verbs import index
from motive.video.decode import Sampling, decode
from motive.video.write import write_video
from tests.conftest import settings


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.csv"
    file.write_text("id,prompt,motion\nroll-1,a disc rolls,roll\nfall,a square falls,\n", encoding="utf-8")
    return file


def hashes(folder) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*.mp4")}


def difference(one, other) -> float:
    """Of two videos, in grey levels."""
    frames = [decode(file, Sampling(9, 16, 48, 64)).frames.astype(float) for file in (one, other)]
    return float(np.abs(frames[0] - frames[1]).mean())


def test_every_arm_makes_the_same_prompts_and_seeds(run, prompts) -> None:
    config = run(f"generate.prompts={prompts}", "generate.seeds=2", "generate.batch=3", "train.rate=0.01")
    train(config, ["motive"])
    folder = generate(config, ["base", "motive"])
    assert folder == config.out / "samples"
    assert read_jsonl(folder / "prompts.jsonl") == [
        {"id": "roll-1", "prompt": "a disc rolls", "motion": "roll"},
        {"id": "fall", "prompt": "a square falls"},
    ]
    samples = read_samples(folder)
    assert samples.left_out == ()
    expected = {("roll-1", 0), ("roll-1", 1), ("fall", 0), ("fall", 1)}
    assert {arm: set(videos) for arm, videos in samples.videos.items()} == {"base": expected, "motive": expected}
    assert decode(folder / "base" / "fall-0.mp4", Sampling(9, 16, 48, 64)).frames.shape == (9, 48, 64, 3)
    about = json.loads((folder / "motive" / "fall-1.json").read_text())
    told = {"prompt": "a square falls", "seed": 1, "steps": 2, "guidance": 3, "fps": 16, "frames": 9, "arm": "motive"}
    assert about | told == about
    found = hashes(folder)
    assert len(set(found.values())) == 8, "arms, prompts and seeds all differ"


def test_noise_follows_from_prompt_and_seed_alone(run, prompts) -> None:
    config = run(f"generate.prompts={prompts}", "generate.seeds=2")
    train(config, ["motive"])
    model = load_model(config.model.path, [0.75], "cpu")
    arms = [samples_of(config, arm, read_prompts(config), model) for arm in read_arms(config, ["base", "motive"])]
    noise = [[sample_noise(sample, (16, 3, 6, 8)) for sample in plan] for plan in arms]
    assert all((one == other).all() for one, other in zip(*noise, strict=True))
    assert len({float(one[0, 0, 0, 0]) for one in noise[0]}) == 4


def test_a_video_is_what_diffusers_makes_of_the_folder(run, prompts, tmp_path) -> None:
    config = run(f"generate.prompts={prompts}")
    (folder,) = train(config, ["motive"])
    made = generate(config, ["motive"]) / "motive" / "fall-0.mp4"
    model = load_model(config.model.path, [0.75], "cpu")
    sample = samples_of(config, *read_arms(config, ["motive"]), read_prompts(config), model)[1]
    pipe = WanPipeline.from_pretrained(folder / "model", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    video = pipe(
        "a square falls",
        latents=sample_noise(sample, (16, 3, 6, 8))[None],
        height=48,
        width=64,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=3.0,
    ).frames[0]
    write_video(tmp_path / "other.mp4", (video * 255 + 0.5).astype(np.uint8), 16)
    assert difference(made, tmp_path / "other.mp4") < 0.5


def test_what_is_there_stays_and_what_is_missing_is_made_as_it_was(run, prompts, tmp_path) -> None:
    config = run(f"generate.prompts={prompts}", "generate.seeds=2", "generate.batch=2")
    folder = generate(config, ["base"])
    folder.rename(tmp_path / "before")
    shutil.copytree(tmp_path / "before", folder)
    (folder / "base" / "fall-1.mp4").unlink()
    # A kill between a video and what stands beside it.
    (folder / "base" / "roll-1-1.json").unlink()
    generate(config, ["base"])
    again = {"base/fall-1.mp4", "base/roll-1-1.mp4"}
    before, after = hashes(tmp_path / "before"), hashes(folder)
    assert {name: after[name] for name in after.keys() - again} == {name: before[name] for name in before.keys() - again}
    # Their frames are the same, which x264 does not write the same each time.
    assert all(difference(folder / name, tmp_path / "before" / name) < 0.5 for name in again)
    stamps = [path.stat().st_mtime_ns for path in sorted(folder.rglob("*-*.*"))]
    generate(config, ["base"])
    assert [path.stat().st_mtime_ns for path in sorted(folder.rglob("*-*.*"))] == stamps


def test_other_settings_are_refused_before_anything_is_made(run, prompts) -> None:
    config = run(f"generate.prompts={prompts}")
    folder = generate(config, ["base"])
    with pytest.raises(StoreError, match=r"(?s)fall-0\.mp4 was made.*steps: stored 2, now 3|roll-1-0.*steps: stored 2, now 3"):
        generate(run(f"generate.prompts={prompts}", "generate.steps=3"), ["base"])
    prompts.write_text("id,prompt\nfall,a disc falls\n")
    with pytest.raises(StoreError, match="prompt: stored 'a square falls', now 'a disc falls'"):
        generate(config, ["base"])
    assert len(hashes(folder)) == 2


def test_videos_of_an_arm_that_was_trained_anew_are_refused(run, prompts) -> None:
    config = run(f"generate.prompts={prompts}")
    train(config, ["motive"])
    generate(config, ["motive"])
    shutil.rmtree(config.out / "arms" / "motive")
    other = run(f"generate.prompts={prompts}", "train.rate=0.01")
    train(other, ["motive"])
    with pytest.raises(StoreError, match="weights: stored"):
        generate(other, ["motive"])


def test_an_adapter_generates_through_the_base_model(run, prompts) -> None:
    config = run(f"generate.prompts={prompts}", "train.method=lora", "train.rank=4", "train.rate=0.01")
    train(config, ["motive"])
    found = hashes(generate(config, ["base", "motive"]))
    assert found["base/fall-0.mp4"] != found["motive/fall-0.mp4"]


def test_by_default_prompts_are_the_queries_captions_each_once(run) -> None:
    (prompt,) = read_prompts(run())
    assert (prompt.id, prompt.text, prompt.motion) == ("query0", "a square moves", None)


def test_a_queries_manifest_says_what_motion_its_prompts_want(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    queries = tmp_path / "queries.csv"
    queries.write_text(f"path,caption,motion\n{query_folder}/query0.mp4,a square,slide\n{query_folder}/query1.mp4,a disc,\n")
    root = f"root={query_folder.parent}"
    config = load_config(None, [root, *settings(pool_folder, queries, tiny_wan, tmp_path / "run", "engine.decoders=0")])
    index(config)
    assert [(prompt.text, prompt.motion) for prompt in read_prompts(config)] == [("a square", "slide"), ("a disc", None)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,prompt\n../up,a disc\n", "cannot be part of a file's name"),
        ("id,prompt\na,one\na,two\n", "'a' stands twice"),
        ("id,prompt\na,\n", "under 'prompt'"),
        ("id,prompt\n", "has no prompts"),
    ],
)
def test_prompts_that_cannot_be_used_are_told(run, tmp_path, text, told) -> None:
    (tmp_path / "prompts.csv").write_text(text)
    with pytest.raises(ConfigError, match=told):
        generate(run(f"generate.prompts={tmp_path / 'prompts.csv'}"), ["base"])


@pytest.mark.parametrize(("label", "motion"), [("x" * 200, "x" * 80), (" ", None), ("", None), (3, None), (" fall ", "fall")])
def test_a_motions_label_is_one_that_samples_can_be_read_with(run, tmp_path, label, motion) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"id": "one", "prompt": "a square", "motion": label}) + "\n")
    (prompt,) = read_prompts(run(f"generate.prompts={file}"))
    assert prompt.motion == motion


def test_an_arm_that_is_not_trained_is_told(run) -> None:
    with pytest.raises(StoreError, match="not trained; run `motive train"):
        generate(run(), ["motive"])
