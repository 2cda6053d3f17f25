"""Trees of settings before they are checked: --set, presets, and paths that become absolute."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from motive.complaints import shown
from motive.errors import ConfigError
from motive.places import is_address, local_path
from motive.plain_yaml import load_yaml
from motive.presets import PRESETS

PATHS = (
    ("motion", "weights"),
    ("generate", "prompts"),
    *(("evaluate", key) for key in ("raft", "dino", "clip", "aesthetic_clip", "aesthetic_head")),
    ("evaluate", "official", "python"),
)
"""Settings that are paths of local files and folders."""


def apply_settings(tree: dict[str, Any], settings: Iterable[str]) -> None:
    """Put `settings` such as "gradients.dim=1024" into `tree`; raises ConfigError for what is not of that form."""
    overrides = [_parse_setting(setting) for setting in settings]
    # A preset among the settings replaces that of the file and outweighs its other settings; single settings outweigh both.
    for name in [value for keys, value in overrides if keys == ["preset"]]:
        tree.pop("preset", None)
        for section, chosen in _preset(name, "--set").items():
            for key, setting in chosen.items():
                _put(tree, [section, key], setting)
    for keys, value in overrides:
        if keys != ["preset"]:
            _put(tree, keys, value)


def expand_preset(tree: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The tree with what its key `preset` stands for, under whatever is set beside it."""
    if "preset" not in tree:
        return tree
    whole: dict[str, Any] = {key: value for key, value in tree.items() if key != "preset"}
    for name, section in _preset(tree["preset"], where).items():
        own = whole.get(name, {})
        whole[name] = section | own if isinstance(own, dict) else own
    return whole


def resolve_paths(tree: dict[str, Any], base: Path) -> None:
    """Make all local paths absolute: those of PATHS, and a `store.at`, `model.path` or `baselines.encoder` that is one."""
    for key in ("out", "pool", "queries", "root"):
        if isinstance(tree.get(key), str) and not (key != "out" and is_address(tree[key])):
            tree[key] = str(local_path(tree[key], base))
    for *sections, key in PATHS:
        section: Any = tree
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = str(local_path(section[key], base))
    store = tree.get("store")
    if isinstance(store, dict) and isinstance(store.get("at"), str) and not is_address(store["at"]):
        store["at"] = str(local_path(store["at"], base))
    for name, key in (("model", "path"), ("baselines", "encoder")):
        model = tree.get(name)
        if isinstance(model, dict) and isinstance(model.get(key), str):
            local = str(local_path(model[key], base))
            if os.path.exists(local):  # noqa: PTH110, unlike Path.exists it never raises
                model[key] = local


def _parse_setting(setting: str) -> tuple[list[str], Any]:
    name, equals, value = setting.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {setting!r}: write it as section.key=value")
    try:
        return keys, load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting!r}: its value is not readable as YAML: {error}") from None


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {key} is a value, not a section")
        tree = below
    tree[keys[-1]] = value


def _preset(name: object, where: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"{where} cannot be used:\n  preset: there are {', '.join(PRESETS)} (it is {shown(name)})")
    return PRESETS[name]
