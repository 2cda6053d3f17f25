"""The rater's page in a real browser, served and from disk."""

import json
import re

import pytest

from motive.evaluation.study.export import export_study, import_votes
from motive.evaluation.study.result import study_result
from motive.evaluation.study.sheet import sheet
from motive.evaluation.study.study import TIE, load_study
from motive.evaluation.study.votes import Votes
from tests.browser import low_contrasts, quiet_page, until
from tests.evaluation.study.conftest import ARMS, HOSTILE, serving

READY = '#choices[aria-disabled="false"]'
LOADED = "[...document.querySelectorAll('video')].every((v) => v.readyState === 4)"


@pytest.fixture
def site(folder):
    """The served study: its address, the study, and its folder."""
    with serving(folder) as server:
        yield f"http://127.0.0.1:{server.server_port}/", server.study, folder


def sign_in(page, base: str, name: str) -> None:
    page.goto(base)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()
    page.locator("#rating").wait_for()


def shown_videos(page) -> tuple[str, str]:
    return tuple(
        re.search(r"([0-9a-f]{16})\.mp4$", url)[1]
        for url in page.evaluate("[...document.querySelectorAll('video')].map((v) => v.src)")
    )


def shown_pair(page, study):
    videos = set(shown_videos(page))
    return next(pair for pair in study.by_id.values() if {video.id for video in pair.videos} == videos)


def answered(page, number: int) -> None:
    """Wait until so many answers are kept."""
    page.locator("#count", has_text=re.compile(rf"^{number} of ")).wait_for()


def key_for(page, choice: str) -> str:
    return "0" if choice == TIE else str(1 + shown_videos(page).index(choice))


def cast(folder, rater: str) -> dict[str, str]:
    with Votes(folder) as votes:
        return {vote.pair: vote.choice for vote in votes.latest(rater)}


def test_two_raters_at_once_vote_each_in_an_order_of_their_own_and_the_result_is_theirs(site, browser) -> None:
    """Anna always takes the reference and Ben ties; both know checks when they see them."""
    base, study, folder = site
    wanted = {"anna": lambda pair: pair.videos[0].id, "ben": lambda pair: TIE}
    orders = {name: [] for name in wanted}
    with quiet_page(browser, base) as anna, quiet_page(browser, base) as ben:
        pages = {"anna": anna, "ben": ben}
        for name, page in pages.items():
            sign_in(page, base, name)
        for number in range(study.sheet_size):
            for name, page in pages.items():
                page.locator(READY).wait_for()
                pair = shown_pair(page, study)
                orders[name].append(pair.id)
                page.keyboard.press(key_for(page, pair.right if pair.check else wanted[name](pair)))
            for page in pages.values():
                answered(page, number + 1)
        for page in pages.values():
            page.get_by_text(f"All {study.sheet_size} pairs are answered.").wait_for()
    for name, order in orders.items():
        assert order == [shown.pair.id for shown in sheet(study, name)]
    assert orders["anna"] != orders["ben"]
    with Votes(folder) as votes:
        result = study_result(study, votes.latest())
    assert [rater.left_out for rater in result.raters] == ["", ""]
    for row in result.comparisons:
        assert (row.votes, row.win[0], row.tie[0], row.loss[0], row.preferred[0]) == (6, 0.5, 0.5, 0.0, 0.75)


def test_a_reload_in_the_middle_goes_on_there_with_the_same_sides(site, browser) -> None:
    base, study, folder = site
    with quiet_page(browser, base) as page:
        sign_in(page, base, "Anna")
        for number in range(2):
            page.locator(READY).wait_for()
            page.get_by_role("button", name="No difference").click()
            answered(page, number + 1)
        before = shown_videos(page)
        page.reload()
        page.locator("#rating").wait_for()
        assert page.locator("#count").inner_text() == f"2 of {study.sheet_size} answered"
        assert shown_videos(page) == before == sheet(study, "anna")[2].sides
    assert cast(folder, "anna") == {shown.pair.id: TIE for shown in sheet(study, "anna")[:2]}


