"""YAML as a person writes settings: without aliases, and without keys given twice."""

from pathlib import Path
from typing import Any

import yaml

from motive.errors import ConfigError


def load_yaml(text: str) -> Any:
    """A document's plain values; raises yaml.YAMLError."""
    return yaml.load(text, _PlainLoader)  # noqa: S506, it is a SafeLoader


def read_yaml(file: Path) -> dict[str, Any]:
    """A file of settings; raises ConfigError with what is wrong with it."""
    try:
        tree = load_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: expected settings such as `pool: clips/`, one a line")
    return tree


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which a few bytes can blow up to gigabytes, and without keys given twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key!r} stands twice in one section, the second time after {node.start_mark}")
        return super().construct_mapping(node, deep)
