"""Where data lies: a local path, or an address such as s3://bucket/clips.csv. A `Path` is local, a `str` is an address."""

import posixpath
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from motive.errors import ConfigError

Place = Path | str

SCHEMES = ("http", "https", "s3", "hf")
"""Addresses that are read; file:// and chained addresses are not among them."""

PATTERN_LIMIT = 100_000
"""Places that one pattern of braces may stand for."""


def is_address(text: str) -> bool:
    """Whether `text` is written as an address, of whatever scheme."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def as_place(value: Any) -> Any:
    """A text as the place that it means; anything else as it is."""
    return value if not isinstance(value, str) or is_address(value) else Path(value)


def local_path(text: str, base: Path) -> Path:
    """The path that `text` means, from the folder `base`; raises ConfigError if it is none."""
    try:
        text.encode()  # half a surrogate pair could not be written down
        if "\0" in text:
            raise ValueError("it holds a NUL")
        return base / Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"{text!r} is no path: {error}") from None


def name_of(place: Place) -> str:
    """The last part of a place, without what an address asks its server for."""
    return place.name if isinstance(place, Path) else posixpath.basename(_path(place).rstrip("/")) or place


def folder_of(address: str) -> str:
    """The address of the folder that a file lies in."""
    scheme, _, rest = address.partition("://")
    path = re.split(r"[?#]", rest)[0] if scheme.lower().startswith("http") else rest
    return f"{scheme}://{posixpath.dirname(path)}/"


def join(base: str, name: str) -> str:
    """The address that `name`, an address itself or relative to the folder `base`, means."""
    if is_address(name):
        return name
    scheme, _, rest = base.partition("://")
    host, _, folder = rest.partition("/")
    whole = name.lstrip("/") if name.startswith("/") else posixpath.join(folder, name)
    return f"{scheme}://{host}/{posixpath.normpath(whole)}"


def reachable(address: str, root: str) -> str | None:
    """Why an address may not be read when everything must lie under the address `root`; None if it may.

    root: a folder, a host, or a scheme alone, such as https://, for any address of it.
    """
    scheme = address.partition("://")[0].lower()
    if scheme not in SCHEMES or "::" in address.partition("?")[0]:
        return f"{address!r} is an address of a kind that is not read; there are {', '.join(SCHEMES)}"
    if not address.isprintable() or " " in address.partition("://")[2].partition("/")[0] or "\\" in address:
        return f"{address!r} is not a usable address"
    if scheme.startswith("http"):
        try:
            parts = urlsplit(address)
            known = parts.hostname and parts.port != 0
        except ValueError:
            known = None
        if not known or "@" in parts.netloc:
            return f"{address!r} is not a usable address"
    if any(part in ("..", ".") for part in unquote(_path(address)).split("/")):
        return f"{address!r} leaves its folder"
    bound = root if root.endswith("/") else root + "/"
    if not _folded(address).startswith(_folded(bound)):
        return f"{address!r} leaves the data root {root}; set `root` if it belongs there"
    return None


def braces(pattern: str) -> Iterator[str]:
    """The texts that a pattern with {a,b} and {000..099} stands for, in order; raises ValueError if there are too many."""
    parts = re.split(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}", pattern)
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
        if count > PATTERN_LIMIT:
            raise ValueError(f"stands for more than {PATTERN_LIMIT:,} files")
    yield from map("".join, product(*choices))


def _choices(inner: str) -> list[str]:
    numbers = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", inner)
    if numbers is None:
        return inner.split(",") if "," in inner else ["{" + inner + "}"]
    first, last = numbers.groups()
    if int(last) - int(first) >= PATTERN_LIMIT:
        raise ValueError(f"stands for more than {PATTERN_LIMIT:,} files")
    width = len(first) if first.startswith("0") else 1
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]


def _path(address: str) -> str:
    """What stands between an address's scheme and its query: host and path."""
    scheme, _, rest = address.partition("://")
    return re.split(r"[?#]", rest)[0] if scheme.lower().startswith("http") else rest


def _folded(address: str) -> str:
    """An address whose scheme and host are in lower case; bucket names already are."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"