def test_another_browser_goes_on_with_name_and_code_alone(site, browser) -> None:
    base, study, _ = site
    with quiet_page(browser, base) as page:
        sign_in(page, base, "Anna")
        page.locator(READY).wait_for()
        page.keyboard.press("0")
        answered(page, 1)
        code = page.locator("#mine").inner_text()
    context = browser.new_context()  # not quiet: the browser itself notes a refusal on the console
    page = context.new_page()
    page.goto(base)
    assert not page.get_by_label("Your code").is_visible()
    page.get_by_label("Your name").fill("anna")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("This name is taken").wait_for()
    page.get_by_label("Your code").fill(code)
    page.get_by_role("button", name="Start").click()
    answered(page, 1)
    assert shown_videos(page) == sheet(study, "anna")[1].sides
    page.get_by_role("button", name="I am somebody else").click()
    page.get_by_label("Your name").wait_for()
    context.close()


def test_everything_works_by_keyboard_alone(site, browser) -> None:
    base, study, folder = site
    order = sheet(study, "anna")
    with quiet_page(browser, base) as page:
        page.goto(base)
        page.keyboard.press("Tab")
        page.keyboard.type("anna")
        page.keyboard.press("Enter")
        expected = {}
        for number, (key, choice) in enumerate(
            [("1", 0), ("2", 1), ("0", None), ("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowDown", None)]
        ):
            page.locator(READY).wait_for()
            page.keyboard.press(key)
            answered(page, number + 1)
            expected[order[number].pair.id] = TIE if choice is None else order[number].sides[choice]
        assert cast(folder, "anna") == expected
        page.keyboard.press("b")
        page.keyboard.press("Backspace")
        until(page, LOADED)
        assert shown_videos(page) == order[4].sides
        assert page.get_by_role("button", name="Video 2").get_attribute("aria-pressed") == "true"
        page.keyboard.press("1")  # what was answered before can be answered at once
        until(page, "document.querySelector('#choices [data-choice=\"\"]').getAttribute('aria-pressed') === 'true'")
        page.keyboard.press("n")
        page.locator(READY).wait_for()
        expected[order[4].pair.id] = order[4].sides[0]
        assert cast(folder, "anna") == expected
        for _ in range(12):  # the focus reaches a choice, and a choice takes the space bar
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.choice") == "1":
                break
        page.keyboard.press("Space")
        answered(page, 7)
        assert cast(folder, "anna")[order[6].pair.id] == order[6].sides[1]


def test_no_vote_is_taken_before_both_videos_were_seen_or_with_a_modifier_or_a_held_key(site, browser) -> None:
    base, _, folder = site
    with quiet_page(browser, base) as page:
        sign_in(page, base, "anna")
        page.evaluate(
            "document.querySelectorAll('video').forEach((v) => { v.playbackRate = 0.1; v.defaultPlaybackRate = 0.1; })"
        )
        until(page, LOADED)
        page.keyboard.press("1")
        page.get_by_role("button", name="Video 2").click(force=True)  # it waits for what is disabled
        page.get_by_text("Watch both videos to the end, then choose.").wait_for()
        assert cast(folder, "anna") == {}
        page.evaluate("document.querySelectorAll('video').forEach((v) => { v.playbackRate = 1; v.defaultPlaybackRate = 1; })")
        page.locator(READY).wait_for()
        for chord in ("Control+1", "Alt+1", "Meta+0"):
            page.keyboard.press(chord)
        page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', { key: '1', repeat: true }))")
        page.wait_for_timeout(100)
        assert cast(folder, "anna") == {}
        page.evaluate("for (let n = 0; n < 5; n++) document.querySelector('#choices button').click()")
        answered(page, 1)
        page.wait_for_timeout(100)
        assert len(cast(folder, "anna")) == 1


