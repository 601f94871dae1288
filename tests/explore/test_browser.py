"""The page in a browser: filters, one image, the keyboard, and what it loads."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator

import pytest

from geoloc.explore.run import FinishedRun

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
expect = playwright.expect
expect.set_options(timeout=30_000)  # a loaded machine is slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update",
           "--disable-sync"]  # fmt: skip
# Of what is right, axe would write down every element, which takes longer than to check it.
FAST = {"resultTypes": ["violations"]}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def address(small_run) -> Iterator[str]:
    from geoloc.explore.app import make_app
    from geoloc.explore.server import listen

    app = make_app(FinishedRun(small_run[0]))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with listen(0) as opened:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{opened.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser, address) -> Iterator:
    """Opens the page at an address behind #; afterwards, checks what it loaded and said."""
    contexts, outside, said = [], [], []

    def open_page(fragment: str = "", size: str = "desktop", scheme: str = "light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda r: r.url.startswith(address) or outside.append(r.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address + fragment)
        page.wait_for_selector("#detail" if "image=" in fragment else "#grid a")
        return page

    open_page.said = said
    yield open_page
    for context in contexts:
        context.close()
    assert not outside
    assert not said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_page_has_a_barrier_or_is_wider_than_its_screen(new_page, size, scheme):
    page = new_page("#row=cnn%2Foriginal%2F42", size, scheme)
    for waited in ("#grid a", "#overlay path"):
        page.wait_for_selector(waited, state="attached")
        violations = axe.Axe().run(page, options=FAST).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        if waited == "#grid a":
            page.click("#grid a >> nth=0")
            page.wait_for_selector("#detail:not([hidden])")


def test_filters_change_the_images_and_the_address(new_page):
    page = new_page()
    count, wrong = page.locator("#count"), page.locator("#grid .wrong")
    expect(count).to_have_text("1–48 of 59 images")
    page.select_option("select[name=row]", "cnn/original/42")
    expect(wrong).to_have_count(24)
    page.select_option("select[name=answer]", "right")
    expect(wrong).to_have_count(0)
    page.select_option("select[name=country]", "NA")
    expect(count).to_have_text("1–15 of 15 images")
    countries = {text.split("\n")[0] for text in page.locator("#grid a").all_inner_texts()}
    assert countries == {"Namibia"}
    assert "country=NA" in page.url
    page.reload()
    expect(count).to_have_text("1–15 of 15 images")
    assert page.input_value("select[name=country]") == "NA"
    page.click("#reset")
    expect(count).to_have_text("1–48 of 59 images")


def test_pages_turn_by_button_and_key(new_page):
    page = new_page()
    page.click("#next")
    expect(page.locator("#count")).to_have_text("49–59 of 59 images")
    expect(page.locator("#next")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#count")).to_have_text("1–48 of 59 images")


def test_an_image_shows_masks_names_views_and_answers(new_page):
    page = new_page("#row=cnn%2Foriginal%2F42&image=1")
    expect(page.locator("#overlay path")).to_have_count(2)
    scored, image = page.locator("#overlay path.scored"), page.locator("#large").bounding_box()
    expect(scored).to_have_count(1)
    assert "street sign 80\u00a0%" in page.locator("#overlay text").all_text_contents()
    assert abs((scored.bounding_box()["x"] - image["x"]) / image["width"] - 100 / 640) < 0.02
    page.uncheck("#names")
    expect(page.locator("#overlay text").first).to_be_hidden()
    # Four datasets, a score map and a map of relevance; two others did not pass their checks.
    expect(page.locator("#views img")).to_have_count(6)
    expect(page.locator("#views")).to_contain_text("Not shown: the map does not add up")
    expect(page.locator("#views")).to_contain_text("Not shown: the map hardly depends")
    page.select_option("#shown", "weighted_base")
    expect(page.locator("#large")).to_have_attribute("src", "/pictures/1?dataset=weighted_base")
    expect(page.locator("#answers table")).to_have_count(3)
    expect(page.locator("#nearest")).to_contain_text("7 of 64 bits")
    for image in page.locator("#detail img").all():
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("each => each.naturalWidth") > 0


def test_the_keyboard_goes_to_the_next_image_and_back_to_the_list(new_page):
    page = new_page()
    page.focus("#grid a >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail")
    first = page.inner_text("#title")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#title")).not_to_have_text(first)
    page.keyboard.press("Escape")
    page.wait_for_selector("#list")
    expect(page.locator("#grid .card:focus")).to_have_count(1)


def test_the_tab_key_goes_past_the_outlines_and_the_skip_link_keeps_the_filters(new_page):
    page = new_page("#row=cnn%2Foriginal%2F42&answer=wrong")
    expect(page.locator("#count")).to_have_text("1–29 of 29 images")
    page.focus(".skip")
    page.keyboard.press("Enter")
    expect(page.locator("#grid")).to_be_focused()
    expect(page.locator("#count")).to_have_text("1–29 of 29 images")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#overlay path")).to_have_count(2)
    page.focus("#names")
    page.keyboard.press("Tab")
    expect(page.locator("#views button").first).to_be_focused()
    page.focus(".skip")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_be_focused()
    assert "image=" in page.url


def test_the_model_of_an_image_can_be_changed_without_leaving_it(new_page):
    page = new_page("#image=1")
    expect(page.locator("#answers")).to_contain_text("Choose a model")
    page.focus("#model")
    page.select_option("#model", "cnn/original/42")
    expect(page.locator("#answers table")).to_have_count(3)
    expect(page.locator("#model")).to_be_focused()
    assert "image=1" in page.url


def test_names_of_segments_can_be_read_on_a_phone(new_page):
    page = new_page("#image=1", "phone")
    name = page.locator("#overlay text").first
    name.wait_for(state="attached")
    assert name.bounding_box()["height"] >= 13
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator("#overlay")).to_have_attribute("style", "--scale: 1;")


def test_a_late_answer_does_not_bring_back_an_image_that_was_left(new_page):
    page = new_page()
    held = []
    page.route("**/segments*", lambda route: held.append(route))
    page.click("#grid a >> nth=0")
    expect(page.locator("#title")).not_to_be_empty()
    page.evaluate("location.hash = ''")
    page.wait_for_selector("#grid a")
    with page.expect_response("**/segments*"):
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#list")).to_be_visible()
    expect(page.locator("#detail")).to_be_hidden()


def test_what_the_server_refuses_is_told(new_page):
    page = new_page()
    with page.expect_event("console"):
        page.evaluate("location.hash = 'image=99999'")
    page.wait_for_selector("#problem:not([hidden])")
    assert "there is no image 99999" in page.inner_text("#problem")
    (message,) = new_page.said  # the browser's own about the status
    assert "404" in message
    new_page.said.clear()
