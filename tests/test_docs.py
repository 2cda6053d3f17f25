"""Documentation that can be checked is checked."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_reference_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == module.reference(), "run `make docs`"


def test_architecture_names_every_module_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([\w/]+\.py)`", table))
    source = ROOT / "src" / "motive"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    packages = {name for name in modules if name.endswith("/__init__.py")}
    assert named == modules - packages


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_no_room_imports_upward() -> None:
    """Who may import whom: a room's name, and the rooms of the package that it may know (docs/architecture.md)."""
    sections = {"training.section", "baselines.section", "evaluation.section", "report.section"}
    low = {"errors", "files", "fingerprints", "folders", "places", "seeds", "sigmas", "progress", "text"}
    allowed = {
        "video": low,
        "motion": low,
        "models": low,
        "gradients": low | {"models.base"},
        "engine": low,
        "attribution": low | {"config", "video", "motion", "models.base", "models.registry", "gradients", "engine"},
        "training": low | {"command_line", "config", "section", "video", "models", "gradients", "attribution"},
        "evaluation": low
        | {"section", "config", "command_line", "serving", "video", "motion", "models.folder", "models.registry"},
        "baselines": low
        | {"section", "config", "command_line", "verbs", "video", "models.folder", "models.registry", "attribution"},
        "report": low
        | {"config", "section", "serving", "command_line", "verbs", "video", "motion", "attribution", "engine", "evaluation"},
        "config": {"complaints", "errors", "overrides", "places", "plain_yaml", "section", *sections},
        "overrides": {"complaints", "errors", "places", "plain_yaml", "presets"},
        "complaints": set(),
        "places": {"errors"},
        "presets": {"sigmas"},
        "plain_yaml": {"errors"},
    }
    source = ROOT / "src" / "motive"
    for path in source.rglob("*.py"):
        room = path.relative_to(source).parts[0].removesuffix(".py")
        if room not in allowed:
            continue
        for module in re.findall(r"^\s*(?:from|import) motive\.([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            known = allowed[room] | {room}
            assert any(module == name or module.startswith(name + ".") for name in known), f"{path} imports {module}"
