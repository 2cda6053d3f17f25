"""The report's page. It holds no data of a run: scripts in data/ do, and what they give is set as text."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent / "page"

SCRIPTS = (
    "elements.js",
    "data.js",
    "charts.js",
    "films.js",
    "cards.js",
    "overview.js",
    "queries.js",
    "clips.js",
    "details.js",
    "arms.js",
    "choose.js",
    "main.js",
)
"""Parts of the page's one script, in order."""


def page(token: str = "") -> str:
    """HTML with its style and script. token: what a server wants to be told by whoever exports; empty from disk."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("page.html")
    style, script = Markup(_style()), Markup(_script())  # noqa: S704, files of ours
    return template.render(policy=policy(bool(token)), style=style, script=script, token=token)


def policy(served: bool) -> str:
    """The Content-Security-Policy: this style, this script, the report's own files, and nothing else."""
    own = "'self'" if served else "'self' file:"
    sources = {
        "default-src": "'none'",
        "script-src": f"{_hash(_script())} {own}",
        "style-src": _hash(_style()),
        "img-src": f"{own} data:",
        "media-src": own,
        "connect-src": "'self'" if served else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in sources.items())


@cache
def _style() -> str:
    return _text("page.css")


@cache
def _script() -> str:
    return '(() => {\n"use strict";\n' + "\n".join(_text(name) for name in SCRIPTS) + "})();"


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
