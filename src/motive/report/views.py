"""Choosing anew from a run's scores: other queries, another threshold, another number of clips, by the same vote.

views/<name>/
  view.json          the queries that voted, the percentile and the number of clips
  selection.jsonl    and the other files of a selection (see attribution.selection_files.save_selection)
  export/            as `motive export` writes it
"""

import re
from dataclasses import asdict, dataclass, replace

from motive.attribution.scores import Scores
from motive.attribution.selection import Selection, caveats, select
from motive.attribution.selection_files import save_selection
from motive.config import Config
from motive.errors import ConfigError
from motive.files import write_json
from motive.progress import Progress
from motive.verbs import export

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}"


@dataclass(frozen=True)
class View:
    """queries: ids of those that vote. percentile: each votes for the clips above this one of its influence. size: clips to
    keep."""

    queries: tuple[str, ...]
    percentile: float
    size: int


@dataclass(frozen=True)
class Viewed:
    """The scores on the chosen queries, the selection by them, and what a reader must know of it."""

    scores: Scores
    selection: Selection
    caveats: list[str]


def choose(scores: Scores, view: View) -> Viewed:
    """The selection of `view`; raises ConfigError if there are no such queries or numbers."""
    known = {query["id"]: query for query in scores.queries}
    wanted = [query for id, query in known.items() if id in set(view.queries)]
    if not wanted or len(wanted) != len(set(view.queries)):
        raise ConfigError("choose one or more of the run's queries")
    if not 0 <= view.percentile < 100:
        raise ConfigError(f"the percentile is {view.percentile:g}; it must be at least 0 and below 100")
    if not 1 <= view.size <= len(scores):
        raise ConfigError(f"{view.size} clips to keep; 1 to {len(scores)} are possible")
    some = replace(scores, facts=replace(scores.facts, queries=wanted))
    selection = select(some, 1 - view.percentile / 100, view.size)
    return Viewed(some, selection, caveats(selection, some))


def check_name(name: str) -> None:
    """Raises ConfigError for what is no plain name of a folder."""
    if re.fullmatch(NAME, name) is None:
        raise ConfigError("a name has letters, digits, dots, hyphens and underscores, 60 at most, and begins with no sign")


def export_view(config: Config, scores: Scores, name: str, view: View, progress: Progress) -> list[str]:
    """Write views/<name>/; returns a line for each clip that could not be exported.

    Raises ConfigError for a name that is no plain file name, StoreError as `motive export` does.
    """
    check_name(name)
    found = choose(scores, view)
    folder = config.out / "views" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_selection(found.selection, found.scores, folder)
    write_json(folder / "view.json", asdict(view))
    return export(config, progress, folder)
