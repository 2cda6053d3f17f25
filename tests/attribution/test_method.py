"""The whole pipeline, from video files to influence, against the plain float64 method."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import motive
from motive.attribution.features import clip_attributor
from motive.attribution.prepare import Prepared, PreparedFolder
from motive.attribution.store import Store
from motive.config import Config, load_config
from motive.errors import ConfigError, StoreError
from motive.gradients.capture import Gradient
from motive.gradients.loss import shared_noise
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.motion.trackers import TRACKERS
from motive.verbs import index, prepare, read_clips, score, select
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


@pytest.mark.parametrize(
    "more", [["--no-cache"], ["store.shard_size=2"], ["gradients.checkpointing=true"], ["gradients.offload=true"]]
)
def test_scores_do_not_depend_on_how_the_work_is_done(pool_folder, query_folder, tiny_wan, tmp_path, more) -> None:
    more = ["store.cache=false"] if more == ["--no-cache"] else more
    influences = []
    for name, extra in (("plain", []), ("other", more)):
        config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / name, *extra))
        index(config)
        scores = score(config)
        influences.append(dict(zip(scores.clips["id"].to_pylist(), scores.influence.tolist(), strict=True)))
    assert influences[0] == influences[1]


@pytest.mark.parametrize(
    "more", [[], ["preset=best", "gradients.draws=2"], ["store.shard_size=3", "gradients.checkpointing=true"]]
)
def test_scores_do_not_depend_on_the_batch(pool_folder, query_folder, tiny_wan, tmp_path, more) -> None:
    (pool_folder / "broken.mp4").write_bytes(b"no video")
    results = []
    for batch in (1, 4):
        out = tmp_path / str(batch)
        config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out, f"gradients.batch={batch}", *more))
        done = index(config)
        assert (done.pool, len(done.failed)) == (6, 1)
        results.append(score(config))
    (pool_folder / "broken.mp4").unlink()
    one, other = results
    assert abs(one.influence - other.influence).max() < 1e-4 * abs(one.influence).max()
    for name in ("loss", "gradient_norm"):
        assert one.clips[name].to_pylist() == pytest.approx(other.clips[name].to_pylist(), rel=1e-4)


def test_a_model_whose_clips_cannot_be_told_apart_is_noticed(model, moving, tmp_path, monkeypatch) -> None:
    """As one with an embedding of positions, whose first axis is tokens: here the clips change places on the way in."""
    config = load_config(None, settings(tmp_path, tmp_path, tmp_path, tmp_path, "gradients.batch=2"))
    other = replace(moving, latents=3 * torch.randn(moving.latents.shape), mask=moving.mask.flip(1))
    assert len(features_of(config, model, "pool", [moving, other])) == 2
    model.denoiser.patch_embedding.register_forward_hook(lambda *arguments: arguments[2].flip(0))
    with pytest.raises(ConfigError, match=r"gradients\.batch=1"):
        features_of(config, model, "pool", [moving, other])


def test_a_run_interrupted_within_a_batch_ends_with_the_same_bytes(
    pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    whole, broken = (
        load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / name, "gradients.batch=4"))
        for name in ("whole", "broken")
    )
    index(whole)
    written: list[object] = []
    add_row = Store.add_row

    def add_two_rows(*row: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(add_row(*row))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add_row", add_two_rows)
        with pytest.raises(KeyboardInterrupt):
            index(broken)
    assert len(list((broken.out / "pool" / "rows").iterdir())) == 2
    index(broken)
    one, other = ({file.name: file.read_bytes() for file in (c.out / "pool" / "shards").iterdir()} for c in (whole, broken))
    assert one == other
    assert len(one) == 1


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


@pytest.mark.parametrize(("kept", "limit"), [("float16", 1e-3), ("int8", 5e-3)])
def test_shorter_features_move_a_score_by_little(pool_folder, query_folder, tiny_wan, tmp_path, kept, limit) -> None:
    influences = []
    for precision in ("float32", kept):
        overrides = settings(pool_folder, query_folder, tiny_wan, tmp_path / precision, f"store.features={precision}")
        config = load_config(None, overrides)
        index(config)
        influences.append(score(config).influence)
    assert 0 < abs(influences[0] - influences[1]).max() < limit


def test_attributing_again_decodes_nothing(pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch) -> None:
    first = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    index(first)
    second = first.model_copy(update={"seed": 7})
    for which in ("pool", "queries"):
        (tmp_path / "run" / which).rename(tmp_path / f"old-{which}")

    def no_decoding(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("motive.attribution.ahead.as_they_come", no_decoding)
    done = index(second)
    assert (done.pool, done.queries, done.failed) == (6, 2, [])


def test_prepared_inputs_come_back_as_they_were(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    index(config)
    fingerprint = json.loads((tmp_path / "run/prepared/prepared.json").read_text())
    folder = PreparedFolder(tmp_path / "run" / "prepared", fingerprint)
    clip = read_clips(config, "pool").clips[0]
    prepared = folder.load(clip)
    assert prepared.latents.shape == (16, 3, 6, 8)
    assert prepared.mask.shape == (3, 6, 8)
    assert prepared.latents.dtype == prepared.mask.dtype == torch.float32
    assert 0 <= prepared.mask.min() <= prepared.mask.max() <= 1
    assert prepared.facts.label == "moving"
    model = load_model(config.model.path, config.gradients.sigmas, "cpu")
    assert attributed(model, prepared, tmp_path).feature.norm() == pytest.approx(1)


def test_the_public_names_are_the_verbs() -> None:
    assert motive.run is not None
    assert callable(motive.index)
    with pytest.raises(AttributeError):
        _ = motive.nonsense


def test_fixtures_show_real_motion(pool_folder: Path) -> None:
    frames = decode(pool_folder / "clip3.mp4", Sampling(9, 16, 48, 64)).frames
    assert np.median(np.abs(TRACKERS["dis"](frames)[4, 20:28, 20:40, 0])) > 0.5


@pytest.fixture(scope="module")
def moving(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Prepared:
    """A clip of the pool, prepared."""
    out = tmp_path_factory.mktemp("run")
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out))
    assert prepare(config) == []
    fingerprint = json.loads((out / "prepared" / "prepared.json").read_text())
    return PreparedFolder(out / "prepared", fingerprint).load(read_clips(config, "pool").clips[2])


def attributed(model: VideoModel, prepared: Prepared, tmp_path: Path, *more: str) -> Gradient:
    config = load_config(None, settings(tmp_path, tmp_path, tmp_path, tmp_path, "gradients.projector=exact", *more))
    return features_of(config, model, "pool", [prepared])[0]


def features_of(config: Config, model: VideoModel, which: str, clips: list[Prepared]) -> list[Gradient]:
    found = clip_attributor(config, model, which)(clips)
    assert all(isinstance(gradient, Gradient) for gradient in found)
    return [gradient for gradient in found if isinstance(gradient, Gradient)]


def true_gradients(model: VideoModel, prepared: Prepared, sigmas: list[float], temporal: bool = False) -> list[np.ndarray]:
    """The reference gradient of each draw alone: its own noise, and its noise level."""
    return [
        method.gradient(
            model.denoiser,
            prepared.latents,
            prepared.text,
            prepared.mask,
            shared_noise(0, prepared.latents.shape, draw),
            [sigma],
            temporal,
        )
        for draw, sigma in enumerate(sigmas)
    ]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def off(gradient: Gradient, vector: np.ndarray) -> float:
    """How far a feature is from a vector's direction, at its worst number, against its largest."""
    return float(abs(gradient.feature.numpy() - unit(vector)).max() / abs(unit(vector)).max())


