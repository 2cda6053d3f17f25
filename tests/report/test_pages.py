"""The report in a real browser, from disk with the network off."""

import re

import pytest

from motive.attribution.scores import load_scores
from motive.files import each_json
from tests.browser import low_contrasts, quiet_page, until
from tests.report.conftest import CLIPS, address
from tests.report.made import HOSTILE

VIDEOS_PLAY = "[...document.querySelectorAll('main video')].some((v) => !v.paused && v.currentTime > 0)"


@pytest.fixture
def opened(browser):
    """Opens a view of a run's report; fails at the end if the page said anything or asked for anything outside its folder."""
    stack = []

    def open_(config, view: str = "", ready: str = "main h1", **options):
        manager = quiet_page(browser, address(config).removesuffix("index.html"), **options)
        page = manager.__enter__()
        stack.append(manager)
        page.context.set_offline(True)
        page.goto(f"{address(config)}#{view}")
        page.locator(ready).first.wait_for()
        return page

    yield open_
    while stack:
        stack.pop().__exit__(None, None, None)


def ranks(page) -> list[int]:
    return [int(text.replace(",", "")) for text in page.locator("table.clips tbody .is-rank").all_inner_texts()]


def test_videos_play_and_their_mask_follows_and_goes(finished, opened) -> None:
    page = opened(finished)
    until(page, VIDEOS_PLAY)
    until(page, "document.querySelector('video').readyState >= 2 && document.querySelector('video').videoHeight === 144")
    shown = "getComputedStyle(document.querySelector('.mask')).display"
    assert page.evaluate(shown) == "block"
    assert page.evaluate("getComputedStyle(document.querySelector('.mask')).backgroundSize") == "100% 300%"
    page.evaluate(
        "window.places = new Set(); setInterval(() => places.add(document.querySelector('.mask').style.backgroundPositionY), 5)"
    )
    until(page, "['0%', '50%', '100%'].every((place) => places.has(place))")
    page.get_by_role("button", name="Mask").click()
    assert page.evaluate(shown) == "none"
    page.keyboard.press("m")
    assert page.evaluate(shown) == "block"
    page.get_by_role("button", name="Play").click()
    until(page, "[...document.querySelectorAll('video')].every((v) => v.paused)")


def test_only_videos_on_the_screen_are_loaded_and_stop_when_they_leave_it(finished, opened) -> None:
    page = opened(finished, "queries/0", viewport={"width": 900, "height": 420})
    until(page, VIDEOS_PLAY)
    loaded = "[...document.querySelectorAll('main .cards video')].map((v) => Boolean(v.src))"
    before = page.evaluate(loaded)
    assert not all(before)
    page.mouse.wheel(0, 5000)
    until(page, f"{loaded}.filter(Boolean).length > {sum(before)}")
    until(page, "document.querySelector('.big video').paused")


def test_who_wants_less_motion_gets_it(finished, opened) -> None:
    page = opened(finished, reduced_motion="reduce")
    assert page.get_by_role("button", name="Play").get_attribute("aria-pressed") == "false"
    page.wait_for_timeout(300)
    assert not page.evaluate(VIDEOS_PLAY)
    page.get_by_role("button", name="Play").click()
    until(page, VIDEOS_PLAY)


def test_what_was_run_and_what_was_not_is_said(finished, opened) -> None:
    page = opened(finished)
    text = page.locator("main").inner_text()
    assert "2 clips of 7 to train on" in text
    assert "The model is UNTRAINED" in text
    assert "broken.mp4" in text
    assert f"motive prove {finished.out}" in text
    assert "9 frames of 64 × 48 at 16 frames a second" in text
    page.get_by_text("Every setting").click()
    page.get_by_text("gradients.projector").wait_for()


def test_a_query_shows_its_best_and_worst_clips_with_error_bars(finished, opened) -> None:
    page = opened(finished, "queries/1", ready=".card")
    first, second = (query["name"].removesuffix(".mp4") for query in load_scores(finished.out / "scores.parquet").queries)
    assert page.locator("main h1").inner_text() == second
    names = page.locator(".card .name").all_inner_texts()
    assert len(names) == 6
    assert "± 0.044" in page.locator(".card .value").first.inner_text()
    assert page.locator(".card .chart .error").count() == 18
    assert f"Distribution of influence on {second}" in page.locator("main svg").first.get_attribute("aria-label")
    page.keyboard.press("p")
    page.locator("main h1").get_by_text(first).wait_for()


