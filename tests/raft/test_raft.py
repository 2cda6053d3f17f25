"""RAFT in an environment with torchvision: `make test-raft`.

The original's names, shapes and flow were recorded from its own code, with weights that follow from each tensor's name and
shape: what is compared with them is the whole way from its checkpoint to flow.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_large, raft_small
from typer.testing import CliRunner

from motive.attribution.prepare import PreparedFolder, mask_options, prepared_fingerprint
from motive.cli import app
from motive.config import load_config
from motive.errors import ConfigError
from motive.models.registry import load_model
from motive.motion import pairs
from motive.motion.mask import motion_mask
from motive.motion.raft import load_raft, raft_flow, torchvision_names
from motive.motion.registry import make_tracker
from motive.verbs import index
from motive.video.decode import Sampling, decode
from motive.video.table import ClipTable
from tests.conftest import moving_square, settings

DATA = Path(__file__).parent / "data"
SHAPES = json.loads((DATA / "raft_shapes.json").read_text())
LIMIT = 1e-3
"""px, where flow is up to 20 px."""


def derived(name: str, shape: list[int]) -> torch.Tensor:
    """The value that a tensor of the original's has in the recorded case."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    # One module under two names has the values of the second; the small network's norms have none.
    name = name.replace("norm3.", "downsample.1.")
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    drawn = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    if "flow_head.conv2" in name:
        drawn *= 0.1
    if len(shape) > 1:
        return torch.from_numpy((drawn / np.sqrt(np.prod(shape[1:]))).astype(np.float32))
    return torch.from_numpy(1 + 0.1 * drawn if name.endswith(("weight", "running_var")) else 0.05 * drawn)


def recorded_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two uint8 [1, 134, 171, 3], neither side a multiple of 8: a picture, and the same 3 px lower and 5 px further left."""
    blocks = np.random.RandomState(0).randint(0, 256, (48, 60, 3)).astype(np.uint8)
    picture = blocks.repeat(4, axis=0).repeat(4, axis=1)
    return picture[None, 10:144, 20:191], picture[None, 7:141, 25:196]


@pytest.fixture(scope="module", params=["raft", "raft-small"])
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def original(variant, tmp_path_factory) -> Path:
    """A file as the original repository publishes its own: an older torch's format, names as of a model on several GPUs."""
    file = tmp_path_factory.mktemp(variant) / "original.pth"
    state = {name: derived(name, shape) for name, shape in SHAPES[variant].items()}
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file


@pytest.fixture(scope="module")
def plain(variant):
    """torchvision's network with random weights of its own, never touched by Motive."""
    torch.manual_seed(0)
    return (raft_small if variant == "raft-small" else raft_large)(weights=None).eval()


