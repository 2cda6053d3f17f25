"""A report's data: scripts that each hand one JSON value to the page, since a page from disk may load scripts and nothing else.

All of it is ASCII, and nothing of it becomes code or markup: the page reads values, and shows texts as texts.
"""

import json
from pathlib import Path
from typing import Any

from motive.files import write_atomic


class DataFolder:
    """The folder of these scripts. What is put into it is written at once; `finish` deletes what an earlier report left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def put(self, name: str, value: Any) -> None:
        """name: of a-z, 0-9 and hyphens. Numbers that are not finite become null."""
        text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False)
        write_atomic(self.folder / f"{name}.js", f'motiveData("{name}",{text});\n'.encode("ascii"))
        self._names.add(f"{name}.js")

    def finish(self) -> None:
        for file in self.folder.iterdir():
            if file.name not in self._names:
                file.unlink()


def plain(value: Any) -> Any:
    """The value with six significant digits a number, which is what a page shows at most."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
