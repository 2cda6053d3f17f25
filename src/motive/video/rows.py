"""What every manifest's reader gives: rows of named values, and where a row's own video lies if it brings one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from motive.video.sources import Source

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv .y4m".split()
)

COLUMNS = {
    "video": ("video", "video_path", "file_path", "file_name", "file", "path", "mp4"),
    "caption": ("prompt", "caption", "text", "txt"),
    "id": ("id", "clip_id"),
    "sha256": ("sha256",),
}
"""What a column means, by the names trainers use for it; the first one present wins."""

CELL_LIMIT = 1 << 24
"""Characters of one value; many times what any caption has."""

TEXT_LIMIT = 1 << 31
"""Bytes of a manifest without its videos; all of it is held in memory."""

ROW_LIMIT = 20_000_000
"""Rows of one manifest."""

Tell = Callable[[str], None]
"""Takes a line that a person should know about a manifest and that is no row's problem."""


@dataclass(frozen=True)
class Held:
    """A video that a manifest holds itself: where its bytes lie, and their sha256."""

    source: Source
    sha256: str


@dataclass(frozen=True)
class Row:
    """One line of a manifest: where it stands, its values by column name, and why it is unreadable if it is.

    held: its video, where the manifest is an archive or a table with the videos' bytes.
    """

    where: str
    values: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    held: Held | None = None
