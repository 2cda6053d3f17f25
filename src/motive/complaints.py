"""What is wrong with settings, a line of English for each."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

SHOWN = 50
"""Wrong settings that are explained at once."""


def complaints(settings: type[BaseModel], error: ValidationError) -> str:
    """Lines that name each wrong key of `settings`, with the nearest right one, and each wrong value."""
    issues = error.errors()
    lines = [f"  {_explain(settings, issue)}" for issue in issues[:SHOWN]]
    return "\n".join([*lines, *([f"  and {len(issues) - SHOWN:,} more"] if len(issues) > SHOWN else [])])


def shown(value: object) -> str:
    """A value as Python writes it, cut short."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "beyond writing down"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _explain(settings: type[BaseModel], issue: Any) -> str:
    place = ".".join(str(part) for part in issue["loc"])
    if issue["type"] == "extra_forbidden":
        known = _keys_beside(settings, issue["loc"][:-1])
        near = difflib.get_close_matches(str(issue["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{place}: no such setting; {hint}"
    if issue["type"] == "missing":
        return f"{place}: missing"
    return f"{place or 'the file'}: {issue['msg'].removeprefix('Value error, ')} (it is {shown(issue['input'])})"


def _keys_beside(section: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        kind = section.model_fields[part].annotation if part in section.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        section = kind
    return list(section.model_fields)
