"""`embedding` with a small V-JEPA 2 of transformers' own making, and with folders that are not whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from transformers import VideoMAEConfig, VideoMAEModel, VJEPA2Config, VJEPA2Model

from motive.baselines.encoder import DOWNLOADED, video_encoder
from motive.baselines.make import make_baseline
from motive.errors import ConfigError, ModelError
from motive.files import read_jsonl
from tests.conftest import moving_square

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vjepa(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vjepa")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2.0}
    predictor = {"pred_hidden_size": 24, "pred_num_hidden_layers": 1, "pred_num_attention_heads": 2, "pred_mlp_ratio": 2.0}
    model = VJEPA2Model(VJEPA2Config(crop_size=32, frames_per_clip=8, patch_size=16, **sizes, **predictor))
    model.save_pretrained(folder)
    return folder


def test_a_clip_embeds_as_transformers_own_features_of_its_frames(vjepa) -> None:
    embed, _ = video_encoder(str(vjepa), None, CPU)
    frames = moving_square(15, 32, 32)
    vector = embed(frames)
    seen = torch.from_numpy(frames[::2]).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        tokens = VJEPA2Model.from_pretrained(vjepa).eval()(((seen - mean) / deviation)[None], skip_predictor=True)
    assert vector == pytest.approx(tokens.last_hidden_state.mean(dim=1)[0].numpy(), abs=1e-5)


def test_the_embedding_baseline_runs_end_to_end_and_goes_on_where_it_stopped(config, vjepa, monkeypatch) -> None:
    chosen = config.model_copy(update={"baselines": config.baselines.model_copy(update={"encoder": str(vjepa)})})
    first = read_jsonl(make_baseline(chosen, "embedding") / "selection.jsonl")
    assert len(first) == 2
    assert {"votes", "score", "rank"} <= first[0].keys()

    def no_more(*_):
        raise AssertionError("every vector is kept")

    monkeypatch.setattr("motive.baselines.embedding.clip_workers", no_more)
    with pytest.raises(AssertionError, match="every vector is kept"):
        other = chosen.baselines.model_copy(update={"encoder_frames": 4})
        make_baseline(chosen.model_copy(update={"baselines": other}), "embedding")
    monkeypatch.undo()
    assert read_jsonl(make_baseline(chosen, "embedding") / "selection.jsonl") == first


def test_an_encoder_of_single_frames_by_another_name_works_too(tmp_path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    VideoMAEModel(VideoMAEConfig(image_size=32, num_frames=4, patch_size=16, **sizes)).save_pretrained(tmp_path)
    embed, _ = video_encoder(str(tmp_path), None, CPU)
    assert embed(moving_square(9)).shape == (24,)
    # The same motion of the same square embeds nearer than another picture.
    same, other = embed(moving_square(9, speed=3.0)), embed(255 - moving_square(9, seed=5))
    assert np.linalg.norm(embed(moving_square(9)) - same) < np.linalg.norm(embed(moving_square(9)) - other)


def spoil(folder: Path, to: Path, change) -> Path:
    to.mkdir()
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, to / "model.safetensors", {"format": "pt"})
    return to


def test_a_folder_whose_tensors_are_missing_or_of_another_shape_is_refused(vjepa, tmp_path) -> None:
    """transformers would put random numbers in their place."""
    name = "encoder.layer.0.mlp.fc1.weight"
    lacking = spoil(vjepa, tmp_path / "lacking", lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=r"missing.*fc1"):
        video_encoder(str(lacking), None, CPU)
    wrong = spoil(vjepa, tmp_path / "wrong", lambda tensors: tensors.update({name: torch.zeros(3, 3)}))
    with pytest.raises(ModelError, match=r"shape|mismatch"):
        video_encoder(str(wrong), None, CPU)


def test_code_in_a_folder_is_never_run(vjepa, tmp_path) -> None:
    folder = spoil(vjepa, tmp_path / "code", lambda tensors: None)
    settings = json.loads((folder / "config.json").read_text())
    ran = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: ...\n")
    settings |= {"auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Model"}, "model_type": "unheard-of"}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError):
        video_encoder(str(folder), None, CPU)
    assert not ran.exists()


def test_weights_beside_the_settings_are_asked_for_and_nothing_that_could_run() -> None:
    held = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin", "modeling.py"]
    asked = list(filter_repo_objects(held, allow_patterns=list(DOWNLOADED)))
    assert asked == held[:3]


def test_what_is_no_video_encoder_is_told(tmp_path, config) -> None:
    with pytest.raises(ConfigError, match=r"baselines\.encoder"):
        make_baseline(config, "embedding")
    with pytest.raises(ModelError, match="no such folder"):
        video_encoder(str(tmp_path / "nowhere"), None, CPU)
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 20}
    BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ModelError, match="takes no videos"):
        video_encoder(str(tmp_path / "bert"), None, CPU)
