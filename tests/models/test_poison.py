"""Model folders that mean ill: poisoned safetensors, pickles and code. Each is an error in words, and nothing of it runs."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from motive.errors import ModelError
from motive.models.base import VideoModel
from motive.models.registry import load_model

USES: dict[str, Callable[[VideoModel], Any]] = {
    "transformer": lambda model: model.denoiser,
    "vae": lambda model: model.encode_video(np.zeros((9, 48, 64, 3), np.uint8)),
    "text_encoder": lambda model: model.encode_text(["a ball"]),
}
"""A part of a folder, and what needs it."""


def poisoned(content: bytes) -> dict[str, bytes]:
    """A weight file's bytes in every way in which its header can lie."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    first, second, *_ = [name for name in header if name != "__metadata__"]

    def saying(**changed: Any) -> bytes:
        text = json.dumps(header | {first: header[first] | changed}).encode()
        return struct.pack("<Q", len(text)) + text + body

    return {
        "empty": b"",
        "header longer than any": struct.pack("<Q", 2**63) + content[8:],
        "header longer than the file": struct.pack("<Q", len(content)) + content[8:],
        "header of a terabyte": struct.pack("<Q", 1 << 40) + content[8:],
        "header that is no JSON": struct.pack("<Q", 16) + b"x" * 16 + body,
        "header nested without end": struct.pack("<Q", 100_000) + b"[" * 100_000 + body,
        "overlapping": saying(data_offsets=header[second]["data_offsets"]),
        "beyond the end": saying(data_offsets=[0, 2**62]),
        "backwards": saying(data_offsets=[8, 0]),
        "negative": saying(shape=[-1]),
        "larger than memory": saying(shape=[2**40, 2**40]),
        "of another size": saying(dtype="F64"),
        "of an unknown kind": saying(dtype="F3"),
        "integers": saying(dtype="I32"),
        "cut off": content[: len(content) // 2],
        "pickled": pickle.dumps({"weight": [1.0]}),
    }


@pytest.mark.parametrize("part", USES)
def test_poisoned_weights_are_an_error_in_words(tiny_wan, tmp_path, part) -> None:
    shutil.copytree(tiny_wan, tmp_path / "model")
    (weights,) = (tmp_path / "model" / part).glob("*.safetensors")
    for case, content in poisoned(weights.read_bytes()).items():
        weights.write_bytes(content)
        with pytest.raises(ModelError, match=f"{part}: cannot be loaded"):
            USES[part](load_model(str(tmp_path / "model"), [0.75], "cpu"))
            pytest.fail(case)


@pytest.mark.parametrize("part", USES)
def test_missing_weights_are_an_error_and_never_random_numbers(tiny_wan, tmp_path, part) -> None:
    shutil.copytree(tiny_wan, tmp_path / "model")
    (weights,) = (tmp_path / "model" / part).glob("*.safetensors")
    tensors = load_file(weights)
    name = sorted(tensors)[3]
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, weights, {"format": "pt"})
    with pytest.raises(ModelError, match=f"1 tensors are missing, such as {name}"):
        USES[part](load_model(str(tmp_path / "model"), [0.75], "cpu"))


class Payload:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return open, (str(self.place), "w")


@pytest.mark.parametrize("part", USES)
@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_never_loaded_whatever_they_are_called(tiny_wan, tmp_path, part, name) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_wan, folder)
    (weights,) = (folder / part).glob("*.safetensors")
    weights.unlink()
    (folder / part / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(ModelError):
        USES[part](load_model(str(folder), [0.75], "cpu"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", [*USES, "tokenizer"])
def test_code_that_comes_with_a_model_is_never_run(tiny_wan, tmp_path, part) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_wan, folder)
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n"
    (folder / part / "own.py").write_text(code)
    (folder / "own.py").write_text(code)
    file = folder / part / ("tokenizer_config.json" if part == "tokenizer" else "config.json")
    own = {
        "auto_map": dict.fromkeys(("AutoModel", "AutoConfig", "AutoTokenizer"), "own.Own"),
        "_class_name": ["own", "Own"],
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    try:
        for use in USES.values():
            use(load_model(str(folder), [0.75], "cpu"))
    except ModelError as error:
        assert part in str(error)
    assert not (tmp_path / "ran").exists()
