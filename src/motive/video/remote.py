"""Reading addresses (s3://, http(s)://, hf://) through fsspec: bounded in bytes, in time and in redirects.

Anything may stand behind an address. It is read in pieces, in order, and never trusted about its size.
"""

import ipaddress
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from motive.errors import ClipError, MotiveError
from motive.text import printable

PIECE = 1 << 20
"""Bytes read at once."""

SILENCE = 60.0
"""Seconds in which a server must say something."""

REDIRECTS = 5

NEEDS = {"s3": "s3fs", "http": "aiohttp", "https": "aiohttp"}
"""What each scheme needs beside fsspec; hf:// comes with the model hub's client."""


@dataclass(frozen=True)
class Limits:
    """What one video, or one archive or manifest that is fetched, may take: bytes, and seconds."""

    max_bytes: int = 8 << 30
    seconds: float = 900.0


LIMITS = Limits()


class PassingError(ClipError):
    """A fault of the network or the server that may be gone the next time."""


def read(address: str, limits: Limits, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
    """The bytes of what stands behind `address`, or `size` of them from `offset` on; raises ClipError with the reason if they
    cannot be had within `limits`."""
    if size is not None and size > limits.max_bytes:
        raise ClipError(too_large(size, limits))
    if size == 0:
        return
    deadline = time.monotonic() + limits.seconds
    left = limits.max_bytes if size is None else size
    with _failures(address, limits), _opened(address, limits, offset, size) as file:
        while size is None or left:
            piece = file.read(min(PIECE, left + 1) if size is None else min(PIECE, left))
            if not piece:
                break
            left -= len(piece)
            if left < 0:
                raise ClipError(f"is more than {limits.max_bytes:,} bytes; the limit is fetch.max_bytes")
            if time.monotonic() > deadline:
                raise ClipError(_too_slow(limits))
            yield piece
    if size is not None and left:
        raise ClipError(f"ends {left:,} bytes too early: the file was changed or cut off")


def stamp(address: str, limits: Limits) -> str | None:
    """What changes with the bytes behind `address`, as the server tells it; None if it tells nothing that does.

    Raises ClipError if there is nothing, or more than `limits` allow.
    """
    with _failures(address, limits):
        told = _filesystem(address, limits).info(_bare(address))
    size = told.get("size")
    if isinstance(size, int) and size > limits.max_bytes:
        raise ClipError(too_large(size, limits))
    known = {str(name).lower(): value for name, value in told.items()}
    marks = [str(known[name]) for name in ("etag", "last-modified", "lastmodified", "blob_id", "lfs") if known.get(name)]
    return "\n".join([str(size), *marks]) if marks else None


def listing(address: str, limits: Limits) -> list[str]:
    """Addresses of all files below a folder, or that fit a pattern with * and ?, in order; raises ClipError.

    Web servers have no listing.
    """
    scheme = address.partition("://")[0].lower()
    if scheme.startswith("http"):
        raise ClipError("a web server tells no list of its files; name them, as in shard-{000..099}.tar, or give a manifest")
    with _failures(address, limits):
        system = _filesystem(address, limits)
        pattern = any(sign in address for sign in "*?")
        found = system.glob(_bare(address)) if pattern else system.find(_bare(address))
        return sorted(f"{scheme}://{str(name).removeprefix(f'{scheme}://')}" for name in found)


def too_large(size: int, limits: Limits) -> str:
    return f"has {size:,} bytes; the limit is fetch.max_bytes = {limits.max_bytes:,}"


def _too_slow(limits: Limits) -> str:
    return f"was not fetched within fetch.seconds = {limits.seconds:g}"


@contextmanager
def _opened(address: str, limits: Limits, offset: int, size: int | None) -> Iterator[Any]:
    system = _filesystem(address, limits)
    if address.lower().startswith("http"):
        # As a stream: fsspec's own random access holds whatever a server sends for a range, however much it is.
        wanted = {} if size is None else {"headers": {"Range": f"bytes={offset}-{offset + size - 1}"}}
        with system.open(address, "rb", block_size=0, size=1, **wanted) as file:
            if size is not None and file.r.status != 206:
                _pass_over(file, offset)
            yield file
        return
    with system.open(_bare(address), "rb", cache_type="readahead") as file:
        if offset:
            file.seek(offset)
        yield file


def _pass_over(file: Any, count: int) -> None:
    while count:
        piece = file.read(min(PIECE, count))
        if not piece:
            return
        count -= len(piece)


def _bare(address: str) -> str:
    """What fsspec wants: web addresses whole, others without a slash at their end."""
    return address if address.lower().startswith("http") else address.rstrip("/")


def _filesystem(address: str, limits: Limits) -> Any:
    return _filesystem_of(address.partition("://")[0].lower(), limits)


@cache
def _filesystem_of(scheme: str, limits: Limits) -> Any:
    import fsspec

    if scheme == "s3":
        patience = {"connect_timeout": 30, "read_timeout": SILENCE, "retries": {"max_attempts": 4, "mode": "standard"}}
        return fsspec.filesystem("s3", config_kwargs=patience, use_listings_cache=False, skip_instance_cache=True)
    if scheme == "hf":
        return fsspec.filesystem("hf", use_listings_cache=False, skip_instance_cache=True)
    import aiohttp

    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(_redirected)
    session = {
        "timeout": aiohttp.ClientTimeout(total=limits.seconds, sock_connect=30, sock_read=SILENCE),
        "auto_decompress": False,  # a few bytes on the line may be gigabytes
        "trace_configs": [watch],
        "trust_env": True,
    }
    return fsspec.filesystem(scheme, client_kwargs=session, max_redirects=REDIRECTS, skip_instance_cache=True)


async def _redirected(session: Any, context: Any, told: Any) -> None:
    """Refuse to be sent from the encrypted web to the open one, or into this machine's or a private network."""
    target = told.url.join(type(told.url)(told.response.headers.get("Location", "")))
    if told.url.scheme == "https" and target.scheme != "https":
        raise ClipError(f"is redirected from https to {target.scheme}")
    if target.host != told.url.host and _private(target.host or ""):
        raise ClipError(f"is redirected to {target.host}, which is private")


def _private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


@contextmanager
def _failures(address: str, limits: Limits) -> Iterator[None]:
    """Turn whatever a filesystem raises into a ClipError that says why."""
    scheme = address.partition("://")[0].lower()
    try:
        yield
    except MotiveError:
        raise
    except ImportError as error:
        raise ClipError(f"{scheme}:// needs {NEEDS.get(scheme, 'a package')}: pip install 'motive[remote]'") from error
    except Exception as error:  # each filesystem raises types of its own; all mean that the bytes cannot be had
        cause = error.__cause__ or error
        if isinstance(cause, MotiveError):
            raise cause from None
        if isinstance(cause, TimeoutError):
            raise ClipError(_too_slow(limits)) from error
        status = getattr(cause, "status", None)
        if isinstance(cause, FileNotFoundError) or status in (404, 410):
            raise ClipError("cannot be fetched: it is not there") from error
        if isinstance(cause, PermissionError) or status in (401, 403):
            raise ClipError("cannot be fetched: the server does not allow it; are there credentials?") from error
        kind = PassingError if _passing(cause) else ClipError
        raise kind(f"cannot be fetched: {type(cause).__name__}: {printable(cause)[:500]}") from error


def _passing(error: BaseException) -> bool:
    """Whether a fault is the network's or the server's, and may be gone the next time."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status >= 500 or status == 429
    return isinstance(error, ConnectionError) or type(error).__name__ in ("ClientPayloadError", "ServerDisconnectedError")
