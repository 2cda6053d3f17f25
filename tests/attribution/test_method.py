"""The whole pipeline, from video files to influence, against the plain float64 method."""

from pathlib import Path

import numpy as np
import pytest
import torch

import motive
from motive.attribution.features import clip_attributor
from motive.attribution.prepare import PreparedFolder
from motive.config import Config, load_config
from motive.gradients.loss import shared_noise
from motive.models.registry import load_model
from motive.motion.trackers import TRACKERS
from motive.verbs import index, read_clips, score, select
from motive.video.decode import Sampling, decode
from tests.conftest import settings
from tests.reference import method


def reference_gradients(config: Config, which: str) -> dict[str, np.ndarray]:
    """Clip id -> gradient, from the video file on, sharing only decoding, tracking and the model with the pipeline."""
    model = load_model(config.model.path, config.gradients.sigmas, "cpu")
    video = config.video
    noise = shared_noise(config.seed, model.latent_shape(video.frames, video.height, video.width))
    gradients = {}
    for clip in read_clips(config, which):
        assert clip.path is not None
        frames = decode(clip.path, Sampling(video.frames, video.fps, video.height, video.width)).frames
        weight = torch.from_numpy(method.mask(TRACKERS["dis"](frames)))
        gradients[clip.id] = method.gradient(
            model.denoiser,
            model.encode_video(frames),
            model.encode_text([clip.caption])[0],
            weight,
            noise,
            list(config.gradients.sigmas),
        )
    return gradients


def test_exact_influence_is_the_reference_influence(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    more = ["gradients.projector=exact", "motion.floor=0"]
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", *more))
    index(config)
    scores = score(config)
    pool, queries = reference_gradients(config, "pool"), reference_gradients(config, "queries")
    ids = scores.clips["id"].to_pylist()
    expected = method.influence([pool[i] for i in ids], [queries[q["id"]] for q in scores.queries])
    assert scores.error_bar == 0
    assert abs(scores.influence - expected).max() < 1e-5
    for name, norm in zip(ids, scores.clips["gradient_norm"].to_pylist(), strict=True):
        assert norm == pytest.approx(np.linalg.norm(pool[name]), rel=1e-4)
    selection = select(config)
    assert selection.votes.tolist() == method.votes(scores.influence.astype(float), config.selection.keep)


def test_fastfood_influence_is_the_reference_influence_within_its_error(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    more = ["motion.floor=0", "gradients.dim=4096"]
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", *more))
    index(config)
    scores = score(config)
    pool, queries = reference_gradients(config, "pool"), reference_gradients(config, "queries")
    expected = method.influence([pool[i] for i in scores.clips["id"].to_pylist()], [queries[q["id"]] for q in scores.queries])
    assert scores.error_bar == pytest.approx(1 / 64)
    assert abs(scores.influence - expected).max() < 4 * scores.error_bar


def test_a_clip_has_influence_one_on_itself(pool_folder, tiny_wan, tmp_path) -> None:
    config = load_config(None, settings(pool_folder, pool_folder, tiny_wan, tmp_path / "run"))
    index(config)
    scores = score(config)
    assert np.diag(scores.influence) == pytest.approx(1, abs=1e-6)
    assert scores.clips["id"].to_pylist() == [query["id"] for query in scores.queries]


def test_a_mask_of_ones_and_uniform_weighting_are_the_same(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    """A floor that calls every clip static gives masks of ones; uniform weighting ignores the masks."""
    common = settings(pool_folder, query_folder, tiny_wan, tmp_path / "a", "motion.floor=1000")
    other = settings(pool_folder, query_folder, tiny_wan, tmp_path / "b", "gradients.weighting=uniform")
    results = []
    for overrides in (common, other):
        config = load_config(None, overrides)
        index(config)
        results.append(score(config))
    assert np.array_equal(results[0].influence, results[1].influence)
    assert set(results[0].clips["label"].to_pylist()) == {"static"}


@pytest.mark.parametrize("more", [["--no-cache"], ["store.shard_size=2"], ["gradients.checkpointing=true"]])
def test_scores_do_not_depend_on_how_the_work_is_done(pool_folder, query_folder, tiny_wan, tmp_path, more) -> None:
    more = ["store.cache=false"] if more == ["--no-cache"] else more
    influences = []
    for name, extra in (("plain", []), ("other", more)):
        config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / name, *extra))
        index(config)
        influences.append(score(config).influence)
    assert np.array_equal(*influences)


def test_scores_do_not_depend_on_the_order_of_the_pool(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    names = sorted(path.name for path in pool_folder.glob("*.mp4"))
    influences = []
    for label, order in (("a", names), ("b", names[::-1])):
        manifest = pool_folder / f"{label}.csv"
        manifest.write_text("video,prompt\n" + "".join(f"{name},a square\n" for name in order))
        config = load_config(None, settings(manifest, query_folder, tiny_wan, tmp_path / label))
        index(config)
        scores = score(config)
        influences.append(dict(zip(scores.clips["name"].to_pylist(), scores.influence.tolist(), strict=True)))
        manifest.unlink()
    assert influences[0] == influences[1]


def test_float16_features_move_a_score_by_less_than_a_thousandth(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    influences = []
    for precision in ("float32", "float16"):
        overrides = settings(pool_folder, query_folder, tiny_wan, tmp_path / precision, f"store.features={precision}")
        config = load_config(None, overrides)
        index(config)
        influences.append(score(config).influence)
    assert 0 < abs(influences[0] - influences[1]).max() < 1e-3


def test_attributing_again_decodes_nothing(pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch) -> None:
    first = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    index(first)
    second = first.model_copy(update={"seed": 7})
    for which in ("pool", "queries"):
        (tmp_path / "run" / which).rename(tmp_path / f"old-{which}")

    def no_decoding(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("motive.attribution.prepare.decode", no_decoding)
    done = index(second)
    assert (done.pool, done.queries, done.failed) == (6, 2, [])


def test_prepared_inputs_come_back_as_they_were(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    index(config)
    fingerprint = __import__("json").loads((tmp_path / "run/prepared/prepared.json").read_text())
    folder = PreparedFolder(tmp_path / "run" / "prepared", fingerprint)
    clip = read_clips(config, "pool").clips[0]
    prepared = folder.load(clip)
    assert prepared.latents.shape == (16, 3, 6, 8)
    assert prepared.mask.shape == (3, 6, 8)
    assert prepared.latents.dtype == prepared.mask.dtype == torch.float32
    assert 0 <= prepared.mask.min() <= prepared.mask.max() <= 1
    assert prepared.facts.label == "moving"
    model = load_model(config.model.path, config.gradients.sigmas, "cpu")
    assert clip_attributor(config, model)(prepared).feature.norm() == pytest.approx(1)


def test_the_public_names_are_the_verbs() -> None:
    assert motive.run is not None
    assert callable(motive.index)
    with pytest.raises(AttributeError):
        _ = motive.nonsense


def test_fixtures_show_real_motion(pool_folder: Path) -> None:
    frames = decode(pool_folder / "clip3.mp4", Sampling(9, 16, 48, 64)).frames
    assert np.median(np.abs(TRACKERS["dis"](frames)[4, 20:28, 20:40, 0])) > 0.5
