"""Settings that something was made with, as stored beside it, compared with those of now."""

import json
from collections.abc import Mapping
from typing import Any

from motive.errors import StoreError


def refuse_differences(
    what: str, stored: Mapping[str, Any], now: Mapping[str, Any], remedy: str = "", prefix: str = ""
) -> None:
    """Raise StoreError if two trees differ: `what`, every leaf where they do, and what to do about it."""
    if changed := differences(stored, now, prefix):
        raise StoreError("\n".join([f"{what}:", *(f"  {line}" for line in changed), *filter(None, [remedy])]))


def differences(stored: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every leaf where two trees differ, as `gradients.dim: stored 512, now 1024`.

    stored: as it was read from JSON. now: in any types that JSON writes.
    """
    return _leaves(stored, json.loads(json.dumps(now)), prefix)


def _leaves(stored: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> list[str]:
    lines: list[str] = []
    for key in sorted(stored.keys() | now.keys()):
        old, new = stored.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += _leaves(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: stored {old!r}, now {new!r}")
    return lines
