"""Where the stores of a run lie."""

from pathlib import Path

from motive.attribution.store import Store
from motive.config import Config, load_config

WHICH = ("pool", "queries")
"""The two sets of clips of a run; they get exactly the same treatment."""


def store_place(config: Config, which: str) -> Path | str:
    """The folder or address of the store of the "pool" or of the "queries"."""
    at = config.store.at
    if at is None:
        return config.out / which
    return f"{at.rstrip('/')}/{which}" if "://" in at else Path(at) / which


def open_store(config: Config, which: str) -> Store:
    """What is scored: the store's current clips, or those of the configured snapshot. Raises StoreError if there is none."""
    return Store.open(store_place(config, which), config.influence.snapshot)


def find_stores(source: str, which: str | None = None, snapshot: str | None = None) -> list[Store]:
    """The stores that a person means: those of a run, given by its folder or YAML, or "pool" or "queries" alone; or one given
    by its own folder or s3:// address."""
    if "://" in source or (Path(source) / "store.json").exists():
        return [Store.open(source, snapshot)]
    config = load_config(Path(source))
    return [Store.open(store_place(config, one), snapshot) for one in (WHICH if which is None else (which,))]
