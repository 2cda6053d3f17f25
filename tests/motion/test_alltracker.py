"""AllTracker against outputs recorded from the authors' own, with weights that follow from each tensor's name and shape.

The pair of frames lies here; the other cases are run where the shared data lies beside the checkout.
"""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from motive.config import load_config
from motive.errors import ConfigError
from motive.motion import alltracker as module
from motive.motion import pairs
from motive.motion.alltracker import alltracker, convert, load_network, spread, track_anchored, track_pairs
from motive.motion.alltracker_net import AllTracker
from motive.motion.registry import make_tracker
from motive.verbs import index
from tests.conftest import SHARED, moving_square, settings

DATA = Path(__file__).parent / "data"
SHAPES = json.loads((DATA / "alltracker_shapes.json").read_text())
PARITY = SHARED / "alltracker" / "parity.npz"
LIMIT = 1e-4
"""px, and of visibility and confidence."""


def derived(name: str, shape: list[int]) -> torch.Tensor:
    """The value that a tensor has in the recorded cases."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    drawn = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    small = 0.02 if name.startswith(("flow_head.", "visconf_head.")) else 1.0
    if len(shape) <= 1:
        return torch.from_numpy(1 + 0.1 * drawn if name.endswith("weight") else 0.05 * small * drawn)
    return torch.from_numpy((drawn / np.sqrt(np.prod(shape[1:])) * small).astype(np.float32))


@pytest.fixture(scope="module", params=["full", "tiny"])
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def checkpoint(variant, tmp_path_factory) -> Path:
    """A file as the authors publish theirs: a pickled dict whose "model" is the state dict."""
    state = {name: derived(name, shape) for name, shape in SHAPES[variant]["state_dict"].items() if name != "time_emb"}
    state["time_emb"] = AllTracker(variant == "tiny").time_emb
    file = tmp_path_factory.mktemp(variant) / f"{variant}.pth"
    torch.save({"model": state}, file)
    return file


@pytest.fixture(scope="module")
def net(variant, checkpoint) -> AllTracker:
    return load_network(checkpoint, variant == "tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """uint8 [4, 72, 104, 3]: neither side is a multiple of 64."""
    return moving_square(4, 72, 104)


def test_the_network_has_the_published_names_and_shapes(variant) -> None:
    net = AllTracker(variant == "tiny")
    assert {name: list(tensor.shape) for name, tensor in net.state_dict().items()} == SHAPES[variant]["state_dict"]
    assert sum(parameter.numel() for parameter in net.parameters()) == SHAPES[variant]["parameters"]


def test_a_pair_is_tracked_as_the_authors_network_does(variant, net) -> None:
    recorded = np.load(DATA / "alltracker_pair.npz")
    # From the first frame to the second is what track_pairs gives for the two in reverse.
    moved, seen = track_pairs(net, recorded["pair.video"][::-1], int(recorded["pair.iters"]))
    assert moved.shape == seen.shape == (1, 2, 128, 160)
    assert abs(moved[0] - recorded[f"{variant}.pair.flow"]).max() < LIMIT
    assert abs(seen[0] - recorded[f"{variant}.pair.visconf"]).max() < LIMIT
    assert abs(recorded[f"{variant}.pair.flow"]).max() > 0.2


@pytest.mark.skipif(not PARITY.exists(), reason="the shared parity data are not beside this checkout")
@pytest.mark.parametrize("case", ["short", "sliding"])
def test_a_clip_is_tracked_as_the_authors_network_does(variant, net, case) -> None:
    recorded = np.load(PARITY)
    assert net.time_emb.numpy() == pytest.approx(recorded[f"{variant}.time_emb"], abs=1e-7)
    moved, seen = track_anchored(net, recorded[f"{case}.video"], int(recorded[f"{case}.iters"]))
    assert abs(moved - recorded[f"{variant}.{case}.flow"]).max() < LIMIT
    assert abs(seen - recorded[f"{variant}.{case}.visconf"]).max() < LIMIT


def test_pairs_do_not_depend_on_the_batch_they_are_tracked_in(net, frames, monkeypatch) -> None:
    together = track_pairs(net, frames, 2)
    monkeypatch.setattr(pairs, "MEMORY", 1)
    for one, other in zip(track_pairs(net, frames, 2), together, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_bfloat16_weights_give_nearly_the_same(variant, checkpoint, net, frames) -> None:
    half = load_network(checkpoint, variant == "tiny").bfloat16().eval().requires_grad_(False)
    exact, _ = track_pairs(net, frames, 2)
    rounded, _ = track_pairs(half, frames, 2)
    assert abs(rounded - exact).max() < 0.1 * abs(exact).max() + 0.05


def test_pairs_lie_on_the_later_frames_grid_and_the_first_frame_takes_the_second_ones(variant, checkpoint, net, frames) -> None:
    displacement = alltracker(checkpoint, tiny=variant == "tiny")(frames)
    assert displacement.shape == (*frames.shape[:3], 2)
    assert displacement.dtype == np.float32
    moved, seen = track_pairs(net, frames)
    assert (displacement[1:] == -moved.transpose(0, 2, 3, 1)).all()
    assert (displacement[0] == displacement[1]).all()
    trusted = alltracker(checkpoint, tiny=variant == "tiny", trust="visible")(frames)
    assert trusted[1:] == pytest.approx(-(moved * seen.prod(axis=1, keepdims=True)).transpose(0, 2, 3, 1), abs=1e-6)


def test_fewer_rounds_can_be_asked_for(variant, checkpoint, net, frames) -> None:
    name = "alltracker-tiny" if variant == "tiny" else "alltracker"
    moved, _ = track_pairs(net, frames, 1)
    assert (make_tracker(name, checkpoint, rounds=1)(frames)[1:] == -moved.transpose(0, 2, 3, 1)).all()


def test_half_precision_can_be_asked_for(variant, checkpoint, frames) -> None:
    name = "alltracker-tiny" if variant == "tiny" else "alltracker"
    whole, half = (make_tracker(name, checkpoint, rounds=1, dtype=dtype)(frames) for dtype in ("float32", "bfloat16"))
    assert not np.array_equal(whole, half)
    assert np.abs(half - whole).mean() < 0.1 * np.abs(whole).mean()


@pytest.mark.parametrize("tracks", ["pairs", "anchored", "literal"])
def test_a_clip_of_one_frame_does_not_move(checkpoint, variant, frames, tracks) -> None:
    displacement = alltracker(checkpoint, tiny=variant == "tiny", tracks=tracks)(frames[:1])
    assert displacement.shape == (1, *frames.shape[1:3], 2)
    assert not displacement.any()


def test_padding_repeats_the_edges_and_knows_where_the_frames_were() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 70, 200, 3), np.uint8)
    padded, (rows, columns) = pairs.pad(frames, 64)
    assert padded.shape == (2, 3, 128, 256)
    assert (padded[..., rows, columns].permute(0, 2, 3, 1).numpy() == frames).all()
    assert (padded[..., 0, columns.start].numpy() == frames[:, 0, 0]).all()


class Still:
    """In place of a network: its tracks, given."""

    def __init__(self, tracks: np.ndarray) -> None:
        self.tracks = tracks


@pytest.mark.parametrize("speed", [(3, 0), (-2, 1)])
def test_tracks_of_even_motion_become_the_same_displacement_on_every_frame(monkeypatch, speed) -> None:
    tracks = np.zeros((5, 2, 24, 32), np.float32) + np.arange(5)[:, None, None, None] * np.array(speed)[:, None, None]
    monkeypatch.setattr(module, "track_anchored", lambda net, frames, rounds: (net.tracks, np.ones_like(net.tracks)))
    frames = np.zeros((5, 24, 32, 3), np.uint8)
    anchored = module._displacement(lambda: Still(tracks), "anchored", "all", 4, frames)
    assert anchored == pytest.approx(np.broadcast_to(np.array(speed, np.float32), anchored.shape), abs=1e-5)
    literal = module._displacement(lambda: Still(tracks), "literal", "all", 4, frames)
    assert literal[4] == pytest.approx(np.broadcast_to(4 * np.array(speed, np.float32), literal[4].shape))


def test_what_is_spread_moves_by_whole_pixels_exactly_and_shares_between_pixels() -> None:
    values = np.random.default_rng(0).normal(size=(2, 10, 12)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(10))).astype(np.float32)
    ones = np.ones((10, 12), np.float32)
    moved = spread(values, grid + np.array([2, 1], np.float32)[:, None, None], ones)
    assert moved[:, 1:, 2:] == pytest.approx(values[:, :-1, :-2], abs=1e-5)
    between = spread(values, grid + np.array([0.5, 0], np.float32)[:, None, None], ones)
    assert between[:, :, 1:] == pytest.approx((values[:, :, 1:] + values[:, :, :-1]) / 2, abs=1e-5)


def test_what_falls_together_is_averaged_by_weight_and_holes_take_their_surroundings() -> None:
    values, places = np.array([[[1.0, 4.0]]], np.float32), np.zeros((2, 1, 2), np.float32)
    together = spread(values, places, np.array([[3.0, 1.0]], np.float32))
    assert together == pytest.approx(np.full((1, 1, 2), 7 / 4), abs=1e-5)


def test_a_converted_checkpoint_tracks_the_same(variant, checkpoint, net, frames, tmp_path) -> None:
    convert(checkpoint, tmp_path / "weights.safetensors", variant == "tiny")
    again = load_network(tmp_path / "weights.safetensors", variant == "tiny")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_weights_that_are_not_what_they_should_be_are_refused(variant, checkpoint, tmp_path) -> None:
    other = "alltracker" if variant == "tiny" else "alltracker-tiny"
    with pytest.raises(ConfigError, match=r"do not fit.*alltracker"):
        load_network(checkpoint, variant != "tiny")
    with pytest.raises(ConfigError, match="sha256 is"):
        make_tracker("alltracker", checkpoint, "0" * 64)
    with pytest.raises(ConfigError, match=r"needs motion\.weights"):
        make_tracker(other)
    with pytest.raises(ConfigError, match="no such file"):
        make_tracker(other, tmp_path / "missing.pth")
    for name, content in {"torn.pth": checkpoint.read_bytes()[:1000], "text.pth": b"hello", "empty.safetensors": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            load_network(tmp_path / name)


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_a_checkpoint_that_holds_code_is_refused_and_runs_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    for name in ("trap.pth", "bare.pth"):
        with pytest.raises(ConfigError, match=name):
            load_network(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_a_run_uses_it_and_its_store_knows_the_weights(
    pool_folder, query_folder, tiny_wan, checkpoint, variant, tmp_path
) -> None:
    name = "alltracker-tiny" if variant == "tiny" else "alltracker"
    chosen = settings(pool_folder, query_folder, tiny_wan, tmp_path, f"motion.tracker={name}", f"motion.weights={checkpoint}")
    done = index(load_config(None, chosen))
    assert (done.pool, done.queries, done.failed) == (6, 2, [])
    made_with = json.loads((tmp_path / "pool" / "store.json").read_text())["prepared"]["motion"]
    assert made_with["weights"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def own_tracker(frames: np.ndarray) -> np.ndarray:
    return np.ones((*frames.shape[:3], 2), np.float32)


def test_a_tracker_of_ones_own_is_found_by_its_import_path() -> None:
    assert make_tracker(f"{__name__}:own_tracker") is own_tracker
    for wrong in (f"{__name__}:missing", "no.such.module:tracker", f"{__name__}:DATA", "unknown"):
        with pytest.raises(ConfigError, match=r"motion\.tracker"):
            make_tracker(wrong)


@pytest.mark.parametrize(
    "option",
    [
        {"tracks": "literal"},
        {"trust": "visible"},
        {"weights": DATA},
        {"sha256": "0" * 64},
        {"rounds": 8},
        {"dtype": "bfloat16"},
    ],
)
def test_options_of_alltracker_are_refused_for_other_trackers(option) -> None:
    with pytest.raises(ConfigError, match="not for dis"):
        make_tracker("dis", **option)