def test_both_videos_start_and_begin_again_together_and_replay(site, browser) -> None:
    base, _, _ = site
    with quiet_page(browser, base) as page:
        page.add_init_script("""
            window.starts = [];
            const started = (event) => starts.push([event.target.getAttribute("aria-label"), performance.now()]);
            document.addEventListener("playing", started, true);
        """)
        sign_in(page, base, "anna")
        until(page, "starts.length >= 6")
        for first, second in zip(*[iter(page.evaluate("starts"))] * 2, strict=False):
            assert {first[0], second[0]} == {"Video 1", "Video 2"}
            assert abs(first[1] - second[1]) < 250
        page.evaluate("document.querySelectorAll('video').forEach((v) => v.pause())")
        times = page.evaluate("[...document.querySelectorAll('video')].map((v) => v.currentTime)")
        assert abs(times[0] - times[1]) < 0.15
        before = page.evaluate("starts.length")
        page.keyboard.press("r")
        until(page, f"starts.length >= {before} + 2")
        assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.muted && !v.loop && !v.controls)")


def test_people_who_want_less_motion_start_the_videos_themselves(site, browser) -> None:
    base, _, _ = site
    with quiet_page(browser, base, reduced_motion="reduce") as page:
        sign_in(page, base, "anna")
        page.get_by_text("Press Replay to start the videos.").wait_for()
        assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.paused)")
        page.keyboard.press("r")
        page.locator(READY).wait_for()
        page.wait_for_timeout(900)
        assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.ended)")


def test_hostile_text_stays_text(site, browser) -> None:
    base, study, _ = site
    seen = set()
    with quiet_page(browser, base) as page:
        sign_in(page, base, "<img src=x onerror=alert(3)>")
        elements = page.evaluate("document.querySelectorAll('*').length")
        for number in range(study.sheet_size):
            page.locator(READY).wait_for()
            assert page.locator("#prompt").evaluate("(e) => e.textContent") == shown_pair(page, study).caption
            seen.add(page.locator("#prompt").evaluate("(e) => e.textContent"))
            assert page.evaluate("document.querySelectorAll('*').length") == elements
            page.keyboard.press("0")
            answered(page, number + 1)
        assert page.locator("#who").inner_text() == "<img src=x onerror=alert(3)>"
    assert seen == {text.strip() for text in HOSTILE.values()}