@pytest.fixture(scope="module")
def checkpoint(variant, plain, tmp_path_factory) -> Path:
    """A file as torchvision publishes its own."""
    file = tmp_path_factory.mktemp(variant) / "torchvision.pth"
    torch.save(plain.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def net(variant, checkpoint):
    return load_raft(checkpoint, variant == "raft-small")


def direct(plain, first: np.ndarray, second: np.ndarray, rounds: int) -> np.ndarray:
    """Flow [H, W, 2] from torchvision alone, of frames [H, W, 3] that need no padding."""
    pictures = [torch.from_numpy(frame).permute(2, 0, 1)[None].float().div(127.5).sub(1) for frame in (first, second)]
    with torch.no_grad():
        return plain(*pictures, num_flow_updates=rounds)[-1][0].permute(1, 2, 0).numpy()


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal to rounding, which twenty rounds of random weights enlarge; and not because both are nothing."""
    return abs(one - other).max() < 1e-3 * max(1, abs(other).max()) and abs(other).max() > 0.1


def test_the_originals_checkpoint_flows_as_in_the_originals_code(variant, original) -> None:
    flow = raft_flow(load_raft(original, variant == "raft-small"), *recorded_pair())
    recorded = np.load(DATA / "raft_flow.npz")[variant]
    assert flow.shape == (1, 134, 171, 2)
    assert abs(flow[0, ::3, ::3] - recorded).max() < LIMIT
    assert abs(recorded).max() > 10


def test_every_name_of_the_originals_is_one_of_torchvisions_and_those_stay(variant, plain) -> None:
    state = plain.state_dict()
    named = torchvision_names({name: torch.empty(shape) for name, shape in SHAPES[variant].items()})
    assert {name: tensor.shape for name, tensor in named.items()} == {name: tensor.shape for name, tensor in state.items()}
    assert list(torchvision_names(state)) == list(state)
    # Only what the original holds twice falls together.
    assert len(SHAPES[variant]) - len(named) == sum(".norm3." in name for name in SHAPES[variant])


def test_safetensors_with_either_names_flow_the_same(variant, original, tmp_path) -> None:
    tensors = torch.load(original, weights_only=True)
    save_file(tensors, tmp_path / "original.safetensors")
    save_file(torchvision_names(tensors), tmp_path / "torchvision.safetensors")
    state = load_raft(original, variant == "raft-small").state_dict()
    for name in ("original.safetensors", "torchvision.safetensors"):
        again = load_raft(tmp_path / name, variant == "raft-small").state_dict()
        assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


def test_flow_is_torchvisions_from_the_first_frame_to_the_second(plain, net) -> None:
    first, second = moving_square(2, 128, 160, speed=6)
    flow = raft_flow(net, first[None], second[None])[0]
    assert close(flow, direct(plain, first, second, 20))
    assert not close(flow, direct(plain, second, first, 20))


def test_a_tracker_turns_the_flow_back_to_the_frame_before(plain, variant, checkpoint) -> None:
    frames = moving_square(3, 128, 160, speed=6)
    displacement = make_tracker(variant, checkpoint, rounds=3)(frames)
    assert displacement.shape == (3, 128, 160, 2)
    assert displacement.dtype == np.float32
    for f in (1, 2):
        assert close(displacement[f], -direct(plain, frames[f], frames[f - 1], 3))
    assert (displacement[0] == displacement[1]).all()


def test_it_makes_twenty_rounds_if_not_told_otherwise(plain, variant, checkpoint) -> None:
    frames = moving_square(2, 128, 160, speed=6)
    assert close(make_tracker(variant, checkpoint)(frames)[1], -direct(plain, frames[1], frames[0], 20))


@pytest.mark.parametrize(
    ("size", "before", "after"),
    [((133, 150), (1, 1), (2, 1)), ((48, 64), (40, 32), (40, 32)), ((130, 40), (3, 44), (3, 44))],
    ids=["no multiple of 8", "smaller than RAFT takes", "both"],
)
def test_edges_are_repeated_around_frames_and_cut_off_the_flow(plain, net, size, before, after) -> None:
    first, second = moving_square(2, *size, speed=6)
    border = [*zip(before, after, strict=True), (0, 0)]
    whole = direct(plain, np.pad(first, border, "edge"), np.pad(second, border, "edge"), 4)
    inside = whole[before[0] : before[0] + size[0], before[1] : before[1] + size[1]]
    flow = raft_flow(net, first[None], second[None], 4)[0]
    assert flow.shape == (*size, 2)
    assert close(flow, inside)


def test_pairs_do_not_depend_on_their_batch_or_their_neighbours(net, monkeypatch) -> None:
    frames = moving_square(5, 72, 104, speed=6)
    together = raft_flow(net, frames[1:], frames[:-1], 4)
    backwards = raft_flow(net, frames[:0:-1], frames[-2::-1], 4)[::-1]
    monkeypatch.setattr(pairs, "MEMORY", 1)
    alone = raft_flow(net, frames[1:], frames[:-1], 4)
    assert close(together, alone)
    assert close(backwards, alone)


def test_the_same_frames_give_the_same_bytes(variant, checkpoint) -> None:
    frames = moving_square(3, 72, 104, speed=6)
    once, again = (make_tracker(variant, checkpoint, rounds=2)(frames) for _ in range(2))
    assert once.tobytes() == again.tobytes()


def test_correlations_do_not_stay_in_memory(net) -> None:
    frames = moving_square(2, 128, 160)
    raft_flow(net, frames[1:], frames[:-1], 1)
    assert net.corr_block.corr_pyramid == []


def test_a_clip_of_one_frame_does_not_move_and_no_pairs_have_no_flow(variant, checkpoint, net) -> None:
    frames = moving_square(1, 72, 104)
    assert not make_tracker(variant, checkpoint)(frames).any()
    assert raft_flow(net, frames[1:], frames[1:]).shape == (0, 72, 104, 2)


def test_weights_that_are_not_what_they_should_be_are_refused(variant, checkpoint, original, tmp_path) -> None:
    other = "raft" if variant == "raft-small" else "raft-small"
    for file in (checkpoint, original):
        with pytest.raises(ConfigError, match=rf"do not fit.*motion\.tracker={variant}\?"):
            load_raft(file, other == "raft-small")
    with pytest.raises(ConfigError, match="sha256 is"):
        make_tracker(variant, checkpoint, "0" * 64)
    with pytest.raises(ConfigError, match=r"needs motion\.weights"):
        make_tracker(variant)
    with pytest.raises(ConfigError, match="no such file"):
        make_tracker(variant, tmp_path / "missing.pth")
    with pytest.raises(ConfigError, match=f"not for {variant}"):
        make_tracker(variant, checkpoint, tracks="literal")
    part = dict(list(torch.load(original, weights_only=True).items())[:-1])
    torch.save(part, tmp_path / "part.pth")
    torch.save({"rounds": 3}, tmp_path / "number.pth")
    for name, content in {"torn.pth": checkpoint.read_bytes()[:1000], "text.pth": b"hello", "empty.safetensors": b""}.items():
        (tmp_path / name).write_bytes(content)
    for name in ("part.pth", "number.pth", "torn.pth", "text.pth", "empty.safetensors"):
        with pytest.raises(ConfigError, match=name):
            load_raft(tmp_path / name, variant == "raft-small")


def test_a_run_prepares_its_clips_with_it(pool_folder, query_folder, tiny_wan, original, variant, tmp_path) -> None:
    tracker = (f"motion.tracker={variant}", f"motion.weights={original}", "motion.rounds=2")
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path, *tracker, "motion.floor=0"))
    done = index(config)
    assert (done.pool, done.queries, done.failed) == (6, 2, [])
    made_with = json.loads((tmp_path / "pool" / "store.json").read_text())["prepared"]["motion"]
    assert (made_with["tracker"], made_with["rounds"]) == (variant, 2)
    assert made_with["weights"] == hashlib.sha256(original.read_bytes()).hexdigest()
    model = load_model(config.model.path, [0.75075], device="cpu")
    prepared = PreparedFolder(tmp_path / "prepared", prepared_fingerprint(config, model))
    clip = ClipTable.read(pool_folder).clips[3]
    frames = decode(clip.path, Sampling(9, 16, 48, 64)).frames
    own = make_tracker(variant, original, rounds=2)
    mask, _ = motion_mask(frames, own, model.latent_stride, mask_options(config.motion))
    assert torch.equal(prepared.load(clip).mask, torch.from_numpy(mask))
    assert mask.std() > 0.01


def test_the_command_draws_what_it_sees(variant, original, pool_folder, tmp_path) -> None:
    chosen = [f"motion.tracker={variant}", f"motion.weights={original}", "motion.rounds=2"]
    size = ["video.frames=9", "video.height=48", "video.width=64"]
    overrides = [word for setting in (*chosen, *size) for word in ("--set", setting)]
    done = CliRunner().invoke(app, ["motion", str(pool_folder / "clip3.mp4"), "--out", str(tmp_path), *overrides])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "clip3.mp4.motion.mp4").exists()
    assert (tmp_path / "clip3.mp4.motion.png").exists()
