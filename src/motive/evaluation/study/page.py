"""The rater's page, one file for both ways: served, and opened from disk. What it shows comes as data and is set as text."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def page(data: dict[str, Any], served: bool) -> str:
    """HTML with its style, its script and `data`, which the script reads.

    data: `study` (its id), `question` and `pairs` (how many a rater gets); from disk also `rater`, `code`, `number` (of the
    file) and `sheet`, as `sheet_data` gives it.
    """
    style, script = _text("page.css"), _text("page.js")
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("page.html")
    return template.render(policy=policy(served), style=Markup(style), script=Markup(script), data=data)  # noqa: S704


def policy(served: bool) -> str:
    """The Content-Security-Policy: this style, this script, the study's own videos, and nothing else."""
    sources = {
        "default-src": "'none'",
        "script-src": _hash(_text("page.js")),
        "style-src": _hash(_text("page.css")),
        "img-src": "data:",
        "media-src": "'self'" if served else "'self' file:",
        "connect-src": "'self'" if served else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in sources.items())


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
