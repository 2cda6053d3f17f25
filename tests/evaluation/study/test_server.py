"""The server by bare requests: what it gives, and what it refuses."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motive.evaluation.study.sheet import code, sheet
from motive.evaluation.study.study import TIE, load_study
from motive.evaluation.study.votes import Votes
from motive.serving import byte_range
from tests.evaluation.study.conftest import ARMS, serving
from tests.requests import ask


@pytest.fixture
def server(folder):
    with serving(folder, ("study.example.org",)) as running:
        yield running


def enter(port: int, name: str, given: str = "") -> dict:
    status, _, body = ask(port, "POST", "/enter", {"name": name, "code": given})
    assert status == 200, body
    return json.loads(body)


def test_nothing_that_a_rater_gets_names_an_arm(server) -> None:
    port = server.server_port
    entered = enter(port, "anna")
    texts = [ask(port, "GET", "/"), ask(port, "POST", "/enter", {"name": "ben", "code": ""})]
    texts += [ask(port, "GET", f"/media/{id}.mp4") for entry in entered["sheet"] for id in entry["videos"]]
    assert all(status == 200 for status, _, _ in texts)
    for _, headers, body in texts:
        for secret in (*ARMS, "frozen", "identical", "original", "Last-Modified", str(server.study.seed) + '"'):
            assert secret not in str(headers)
            assert secret.encode() not in body
    assert {len(entry["videos"]) for entry in entered["sheet"]} == {2}


def test_the_page_lets_nothing_but_its_own_parts_run(server) -> None:
    status, headers, body = ask(server.server_port, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert b"http://" not in body
    assert b"https://" not in body


@pytest.mark.parametrize(
    "path",
    [
        "/key.json",
        "/votes.sqlite",
        "/media/",
        "/media/../key.json",
        "/media/..%2fkey.json",
        "/media/%2e%2e/key.json",
        "/media/../../../../etc/passwd",
        "//etc/passwd",
        "/media/0123456789abcdef.mp4",
        "/media/%00.mp4",
        "/?x",
        "/enter",
    ],
)
def test_no_path_leads_to_any_other_file(server, path) -> None:
    connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    with connection, connection.makefile("rb") as answer:
        assert b" 404 " in answer.readline()


def test_a_file_name_on_disk_is_no_address(server) -> None:
    names = [file.name for file in next(iter(server.media.values())).parent.iterdir()]
    assert names
    assert {ask(server.server_port, "GET", f"/media/{name}")[0] for name in names} == {404}


def test_a_vote_is_on_disk_when_it_is_answered_and_can_be_changed(server, folder) -> None:
    port = server.server_port
    entered = enter(port, " Anna ")
    assert entered["rater"] == "anna"
    entry = entered["sheet"][0]
    for choice in (entry["videos"][1], TIE, entry["videos"][0]):
        vote = {"name": "anna", "code": entered["code"], "pair": entry["pair"], "choice": choice}
        assert ask(port, "POST", "/vote", vote)[0] == 200
        with Votes(folder) as other:
            assert [(v.pair, v.choice) for v in other.latest("anna")] == [(entry["pair"], choice)]
    assert enter(port, "anna", entered["code"])["votes"] == {entry["pair"]: entry["videos"][0]}


def test_a_taken_name_needs_its_code(server) -> None:
    port = server.server_port
    mine = enter(port, "anna")
    for given_code in ("", "0" * 12, "\ud800", code(server.study, "ben")):
        status, _, body = ask(port, "POST", "/enter", {"name": "ANNA", "code": given_code})
        assert status == 403
        assert "taken" in json.loads(body)["error"]
        assert mine["code"].encode() not in body
    assert enter(port, "Anna", mine["code"])["sheet"] == mine["sheet"]


def test_of_many_who_come_with_one_name_at_once_one_gets_it(server) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = [(server.server_port, "POST", "/enter", {"name": "anna", "code": ""})] * 8
        statuses = sorted(status for status, _, _ in pool.map(lambda words: ask(*words), asked))
    assert statuses == [200] + [403] * 7


def vote_of(server, **changes: object) -> tuple[int, dict]:
    entered = enter(server.server_port, "anna", code(server.study, "anna"))
    entry = entered["sheet"][0]
    vote = {"name": "anna", "code": entered["code"], "pair": entry["pair"], "choice": entry["videos"][0]} | changes
    status, _, body = ask(server.server_port, "POST", "/vote", vote)
    return status, json.loads(body)


def test_only_a_raters_own_votes_for_pairs_shown_are_taken(server, folder) -> None:
    other = sheet(server.study, "anna")[1]
    refused = {
        "code": ("", "0" * 12, code(server.study, "ben"), "\udfff"),
        "pair": ("", "0" * 16, "\ud800"),
        "choice": (other.sides[0], "left", "\ud800"),
        "name": ("ben", "", "a\x1b"),
    }
    for key, values in refused.items():
        for value in values:
            assert vote_of(server, **{key: value})[0] in (400, 403), (key, value)
    assert vote_of(server, pair=3)[0] == 400
    with Votes(folder) as votes:
        assert votes.latest() == []
    assert vote_of(server) == (200, {})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "192.168.1.5:80"}, 200),
        ({"Host": "Study.Example.org"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1", "Host": "localhost:1"}, 200),
        ({"Origin": "https://study.example.org", "Host": "study.example.org"}, 200),
        ({"Origin": "http://localhost:2", "Host": "localhost:1"}, 403),
    ],
)
def test_other_names_and_other_sites_pages_are_refused(server, headers, status) -> None:
    for method, path, body in (("GET", "/", None), ("POST", "/enter", {"name": "anna", "code": code(server.study, "anna")})):
        assert ask(server.server_port, method, path, body, **headers)[0] == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b"x" * 10_001, {}, 413),
        (b"{}", {"Content_Length": "-1"}, 413),
        (b"{}", {"Content_Length": "99999999999"}, 413),
        (b"not json", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 9_000, {}, 400),
        (b"[]", {}, 400),
        (b'{"name": 3}', {}, 400),
        (b"{}", {}, 400),
    ],
)
def test_bodies_that_make_no_sense_are_refused(server, body, headers, status) -> None:
    found, _, said = ask(server.server_port, "POST", "/enter", body, **headers)
    assert found == status
    assert json.loads(said)["error"]


def test_other_methods_are_not_known(server) -> None:
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(server.server_port, method, "/")[0] == 501
    assert ask(server.server_port, "POST", "/nothing", {})[0] == 404


def test_a_video_comes_whole_or_in_the_asked_for_piece(server) -> None:
    id, file = next(iter(server.media.items()))
    whole = file.read_bytes()
    for asked, status, piece in (
        (None, 200, whole),
        ("bytes=0-", 206, whole),
        ("bytes=0-99", 206, whole[:100]),
        ("bytes=100-199", 206, whole[100:200]),
        ("bytes=-7", 206, whole[-7:]),
        (f"bytes={len(whole) - 1}-{len(whole) + 50}", 206, whole[-1:]),
        (f"bytes={len(whole)}-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-2", 200, whole),
        ("bytes=0-1,5-6", 200, whole),
        ("lines=0-1", 200, whole),
    ):
        headers = {"Range": asked} if asked else {}
        found, sent, body = ask(server.server_port, "GET", f"/media/{id}.mp4", **headers)
        assert (found, body) == (status, piece), asked
        assert sent["Content-Type"] == "video/mp4"
        if status == 206:
            first = whole.index(piece) if len(piece) > 50 else len(whole) - len(piece)
            assert sent["Content-Range"] == f"bytes {first}-{first + len(piece) - 1}/{len(whole)}"
        if status == 416:
            assert sent["Content-Range"] == f"bytes */{len(whole)}"
        head = ask(server.server_port, "HEAD", f"/media/{id}.mp4", **headers)
        assert (head[0], head[1]["Content-Length"], head[2]) == (status, str(len(piece)), b"")


@given(first=st.none() | st.integers(0, 40), last=st.none() | st.integers(0, 40), size=st.integers(1, 30))
def test_ranges_mean_what_the_standard_says(first, last, size) -> None:
    found = byte_range(f"bytes={'' if first is None else first}-{'' if last is None else last}", size)
    places = list(range(size))
    if first is None and last is None:
        assert found is None
    elif first is None:
        assert places[found[0] : found[1] + 1] == (places[-last:] if last else [])
    elif last is not None and last < first:
        assert found is None
    else:
        assert places[found[0] : found[1] + 1] == places[first : None if last is None else last + 1]


@given(st.text(max_size=30))
def test_no_range_header_is_an_error(text) -> None:
    found = byte_range(text, 10)
    assert found is None or 0 <= found[0] <= 10


def test_one_connection_takes_many_requests(server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read().startswith(b"<!doctype html>")
        body = json.dumps({"name": "anna", "code": code(server.study, "anna")})
        connection.request("POST", "/enter", body, {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read())["rater"] == "anna"
    connection.close()


def start(folder):
    command = [sys.executable, "-m", "motive", "study", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    return process, int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])


def test_killed_at_any_vote_none_is_lost_and_raters_go_on(folder) -> None:
    study = load_study(folder)
    cast = {}
    for round, signal_sent in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)):
        process, port = start(folder)
        with process:
            entered = enter(port, "anna", code(study, "anna"))
            assert entered["votes"] == cast
            for entry in entered["sheet"][round : round + 3]:
                choice = entry["videos"][round % 2]
                vote = {"name": "anna", "code": entered["code"], "pair": entry["pair"], "choice": choice}
                assert ask(port, "POST", "/vote", vote)[0] == 200
                cast[entry["pair"]] = choice
            process.send_signal(signal_sent)
            printed, _ = process.communicate(timeout=60)
        if signal_sent is signal.SIGINT:
            assert process.returncode == 0
            assert "motive study result" in printed
    with Votes(folder) as votes:
        assert {v.pair: v.choice for v in votes.latest()} == cast
    assert len(cast) == 5
