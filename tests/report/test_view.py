"""The report as `motive view` serves it: choosing anew, exporting, and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from motive.attribution.scores import load_scores, scores_of
from motive.attribution.selection import select
from motive.errors import ConfigError
from motive.files import each_json
from motive.progress import Silent
from motive.report.views import View, choose, export_view
from tests.browser import quiet_page, until
from tests.report.conftest import serving
from tests.requests import ask


def queries(config) -> list[str]:
    return [query["id"] for query in load_scores(config.out / "scores.parquet").queries]


def test_all_queries_at_the_runs_own_numbers_give_the_runs_own_selection(finished) -> None:
    scores = load_scores(finished.out / "scores.parquet")
    own = [entry["id"] for entry in each_json(finished.out / "selection.jsonl")]
    found = choose(scores, View(tuple(queries(finished)), 66.0, len(own)))
    assert scores.rows(found.selection.kept, ["id"])["id"].to_pylist() == own
    np.testing.assert_array_equal(found.selection.order, select(scores, 0.34).order)


def test_one_query_votes_as_it_would_alone(finished) -> None:
    scores = load_scores(finished.out / "scores.parquet")
    one = choose(scores, View((queries(finished)[1],), 50.0, 4)).selection
    alone = scores_of(scores.influence[:, 1:], scores.clips, type(scores.facts)(scores.queries[1:], None, True))
    np.testing.assert_array_equal(one.votes, select(alone, 0.5).votes)
    assert len(one.kept) == 4


@pytest.mark.parametrize(
    "view",
    [
        View((), 90.0, 1),
        View(("no such query",), 90.0, 1),
        View(("here",), 100.0, 1),
        View(("here",), float("nan"), 1),
        View(("here",), -1.0, 1),
        View(("here",), 90.0, 0),
        View(("here",), 90.0, 7),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_words(finished, view) -> None:
    known = queries(finished)[0]
    asked = View(tuple(known if query == "here" else query for query in view.queries), view.percentile, view.size)
    with pytest.raises(ConfigError):
        choose(load_scores(finished.out / "scores.parquet"), asked)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "x" * 61, "a\x00"])
def test_a_choice_has_a_plain_name(run, name) -> None:
    with pytest.raises(ConfigError, match="a name has"):
        export_view(run, load_scores(run.out / "scores.parquet"), name, View(tuple(queries(run)), 66.0, 2), Silent())
    assert not (run.out / "views").exists()


def test_a_person_picks_queries_threshold_and_number_and_exports_that(run, browser) -> None:
    with serving(run) as (_, base), quiet_page(browser, base) as page:
        page.goto(base + "#choose")
        page.get_by_role("heading", name="2 clips kept").wait_for()
        assert page.locator("#shared").inner_text().startswith("2 of them")
        page.get_by_label("query0").uncheck()
        page.get_by_label("Percentile").fill("50")
        page.get_by_label("Clips to keep").fill("3")
        page.get_by_role("heading", name="3 clips kept").wait_for()
        until(page, "document.querySelector('.card .facts')?.innerText.includes('1/1 votes')")
        shown = page.locator(".card .name").all_inner_texts()
        page.get_by_label("Name of this choice").fill("only-query1")
        page.get_by_role("button", name="Export for trainers").click()
        page.get_by_text("Exported to").wait_for()
        page.get_by_role("button", name="None").click()
        page.get_by_text("Pick at least one query.").wait_for()
    folder = run.out / "views" / "only-query1"
    scores = load_scores(run.out / "scores.parquet")
    (asked,) = (query["id"] for query in scores.queries if query["name"] == "query1.mp4")
    expected = choose(scores, View((asked,), 50.0, 3))
    chosen = list(each_json(folder / "selection.jsonl"))
    assert [entry["id"] for entry in chosen] == expected.scores.rows(expected.selection.kept, ["id"])["id"].to_pylist()
    assert [entry["name"].removesuffix(".mp4") for entry in chosen] == shown
    assert len(list((folder / "export" / "videos").glob("*.mp4"))) == 3
    assert (folder / "export" / "metadata.csv").exists()
    assert json.loads((folder / "view.json").read_text()) == {"queries": [asked], "percentile": 50, "size": 3}


def test_videos_play_when_served_and_details_open(finished, browser) -> None:
    with serving(finished) as (_, base), quiet_page(browser, base) as page:
        page.goto(base)
        until(page, "[...document.querySelectorAll('main video')].some((v) => v.currentTime > 0)")
        page.locator(".card").first.click()
        page.locator("#details .bars li").first.wait_for()


def test_influence_during_training_is_shown_as_it_comes(armed, tmp_path, browser) -> None:
    shutil.copytree(armed.out, tmp_path / "run")
    config = armed.model_copy(update={"out": tmp_path / "run"})
    file = config.out / "arms" / "motive" / "influence.jsonl"
    whole = file.read_text().splitlines()[:-1]
    file.write_text(whole[0] + "\n")
    points = "document.querySelector('#training [aria-label^=Mean] .curve')?.getAttribute('d').split('L').length"
    with serving(config) as (_, base), quiet_page(browser, base) as page:
        page.goto(base + "#arms")
        until(page, f"{points} === 1")
        file.write_text("\n".join(whole) + "\n")
        until(page, f"{points} === {len(whole)}")


def test_only_the_report_is_served(finished) -> None:
    with serving(finished) as (server, _):
        port = server.server_port
        status, headers, body = ask(port, "GET", "/")
        assert status == 200
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert server.token.encode() in body
        headers = ask(port, "GET", "/data/run.js")[1]
        assert headers["Content-Type"].startswith("text/javascript")
        assert headers["Cache-Control"] == "no-store", "data change under their names"
        for path in (
            "/data/../index.html",
            "/data/%2e%2e/motive.yaml",
            "/../motive.yaml",
            "/motive.yaml",
            "/media/x.mp4",
            "/data/gone.js",
        ):
            assert ask(port, "GET", path)[0] == 404, path
        video = next((finished.out / "report" / "media").glob("*.mp4"))
        status, headers, body = ask(port, "GET", f"/media/{video.name}", Range="bytes=2-5")
        assert (status, body) == (206, video.read_bytes()[2:6])


def test_only_the_page_itself_can_ask_for_anything(run) -> None:
    body = {"queries": queries(run), "percentile": 66, "size": 2, "name": "x"}
    with serving(run) as (server, _):
        port, token = server.server_port, {"X_Motive_Token": server.token}
        assert ask(port, "POST", "/select", body, **token)[0] == 200
        for path in ("/select", "/export"):
            assert ask(port, "POST", path, body)[0] == 403
            assert ask(port, "POST", path, body, X_Motive_Token="x" * 32)[0] == 403
            assert ask(port, "POST", path, body, Origin="https://evil.example", **token)[0] == 403
            assert ask(port, "POST", path, body, Sec_Fetch_Site="cross-site", **token)[0] == 403
            assert ask(port, "POST", path, body, Host="evil.example", **token)[0] == 421
            assert ask(port, "POST", path, body, Content_Type="text/plain", **token)[0] == 415
            for wrong in (
                b"{",
                [],
                {},
                body | {"queries": "q"},
                body | {"size": "2"},
                body | {"queries": [1]},
                body | {"size": 0},
            ):
                assert ask(port, "POST", path, wrong, **token)[0] == 400, wrong
        assert ask(port, "POST", "/export", body | {"name": "../x"}, **token)[0] == 400
        assert ask(port, "GET", "/export")[2] == ask(port, "GET", "/export")[2]
    assert not (run.out / "views").exists()


def test_an_export_that_fails_says_why(run) -> None:
    body = {"queries": queries(run), "percentile": 66, "size": 2, "name": "x"}
    (run.out / "views").write_text("a file in the way")
    with serving(run) as (server, _):
        assert ask(server.server_port, "POST", "/export", body, X_Motive_Token=server.token)[0] == 202
        end = time.monotonic() + 20
        while (told := json.loads(ask(server.server_port, "GET", "/export")[2]))["state"] == "running":
            assert time.monotonic() < end
            time.sleep(0.02)
    assert told["state"] == "failed"
    assert "views" in told["error"]


def test_the_commands(run) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "motive"]
    more = ["--set", f"out={run.out}"]
    done = subprocess.run(
        [*command, "report", str(run.out), "--json", *more], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout) == {"file": str(run.out / "report" / "index.html")}
    process = subprocess.Popen(
        [*command, "view", str(run.out), "--port", "0", *more], stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        port = int(re.search(r"127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
        assert ask(port, "GET", "/")[0] == 200
        process.send_signal(signal.SIGINT)
        assert "stopped" in process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert Path(run.out / "report" / "index.html").exists()
