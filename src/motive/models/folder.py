"""Model folders in diffusers' layout: finding, reading and identifying them. Nothing in one is ever unpickled or run."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from motive.errors import ModelError
from motive.files import digest, sha256_file

HASHED_SUFFIXES = frozenset({".safetensors", ".json", ".model", ".txt", ".jinja"})

DOWNLOADED = ["*.json", "*/*.json", "*/*.safetensors", "*/*.model", "*/*.txt"]
"""What a hub repository is asked for: weights as safetensors only."""


def find_folder(source: str, revision: str | None = None, downloaded: Sequence[str] = DOWNLOADED) -> Path:
    """A local folder as it is, or a hub id ("owner/name") as its snapshot, downloaded on first use: its files that fit one of
    `downloaded`."""
    if Path(source).is_dir():
        return Path(source).resolve()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ModelError(f"{source}: no such folder, and not a hub id like owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(downloaded)))
    except Exception as error:  # the hub client raises many unrelated types; all mean that there is no model here
        raise ModelError(
            f"{source}: no such folder, and the model hub gives no snapshot of that name "
            f"({type(error).__name__}); download it once, or give a local folder"
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object; raises ModelError if it is missing or not one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: missing; is {path.parent} a whole diffusers pipeline folder?") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return config


@contextmanager
def loading(folder: Path, part: str) -> Iterator[None]:
    """Turn whatever diffusers or transformers raise while loading `part` into a ModelError that says where."""
    if not (folder / part).is_dir():
        raise ModelError(f"{folder}: has no {part} folder")
    try:
        _check_kinds(folder / part)
        with without_bars():
            yield
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        raise ModelError(f"{folder / part}: cannot be loaded ({type(error).__name__}: {error})") from error


def whole(loaded: tuple[Any, dict[str, Any]], unused: str | None = None) -> Any:
    """A model that was loaded with `output_loading_info`; raises ValueError if tensors were missing, or had another shape than
    the settings say: the libraries put random numbers in their place. unused: how names of tensors begin that nobody needs."""
    model, told = loaded
    missing = sorted(name for name in told["missing_keys"] if unused is None or not name.startswith(unused))
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if wrong := sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in told.get("mismatched_keys", ())):
        raise ValueError(f"{len(wrong)} tensors have another shape than the settings say, such as {wrong[0]}")
    return model


def _check_kinds(part: Path) -> None:
    """Raise ValueError if weights are not floating-point numbers, which the libraries would convert without a word.

    Older transformers kept the numbers of positions beside the weights, as in CLIP's published files.
    """
    for file in sorted(part.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118, it is no mapping
                if (kind := weights.get_slice(name).get_dtype()) not in ("F64", "F32", "F16", "BF16") and not (
                    name.endswith("position_ids") and kind == "I64"
                ):
                    raise ValueError(f"{file.name}: {name} holds numbers of the kind {kind}, not floating-point ones")


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the progress bars of transformers and diffusers, one a component, and transformers' lists of tensors out of our own
    reports."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    said = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    for library in libraries:
        library.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(said)
        for library in libraries:
            library.enable_progress_bar()


def hash_part(part: Path) -> str:
    """A digest of one component's weights and settings, whatever the folder's name, dates or library version."""
    files = sorted(path for path in part.rglob("*") if path.suffix in HASHED_SUFFIXES and path.is_file())
    if not files:
        raise ModelError(f"{part}: holds no model files; weights must be safetensors")
    return digest(*(text for path in files for text in (path.relative_to(part).as_posix(), _content(path))))[:32]


def _content(path: Path) -> str:
    if path.name != "config.json":
        return sha256_file(path)
    settings = {name: value for name, value in read_config(path).items() if not name.startswith("_")}
    return json.dumps(settings, sort_keys=True)
