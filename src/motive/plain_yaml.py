"""YAML as a person writes settings: without aliases, and without keys given twice."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from motive.errors import ConfigError

LIMIT = 1 << 17
"""Characters of a document; the longest that anyone writes has a hundredth of it."""


def load_yaml(text: str) -> Any:
    """A document's plain values; raises yaml.YAMLError."""
    if len(text) > LIMIT:
        raise yaml.YAMLError(f"it has more than {LIMIT:,} characters")
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506, it is a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        # What the library's constructors raise for a 13th month, a number of 5,000 digits, or a tag that does not fit.
        raise yaml.YAMLError(f"a value in it makes no sense: {error}") from None


def read_yaml(file: Path) -> dict[str, Any]:
    """A file of settings; raises ConfigError with what is wrong with it."""
    try:
        if not file.is_file():
            raise ConfigError(f"{file}: no such file")
        with file.open(encoding="utf-8") as opened:
            tree = load_yaml(opened.read(LIMIT + 1))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
        seen = set()
        for key in (self.construct_object(key, deep=True) for key, _ in node.value):
            if not isinstance(key, Hashable):
                raise yaml.YAMLError(f"a section or list stands for a key after {node.start_mark}")
            if key in seen:
                raise yaml.YAMLError(f"{key!r} stands twice in one section, the second time after {node.start_mark}")
            seen.add(key)
        return super().construct_mapping(node, deep)
