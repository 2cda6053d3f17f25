"""Write docs/reference.md from the code: every setting with its type, default and meaning, and every command's help.

make docs
"""

import inspect
import sys
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from motive import config as settings
from motive.attribution import store
from motive.attribution.prepare import PreparedFolder
from motive.attribution.reading import ClipFacts
from motive.attribution.scores import write_scores
from motive.attribution.selection_files import save_selection
from motive.attribution.store import PLAIN_COLUMNS
from motive.baselines.make import make_baseline
from motive.evaluation import evaluate
from motive.evaluation.study import samples, votes
from motive.evaluation.study.result import Agreement, Comparison, RaterResult, Result
from motive.report import views
from motive.report import write as report
from motive.training import arms, finetune, generate, influence

HERE = Path(__file__).parent


def reference() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "Written by `make docs` from the code; change it there.",
        "## Settings",
        "The keys of the YAML file, and of `--set key=value`.",
        *_section(settings.Config, ""),
        "## Files of a run",
        "### prepared/",
        _code(inspect.getdoc(PreparedFolder)),
        "What a prepared clip's metadata say:",
        _code(inspect.getdoc(ClipFacts)),
        "### pool/, queries/",
        _code(inspect.getdoc(store)),
        "Columns: " + ", ".join(f"`{name}` ({kind})" for name, kind in PLAIN_COLUMNS.items()) + ", `feature` (bytes).",
        "### scores.parquet",
        _code(inspect.getdoc(write_scores)),
        "### The selection",
        _code(inspect.getdoc(save_selection)),
        "### arms/",
        "What an arm is:",
        _code(inspect.getdoc(arms)),
        "What training it leaves:",
        _code(inspect.getdoc(finetune)),
        _code(inspect.getdoc(influence)),
        "### samples/",
        _code(inspect.getdoc(generate)),
        "### report/, views/",
        _code(inspect.getdoc(report)),
        _code(inspect.getdoc(views)),
        "### baselines/",
        _code(inspect.getdoc(make_baseline)),
        "### metrics.json",
        _code(inspect.getdoc(evaluate)),
        "## A human study",
        "What `motive study make` reads:",
        _code(inspect.getdoc(samples)),
        "The votes, in votes.sqlite:",
        _code(inspect.getdoc(votes)),
        "The result, result.json:",
        *(_code(f"{kind.__name__}: {inspect.getdoc(kind)}") for kind in (Result, Comparison, Agreement, RaterResult)),
        "## Exit codes of the command",
        "0: done, also when single clips failed. 1: a user's error, told in words. 2: a wrong option. 130: interrupted.",
    ]
    return "\n\n".join(parts) + "\n"


def _section(section: type[BaseModel], prefix: str) -> list[str]:
    rows, below = ["| setting | kind | default | meaning |", "|---|---|---|---|"], []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            below += [f"### {prefix}{name}", *_section(kind, f"{prefix}{name}.")]
            continue
        default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
        words = getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind).replace("typing.", "")
        words = words.replace("pathlib.Path", "Path").replace("|", "or").replace("Annotated", "")
        rows.append(f"| `{prefix}{name}` | {_plain(words)} | {default} | {field.description} |")
    return ["\n".join(rows), *below]


def _plain(kind: str) -> str:
    """`Literal['a', 'b']` as `a`, `b`; constraints left out."""
    if kind.startswith("Literal["):
        return kind.removeprefix("Literal[").removesuffix("]").replace("'", "`")
    return "numbers" if kind.startswith("tuple[[float") else kind.replace("NoneType", "none")


def _code(text: str | None) -> str:
    return "```text\n" + (text or "") + "\n```"


if __name__ == "__main__":
    sys.exit(None if (HERE / "reference.md").write_text(reference(), encoding="utf-8") else "nothing written")
