"""The page in a browser: readable for everybody on every screen, and without any request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoloc.config import default_config
from geoloc.report.page import render
from tests.report.small_results import SCHEMA, write_results

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), "")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="Chromium is not installed; on Debian or Ubuntu: apt-get install chromium"
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Of what is right, axe would write down every element, which takes longer than to check it.
FAST = {"resultTypes": ["violations"]}
PHONE, LAPTOP, WIDE = (360, 780), (1440, 900), (1600, 1000)
SCREENS = [(size, scheme) for size in (PHONE, LAPTOP) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "small"
    run = write_results(folder, compared=True)
    html = render(run, default_config(SCHEMA), folder / "index/images.parquet", {})
    (folder / "report.html").write_text(html, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def shown(browser, report, request) -> Iterator:
    """The page on a screen (size, color scheme), with what it requested and said."""
    size, scheme = request.param
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.requests, page.said = [], []
    page.on("request", lambda found: page.requests.append(found.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(report.as_uri())
    yield page
    context.close()


def of_screens(*screens):
    names = [f"{size[0]}-{scheme}" for size, scheme in screens]
    return pytest.mark.parametrize("shown", screens, ids=names, indirect=True)


def open_all(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@of_screens(*SCREENS)
def test_nothing_is_requested_said_or_violated(shown):
    from axe_playwright_python.sync_playwright import Axe

    open_all(shown)
    found = Axe().run(shown, options=FAST).response["violations"]
    assert not [
        (v["id"], v["nodes"][0]["html"], v["nodes"][0].get("failureSummary")) for v in found
    ]
    assert all(url.startswith(("file:", "data:")) for url in shown.requests)
    assert sum(url.startswith("file:") for url in shown.requests) == 1
    assert not shown.said


@of_screens(*[(size, "light") for size in (PHONE, (600, 800), LAPTOP, WIDE)])
def test_the_page_never_scrolls_sideways(shown):
    open_all(shown)
    width = shown.evaluate("document.documentElement.scrollWidth")
    assert width <= shown.viewport_size["width"]


@of_screens((LAPTOP, "light"))
def test_the_first_screen_has_question_verdict_and_table(shown):
    bottom = shown.viewport_size["height"]
    for part in ("h1", ".verdict", ".table1 thead", ".table1 tbody:first-of-type"):
        box = shown.locator(part).first.bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= bottom, part


@of_screens((PHONE, "dark"))
def test_a_phone_shows_question_and_verdict_first(shown):
    box = shown.locator(".verdict").bounding_box()
    assert box["y"] + box["height"] <= shown.viewport_size["height"]


@of_screens((LAPTOP, "light"))
def test_a_keyboard_reaches_the_content_sections_and_details(shown):
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    assert shown.locator(".skip").bounding_box()["x"] >= 0
    shown.keyboard.press("Enter")
    assert shown.url.endswith("#main")
    closed = shown.query_selector("section details:not([open]) > summary")
    closed.focus()
    shown.keyboard.press("Enter")
    assert closed.evaluate("summary => summary.parentElement.open")


@of_screens((LAPTOP, "light"))
def test_every_link_of_the_contents_leads_to_a_section(shown):
    links = shown.locator("nav.side a")
    targets = [links.nth(n).get_attribute("href") for n in range(links.count())]
    assert len(targets) == len(set(targets)) > 8
    assert all(shown.locator(target).count() == 1 for target in targets)


@of_screens((LAPTOP, "light"))
def test_pictures_are_seen_and_figures_have_names(shown):
    images = shown.locator("img")
    assert images.count() == 1
    assert images.first.evaluate("image => image.naturalWidth") == 1400
    unnamed = "svg:not([aria-hidden]):not([role=img]), img:not([alt])"
    assert shown.locator(unnamed).count() == 0


@of_screens((LAPTOP, "light"))
def test_print_shows_what_is_folded(shown):
    shown.emulate_media(media="print")
    assert shown.locator("nav.side").is_hidden()
    hidden = shown.locator("details.printed:not([open]) table").first
    assert hidden.bounding_box()["height"] > 0


@of_screens((PHONE, "light"))
def test_a_phone_shows_estimates_and_answers_without_scrolling(shown):
    open_all(shown)
    rows = shown.locator(".answers tbody tr:not([aria-hidden])")
    assert rows.count() > 3
    for cell in rows.first.locator("td:visible").all()[:2]:
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= shown.viewport_size["width"]


@of_screens((LAPTOP, "light"))
def test_tables_fit_the_width_of_printed_paper(shown):
    shown.set_viewport_size({"width": 718, "height": 1000})  # A4 with margins of a centimeter
    open_all(shown)
    shown.emulate_media(media="print")
    wide = shown.evaluate(
        "[...document.querySelectorAll('table, pre, svg, img')].filter("
        "each => each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"
    )
    assert [html[:200] for html in wide] == []


def test_the_file_is_small(report):
    assert os.path.getsize(report) < 8_000_000