@pytest.mark.parametrize("view", ["", "queries/0", "clips", "harmful", "arms"])
def test_hostile_captions_and_prompts_stay_text(armed, opened, view) -> None:
    page = opened(armed, view)
    if view in ("queries/0", "clips", "arms"):
        until(page, "document.querySelector('main').innerText.includes('<script>alert(2)</script>')")
    assert page.locator("main img:not([src^=media])").count() == 0
    assert page.locator("main script").count() == 0
    text = page.locator("main").inner_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    assert page.evaluate("typeof allClips") == "undefined"  # nothing of the page is anyone else's to change


def test_the_table_of_ten_thousand_sorts_filters_searches_and_turns_pages(large, opened) -> None:
    page = opened(large, "clips", ready="table.clips")
    assert ranks(page) == list(range(1, 51))
    assert "10,000 clips, page 1 of 200" in page.locator(".pager").first.inner_text()
    assert page.locator("tbody tr").count() == 50
    page.get_by_role("button", name="Last").first.click()
    until(page, "document.querySelector('.pager').innerText.includes('page 200')")
    assert ranks(page)[-1] == CLIPS
    page.keyboard.press("p")
    until(page, "document.querySelector('.pager').innerText.includes('page 199')")
    page.get_by_role("button", name="px/frame").click()
    until(page, "document.querySelector('.is-motion').getAttribute('aria-sort') === 'descending'")
    speeds = [float(text) for text in page.locator("tbody .is-motion").all_inner_texts()]
    assert speeds == sorted(speeds, reverse=True)
    assert page.evaluate("document.activeElement.dataset.sort") == "motion"
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.is-motion').getAttribute('aria-sort') === 'ascending'")
    page.get_by_label("Fate").select_option("kept")
    until(page, "document.querySelector('.pager').innerText.includes('3,400 clips')")
    assert set(page.locator("tbody .is-fate").all_inner_texts()) == {"kept"}
    page.get_by_label("Influence on").select_option("3")
    page.get_by_role("button", name="On query").click()
    until(page, "document.querySelector('th.is-influence').getAttribute('aria-sort') === 'descending'")
    values = [float(text.replace("−", "-")) for text in page.locator("td.is-influence").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    page.get_by_label("Fate").select_option("")
    page.keyboard.press("/") if page.evaluate("document.activeElement.blur() ?? true") else None
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("RED number 9998")
    until(page, "document.querySelector('.pager').innerText.startsWith('1 clip')")
    assert page.locator("tbody .caption").inner_text() == "a red ball number 9998"
    page.get_by_label("Search").fill("no such clip")
    page.get_by_text("No clip matches.").wait_for()
    page.get_by_label("Search").fill("<script>")
    until(page, "document.querySelector('.pager').innerText.startsWith('1 clip')")


def test_the_keyboard_walks_opens_and_closes(large, opened) -> None:
    page = opened(large, "clips", ready="table.clips")
    for key, place in (("j", "0"), ("j", "1"), ("ArrowDown", "2"), ("k", "1")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.dataset.place") == place
    page.keyboard.press("Enter")
    page.locator("#details .bars li").first.wait_for()
    assert page.locator("#details .bars li").count() == 12
    assert "2 of 10,000" in page.locator("#details").inner_text()
    assert "tag-" in page.locator("#details").inner_text()
    page.keyboard.press("j")
    page.get_by_text("3 of 10,000").wait_for()
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('#details').open && document.activeElement.dataset.place === '2'")
    page.keyboard.press("n")
    until(page, "document.querySelector('.pager').innerText.includes('page 2 of')")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.get_by_role("heading", name="query_0").wait_for()
    page.keyboard.press("n")
    page.get_by_role("heading", name="query_1").first.wait_for()
    page.keyboard.press("/")
    page.locator("table.clips").wait_for()
    until(page, "document.activeElement.id === 'search'")
    page.keyboard.press("Control+j")  # the browser's own keys stay its own


def test_few_elements_stand_on_a_page_however_large_the_pool(large, opened) -> None:
    page = opened(large, "clips", ready="table.clips")
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    page.goto(address(large) + "#harmful")
    page.locator(".card").first.wait_for()
    assert page.locator(".card").count() == 50
    assert page.locator(".card .facts").first.inner_text().startswith("rank 10,000")


def test_harmful_clips_stand_worst_first(finished, opened) -> None:
    page = opened(finished, "harmful", ready=".card")
    names = [entry["name"].removesuffix(".mp4") for entry in each_json(finished.out / "harmful.jsonl")]
    assert page.locator(".card .name").all_inner_texts() == names


def test_arms_stand_side_by_side_with_metrics_and_influence(armed, opened) -> None:
    page = opened(armed, "arms", ready=".sample")
    assert page.locator(".sample").count() == 3
    assert page.locator(".sample").first.locator("figcaption").all_inner_texts() == ["base", "motive", "random@1"]
    page.locator(".sample").first.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.sample video')].filter((v) => v.currentTime > 0).length >= 3")
    source = page.locator(".sample video").first.get_attribute("data-name")
    page.get_by_role("button", name="seed 1").first.click()
    assert page.locator(".sample video").first.get_attribute("data-name") != source
    metrics = page.locator(".metrics").inner_text()
    assert "dynamic degree" in metrics
    assert "0.50 n 12" in metrics
    assert page.locator(".metrics .interval").count() == 6
    page.get_by_label("Motion", exact=True).select_option("slide")
    until(page, "document.querySelector('.metrics').innerText.includes('0.30 n 12')")
    text = page.locator("main").inner_text()
    assert "three <b>seeds</b> would be surer" in text
    assert "motive − random" in text
    assert "0.7500" in page.get_by_role("region", name="VBench's own scores").inner_text()
    assert "helped most" in text
    assert page.get_by_role("img", name="Mean influence of each arm's batches over steps").locator(".curve").count() == 1
    assert (
        page.get_by_role("img", name="Influence of batches of motive on each query over steps").locator(".curve").count() == 2
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(armed, opened, scheme) -> None:
    page = opened(armed, color_scheme=scheme)
    for view, ready in (("overview", ".tiles"), ("queries/0", ".asked"), ("clips", "table.clips"), ("arms", ".sample")):
        page.goto(f"{address(armed)}#{view}")
        page.locator(ready).first.wait_for()
        assert low_contrasts(page) == [], view
    page.goto(f"{address(armed)}#clips")
    page.locator("table.clips").wait_for()
    page.keyboard.press("j")
    assert low_contrasts(page) == []
    page.keyboard.press("Enter")
    page.locator("#details .bars li").first.wait_for()
    assert low_contrasts(page) == []


def test_everything_has_a_name_for_those_who_do_not_see_it(armed, opened) -> None:
    page = opened(armed)
    nameless = """[...document.querySelectorAll("button, a, input, select, video, svg[role=img], dialog, [role=region]")]
      .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim() || e.getAttribute("aria-labelledby")))
      .map((e) => e.outerHTML)"""
    for view, ready in (
        ("overview", ".tiles"),
        ("queries/0", ".asked"),
        ("clips", "table.clips"),
        ("harmful", ".card"),
        ("arms", ".sample"),
    ):
        page.goto(f"{address(armed)}#{view}")
        page.locator(ready).first.wait_for()
        assert page.evaluate(nameless) == []
        assert page.locator("h1").count() == 1
        assert page.evaluate(
            "new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size === document.querySelectorAll('[id]').length"
        )
        assert page.evaluate("[...document.querySelectorAll('img')].every((e) => e.hasAttribute('alt'))")


@pytest.mark.parametrize("view", ["overview", "queries/0", "clips", "arms"])
def test_a_narrow_screen_needs_no_scrolling_sideways(armed, opened, view) -> None:
    page = opened(armed, view, viewport={"width": 360, "height": 700})
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_captions_as_they_came_are_searched(armed, opened) -> None:
    page = opened(armed, "clips", ready="table.clips")
    for caption in HOSTILE.values():
        page.get_by_label("Search").fill(re.split(r"[\x00-\x1f\u202a-\u202e\u2028]", caption)[0].strip() or "red")
        until(page, "document.querySelector('.pager').innerText.startsWith('1 clip')")