@pytest.mark.parametrize("draws", [1, 3])
def test_the_temporal_error_gives_the_reference_gradient(model, moving, tmp_path, draws) -> None:
    found = attributed(model, moving, tmp_path, "gradients.error=temporal", f"gradients.draws={draws}")
    noises = [shared_noise(0, moving.latents.shape, draw) for draw in range(draws)]
    sigmas = [0.75075] * draws
    true = method.gradient(model.denoiser, moving.latents, moving.text, moving.mask, noises, sigmas, temporal=True)
    assert off(found, true) < 1e-4
    assert found.projected_norm == pytest.approx(np.linalg.norm(true), rel=1e-4)
    whole = attributed(model, moving, tmp_path, f"gradients.draws={draws}")
    assert off(whole, true) > 1e-2


def test_several_draws_at_one_noise_level_have_a_noise_each(model, moving, tmp_path) -> None:
    found = attributed(model, moving, tmp_path, "gradients.draws=3")
    single = true_gradients(model, moving, [0.75075] * 3)
    assert off(found, np.mean(single, axis=0)) < 1e-4
    assert found.projected_norm == pytest.approx(np.linalg.norm(np.mean(single, axis=0)), rel=1e-4)
    assert found.norm == pytest.approx(np.sqrt(np.mean([gradient @ gradient for gradient in single])), rel=1e-4)
    for one in single:
        assert off(found, one) > 1e-2