def test_nothing_on_the_page_or_in_its_addresses_names_an_arm(site, browser) -> None:
    base, study, _ = site
    with quiet_page(browser, base) as page:
        addresses = []
        page.on("request", lambda request: addresses.append(request.url.removeprefix(base)))
        sign_in(page, base, "anna")
        for number in range(study.sheet_size):
            page.locator(READY).wait_for()
            for secret in (*ARMS, "frozen", "identical", "original", *study.files.values()):
                assert secret not in page.content()
            page.keyboard.press("0")
            answered(page, number + 1)
    assert {re.sub("[0-9a-f]{16}", "*", address) for address in addresses} == {"", "enter", "vote", "media/*.mp4"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_contrast_meets_wcag_aa_and_focus_shows(site, browser, scheme, width) -> None:
    base, study, _ = site
    with quiet_page(browser, base, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        page.goto(base)
        page.keyboard.press("Tab")
        assert low_contrasts(page) == []
        sign_in(page, base, "anna")
        assert low_contrasts(page) == []
        page.locator(READY).wait_for()
        assert low_contrasts(page) == []
        page.keyboard.press("0")
        answered(page, 1)
        page.keyboard.press("b")
        focused = set()
        for _ in range(8):
            page.keyboard.press("Tab")
            focused.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            assert low_contrasts(page) == []
        assert {"prompt", "replay", "next", "leave"} <= focused
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("n")
        for number in range(1, study.sheet_size):
            page.locator(READY).wait_for()
            page.keyboard.press("0")
            answered(page, number + 1)
        page.locator("#done").wait_for()
        assert low_contrasts(page) == []


def test_every_control_has_a_name(site, browser) -> None:
    base, _, _ = site
    with quiet_page(browser, base) as page:
        page.goto(base)
        assert page.get_by_role("textbox", name="Your name").is_visible()
        sign_in(page, base, "anna")
        page.locator(READY).wait_for()
        for name in ("Video 1", "Video 2", "No difference", "Replay"):
            assert page.get_by_role("button", name=name).is_visible()
        assert page.get_by_role("progressbar", name=re.compile("answered")).is_visible()
        assert page.get_by_role("heading", level=1).count() == 1
        assert page.get_by_role("group", name="Which video shows").is_visible()
        assert page.locator("html").get_attribute("lang") == "en"


def test_a_vote_that_is_not_saved_is_told_and_the_pair_stays(site, browser) -> None:
    base, study, folder = site
    context = browser.new_context()  # not quiet: the browser itself notes the lost request on the console
    page = context.new_page()
    sign_in(page, base, "anna")
    page.locator(READY).wait_for()
    context.set_offline(True)
    page.keyboard.press("1")
    page.get_by_text("Not saved. The server does not answer.").wait_for()
    page.wait_for_timeout(2500)  # the videos begin again, and what was told stays
    assert page.locator("#hint").inner_text().startswith("Not saved.")
    assert shown_videos(page) == sheet(study, "anna")[0].sides
    assert cast(folder, "anna") == {}
    context.set_offline(False)
    page.keyboard.press("1")
    answered(page, 1)
    assert cast(folder, "anna") == {sheet(study, "anna")[0].pair.id: sheet(study, "anna")[0].sides[0]}
    context.close()


def test_exported_pages_open_from_disk_keep_votes_and_give_them_as_a_file(made, browser, tmp_path) -> None:
    study = load_study(made)
    out = tmp_path / "pages <&>"
    (anna, ben) = export_study(study, made, out, ["Anna", "Ben"])
    order = sheet(study, "anna")
    base = out.as_uri()
    with quiet_page(browser, base, accept_downloads=True) as page:
        page.goto(anna.page.as_uri())
        assert not page.get_by_label("Your name").is_visible()
        page.get_by_role("button", name="Start").click()
        for number in range(3):
            page.locator(READY).wait_for()
            page.keyboard.press("0")
            answered(page, number + 1)
        page.reload()
        answered(page, 3)
        page.keyboard.press("b")
        until(page, LOADED)
        assert shown_videos(page) == order[2].sides
        page.keyboard.press("2")
        for number in range(3, study.sheet_size):
            page.locator(READY).wait_for()
            page.keyboard.press("1")
            answered(page, number + 1)
        page.locator("#done").wait_for()
        assert low_contrasts(page) == []
        with page.expect_download() as download:
            page.get_by_role("button", name="Save answers to a file").click()
        page.get_by_text(f"Saved {study.sheet_size} answers.").wait_for()
        assert download.value.suggested_filename == "votes-01.json"
        download.value.save_as(tmp_path / "votes.json")
        page.goto(ben.page.as_uri())  # another rater's page in the same browser begins afresh
        page.get_by_role("button", name="Start").click()
        assert shown_videos(page) == sheet(study, "ben")[0].sides
        answered(page, 0)
    assert not any(arm in (tmp_path / "votes.json").read_text() for arm in ARMS)
    assert json.loads((tmp_path / "votes.json").read_text())["rater"] == "anna"
    with Votes(tmp_path) as votes:
        assert import_votes(study, votes, tmp_path / "votes.json") == ("anna", study.sheet_size)
        expected = (
            {s.pair.id: TIE for s in order[:2]}
            | {order[2].pair.id: order[2].sides[1]}
            | {s.pair.id: s.sides[0] for s in order[3:]}
        )
        assert {v.pair: v.choice for v in votes.latest("anna")} == expected


def test_a_browser_that_keeps_nothing_still_takes_votes_and_warns(made, browser, tmp_path) -> None:
    study = load_study(made)
    (anna,) = export_study(study, made, tmp_path / "pages", ["Anna"])
    with quiet_page(browser, (tmp_path / "pages").as_uri(), accept_downloads=True) as page:
        page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); };")
        page.goto(anna.page.as_uri())
        page.get_by_role("button", name="Start").click()
        page.locator(READY).wait_for()
        page.keyboard.press("0")
        answered(page, 1)
        page.get_by_text("This browser keeps nothing").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save answers to a file").click()
        download.value.save_as(tmp_path / "votes.json")
    assert len(json.loads((tmp_path / "votes.json").read_text())["votes"]) == 1
