"""Finished runs: a tiny one through the real verbs, the same with arms, and one of 10,000 clips."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from motive import verbs
from motive.config import Config, load_config
from motive.files import each_json
from motive.report.server import ReportServer
from motive.report.write import write_report
from tests.conftest import settings
from tests.report.made import HOSTILE, add_arms, synthetic

CLIPS = 10_000


@pytest.fixture(scope="session")
def finished(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Config:
    """Six clips, three with hostile captions, one broken file beside them, and two queries; the run has its report."""
    folder = tmp_path_factory.mktemp("report")
    pool = folder / "pool"
    shutil.copytree(pool_folder, pool)
    for n, caption in enumerate(HOSTILE.values()):
        (pool / f"clip{n}.txt").write_text(caption, encoding="utf-8")
    (pool / "broken.mp4").write_bytes(b"no video")
    more = ("engine.decoders=0", "engine.workers=0", "report.clips=4")
    config = load_config(None, settings(pool, query_folder, tiny_wan, folder / "run", *more))
    verbs.run(config)
    write_report(config)
    return config


@pytest.fixture
def run(finished, tmp_path) -> Config:
    """The finished run in a folder of its own."""
    shutil.copytree(finished.out, tmp_path / "run")
    return finished.model_copy(update={"out": tmp_path / "run"})


@pytest.fixture(scope="session")
def armed(finished, tmp_path_factory) -> Config:
    """The finished run with arms, samples and metrics, and its report of them."""
    out = tmp_path_factory.mktemp("armed") / "run"
    shutil.copytree(finished.out, out)
    config = finished.model_copy(update={"out": out})
    entries = list(each_json(out / "selection.jsonl"))
    add_arms(out, [entry["id"] for entry in entries], list(entries[0]["influence"]))
    write_report(config)
    return config


@pytest.fixture(scope="session")
def large(finished, tmp_path_factory) -> Config:
    """CLIPS clips, 12 queries; their videos are nowhere."""
    more = {"out": tmp_path_factory.mktemp("large") / "run", "report": finished.report.model_copy(update={"videos": 2})}
    config = finished.model_copy(update=more)
    synthetic(config, CLIPS, 12)
    write_report(config)
    return config


@contextmanager
def serving(config: Config):
    """A running server of a run's report, and its address."""
    import threading

    with ReportServer(config, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def address(config: Config) -> str:
    """The report on disk, as a browser opens it."""
    return Path(config.out / "report" / "index.html").as_uri()