def test_one_draw_is_the_default_and_the_first_of_several(model, moving, tmp_path) -> None:
    default, one = (attributed(model, moving, tmp_path, *more) for more in ([], ["gradients.draws=1"]))
    assert torch.equal(default.feature, one.feature)
    assert off(one, true_gradients(model, moving, [0.75075])[0]) < 1e-4


@pytest.mark.parametrize(("draws", "levels"), [(None, [0.3, 0.6]), (1, [0.3]), (2, [0.3, 0.6]), (5, [0.3, 0.6, 0.3, 0.6, 0.3])])
def test_draws_take_the_noise_levels_in_turn_and_by_default_each_once(model, moving, tmp_path, draws, levels) -> None:
    more = ["gradients.sigmas=[0.3, 0.6]"] + ([] if draws is None else [f"gradients.draws={draws}"])
    assert off(attributed(model, moving, tmp_path, *more), np.mean(true_gradients(model, moving, levels), axis=0)) < 1e-4


def test_what_is_averaged_is_gradients_or_their_directions(model, moving, tmp_path) -> None:
    """At noise levels whose gradients differ in length, so that the two means differ."""
    common = ["gradients.sigmas=[0.1, 0.95]", "gradients.draws=4"]
    gradients, directions = (
        attributed(model, moving, tmp_path, *common, f"gradients.average={what}") for what in ("gradients", "directions")
    )
    single = true_gradients(model, moving, [0.1, 0.95] * 2)
    mean, mean_direction = np.mean(single, axis=0), np.mean([unit(gradient) for gradient in single], axis=0)
    assert off(gradients, mean) < 1e-4
    assert off(directions, mean_direction) < 1e-4
    assert off(gradients, mean_direction) > 1e-2
    assert directions.norm == pytest.approx(gradients.norm, rel=1e-5)
    assert directions.loss == pytest.approx(gradients.loss, rel=1e-5)
    assert directions.feature.norm() == pytest.approx(1)


def test_directions_of_one_draw_are_its_gradient(model, moving, tmp_path) -> None:
    one, other = (attributed(model, moving, tmp_path, f"gradients.average={w}") for w in ("gradients", "directions"))
    assert torch.allclose(one.feature, other.feature, atol=1e-7)
    assert one.projected_norm == pytest.approx(other.projected_norm)


def test_features_of_other_draws_or_errors_do_not_mix(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    common = settings(pool_folder, query_folder, tiny_wan, tmp_path / "run")
    index(load_config(None, common))
    for more in ("gradients.draws=2", "gradients.error=temporal", "gradients.average=directions"):
        with pytest.raises(StoreError, match=more.split("=")[0] + ": stored"):
            index(load_config(None, [*common, more]))


def test_weighting_the_queries_alone_gives_clips_the_plain_gradient_and_queries_the_masked_one(model, moving, tmp_path) -> None:
    both = ["motion", "uniform", "queries"]
    configs = {
        name: load_config(None, settings(tmp_path, tmp_path, tmp_path, tmp_path, f"gradients.weighting={name}"))
        for name in both
    }
    as_clip, as_query = (features_of(configs["queries"], model, which, [moving])[0].feature for which in ("pool", "queries"))
    assert torch.equal(as_clip, features_of(configs["uniform"], model, "pool", [moving])[0].feature)
    assert torch.equal(as_query, features_of(configs["motion"], model, "queries", [moving])[0].feature)
    assert not torch.equal(as_clip, as_query)


def test_a_pattern_of_parameters_that_fits_none_is_refused_before_anything_is_prepared(
    pool_folder, query_folder, tiny_wan, tmp_path
) -> None:
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path, 'gradients.parameters=["*.attn9.*"]'))
    with pytest.raises(ConfigError, match=r"attn9.*fits none"):
        index(config)
    assert not list(tmp_path.iterdir())
