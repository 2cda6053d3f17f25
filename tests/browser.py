"""A real browser for tests of pages, and what must hold on every page.

MOTIVE_BROWSER names the program, a Chromium or Chrome that plays H.264. Without it one is looked for on the PATH and where
`playwright install chromium` puts it, and tests that need it are skipped if there is none. Where MOTIVE_BROWSER is set, as in
CI, they fail instead.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KNOWN = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def browser():
    """Playwright's handle on a headless browser; every test opens contexts of its own."""
    from playwright.sync_api import sync_playwright

    wanted = os.environ.get("MOTIVE_BROWSER")
    give_up = pytest.fail if wanted else pytest.skip
    with sync_playwright() as playwright:
        program = wanted or next(filter(None, map(shutil.which, KNOWN)), playwright.chromium.executable_path)
        if not Path(program).is_file():
            give_up(f"{program}: no such program; install Chromium or Chrome, or name it in MOTIVE_BROWSER")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=program, args=arguments)
        page = launched.new_page()
        if not page.evaluate("""document.createElement("video").canPlayType('video/mp4; codecs="avc1.640028"')"""):
            give_up(f"{program}: plays no H.264; name another browser in MOTIVE_BROWSER")
        page.close()
        yield launched
        launched.close()


@contextmanager
def quiet_page(browser, base: str, **options) -> Iterator:
    """A page in a context of its own; fails if it said anything on the console or asked for anything outside `base`."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    try:
        yield page
        page.wait_for_timeout(50)
    finally:
        context.close()
    assert said == []
    outside = [url for url in asked if not url.startswith((base, "data:", "blob:"))]
    assert outside == []


def until(page, expression: str, seconds: float = 20) -> None:
    """Wait until the expression holds on the page. Playwright's own way evaluates text there, which a strict policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still not true: {expression}"
        page.wait_for_timeout(20)


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
      if (colour[3] !== 0) throw new Error("half-transparent ground");
    }
    return rgba("Canvas");
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const name = `${element.tagName}#${element.id} ${element.textContent.trim().slice(0, 20)}`;
    if (says) found.push([name, "text", ratio(rgba(style.color), ground(element)), 4.5]);
    if (["BUTTON", "INPUT", "PROGRESS"].includes(element.tagName))
      found.push([name, "edge", ratio(rgba(style.borderTopColor), ground(element.parentElement)), 3]);
    if (element === document.activeElement && element.matches(":focus-visible")) {
      if (parseFloat(style.outlineWidth) < 2 || style.outlineStyle === "none") found.push([name, "no outline", 0, 3]);
      found.push([name, "focus", ratio(rgba(style.outlineColor), ground(element.parentElement)), 3]);
    }
  }
  return found;
}"""
"""Every visible text's contrast with its ground, every control's edge and the focus ring's: [what, part, ratio, least]."""


def low_contrasts(page) -> list:
    """What on the page misses WCAG 2.2 AA (1.4.3 text 4.5, 1.4.11 controls 3); fails if there was nothing to look at."""
    found = page.evaluate(CONTRAST)
    assert any(part == "text" for _, part, _, _ in found)
    return [entry for entry in found if entry[2] < entry[3]]
