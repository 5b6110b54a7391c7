"""The page in a headless Chromium, used as a reader would."""

from __future__ import annotations

import functools
import os

import cv2
import numpy as np
import pytest

from dgn.page.write import write_page
from dgn.run import load
from tests.page import runs
from tests.page.browser import Browser, program

pytestmark = pytest.mark.slow

PICTURE = "document.getElementById('picture').toDataURL()"
RESET = "document.getElementById('reset').getAttribute('aria-disabled')"
NEXT_FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
MILLISECONDS = 30  # for one image of 64x64
LEFT, RIGHT, SPACE = 37, 39, 32  # key codes


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    executable = program()
    if executable is None:
        message = "no Chromium on this machine: apt-get install chromium, or set DGN_CHROMIUM to one"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    opened = Browser(executable, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, browser):
    """The page of each kind of run, by name; that of the packaged demo with a wide picture."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the results of a packaged model go there
        demo = load("faces", device="CPU")
        demo.folder.figures.mkdir(parents=True)
        cv2.imwrite(str(demo.folder.figures / "samples.png"), np.zeros((200, 900, 3), np.uint8))
        found = {"demo": write_page(demo, folder / "demo.html", finished=False)}
    for make in (runs.plain, runs.clips, runs.labels):
        found[make.__name__] = write_page(make(folder / make.__name__))
    return found


@pytest.fixture
def show(browser, pages):
    """Opens the page of a kind of run; at the end no script may have failed and nothing may have been fetched."""
    browser.events.clear()

    def open_page(kind: str, width: int = 1280, dark: bool = False) -> Browser:
        browser.window(width, 900, dark)
        browser.open(pages[kind])
        browser.wait("!Sliders.busy() && !Mix.busy()")
        return browser

    yield open_page
    assert not browser.complaints()
    assert all(address.startswith(("file:", "data:")) for address in browser.requests())


def picture(browser: Browser) -> str:
    """The large picture, after what has been done so far is drawn."""
    browser.wait("!Sliders.busy() && !Mix.busy()")
    browser.evaluate(NEXT_FRAME)
    return browser.evaluate(PICTURE)


def changed_by(browser: Browser, act) -> bool:
    """Whether an action changes the large picture."""
    before = picture(browser)
    act()
    return picture(browser) != before


def click(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({selector!r}).click()")


@pytest.mark.parametrize("kind", ["demo", "plain", "clips"])
def test_a_slider_moved_by_the_keyboard_changes_the_picture(show, kind):
    page = show(kind)
    if kind == "clips":
        click(page, "#play")  # pause
    for group in range(page.evaluate("State.groups.length")):
        page.evaluate(f"document.querySelector('.group-{group} .axis input').focus()")

        def press() -> None:
            for _ in range(20):
                page.press("ArrowRight", RIGHT)
        assert changed_by(page, press)
    assert changed_by(page, lambda: click(page, "#reset"))
    assert page.evaluate(RESET) == "true"


def test_sliders_follow_the_latents(show):
    page = show("demo")
    page.evaluate("document.getElementById('mean').click()")
    values = "Array.from(document.querySelectorAll('.axis input'), (input) => Number(input.value))"
    at_mean = np.array(page.evaluate(values))
    fitted = page.evaluate("Array.from(State.arrayOf(State.data.prior[0]))")  # of Z^a and Z^g
    shown = page.evaluate("State.latents().flatMap((z) => Array.from(z))")
    np.testing.assert_allclose(shown, fitted, atol=1e-6)
    page.press("r", 82)
    assert np.abs(page.evaluate(values) - at_mean).max() > 0.3
    page.evaluate("document.getElementById('keys').checked = false")
    before = page.evaluate(values)
    page.press("r", 82)
    assert page.evaluate(values) == before
    page.evaluate("document.getElementById('keys').checked = true")
    page.evaluate("document.querySelector('.axis input').value = 2.5;"
                  "document.querySelector('.axis input').dispatchEvent(new Event('input'))")
    page.evaluate(NEXT_FRAME)
    assert page.evaluate(RESET) == "false"
    strip = "document.querySelectorAll('.axis canvas')[3].toDataURL()"
    before = page.evaluate(strip)
    page.press("m", 77)
    page.wait("!Sliders.busy()")
    assert page.evaluate(strip) != before
    click(page, ".group-0 .axes + button")
    assert page.evaluate("document.querySelectorAll('.group-0 .axis').length") == 16


def test_views(show):
    page, seen = show("demo"), set()
    for key in "1234":
        page.press(key, ord(key))
        seen.add(picture(page))
    assert len(seen) == 4


def test_exchange(show):
    page = show("demo")
    assert changed_by(page, lambda: click(page, "#picker-b .thumbnails input"))
    for cell in (0, 1, 2, 3):
        chosen = f"document.querySelectorAll('.cell')[{cell}]"
        assert changed_by(page, functools.partial(page.evaluate, f"{chosen}.click()"))
        assert page.evaluate(f"{chosen}.classList.contains('shown')")
    page.evaluate("document.querySelector('#blends input').focus()")
    assert changed_by(page, lambda: page.press("ArrowLeft", LEFT))
    assert page.evaluate("document.querySelectorAll('.cell.shown').length") == 0
    assert changed_by(page, lambda: page.press("ArrowRight", RIGHT))
    assert page.evaluate("document.querySelectorAll('.cell.shown').length") == 1
    page.press("ArrowLeft", LEFT)
    mixed = page.evaluate("""(() => {
      const z = (name, g) => State.sample(...(name === "a" ? State.data.pair[0] : [0, 0]))[g];
      const now = State.latents(), part = Number(document.querySelector("#blends input").value);
      const between = (g, t, k) => (1 - t) * z("a", g)[k] + t * z("b", g)[k];
      const error = (g, t) => Math.max(...now[g].map((value, k) => Math.abs(value - between(g, t, k))));
      return [error(0, part), error(1, 1)];
    })()""")
    assert max(mixed) < 1e-5


def test_a_slider_of_the_mixture_changes_its_part_alone(show):
    page = show("demo")
    page.press("r", 82)
    before = page.evaluate("Array.from(State.latents()[1])")
    page.evaluate("document.querySelector('#blends input').focus()")
    assert changed_by(page, lambda: page.press("ArrowRight", RIGHT))
    assert page.evaluate("Array.from(State.latents()[1])") == before
    assert page.evaluate("document.querySelectorAll('.cell.shown').length") == 0
    page.evaluate("document.querySelectorAll('#blends input')[1].dispatchEvent(new Event('input'))")
    own = page.evaluate("Array.from(State.sample(...State.data.pair[0])[1])")
    assert page.evaluate("Array.from(State.latents()[1])") == own, "at its end A it shows A's geometry"


def test_the_strips_of_a_clip_that_plays_show_one_frame(show):
    page = show("clips")
    click(page, "#play")  # pause; the stub shows another frame each time, as a clip that plays does
    frames = page.evaluate("""new Promise((done) => {
      const own = State.preview, seen = new Set();
      State.show(1);
      State.preview = (g, z, t) => {
        State.show((State.frame() + 1) % State.frames);
        seen.add(t);
        return own(g, z, t);
      };
      Sliders.refresh(0);
      const poll = () => (Sliders.busy() ? setTimeout(poll, 20) : done([...seen]));
      poll();
    })""")
    assert frames == [1]


def test_the_focus_is_not_hidden_by_the_picture(show):
    page = show("clips", 360)
    top, bottom, height = page.evaluate("""(() => {
      const input = document.querySelectorAll(".axis input")[3], place = () => input.getBoundingClientRect().top;
      document.documentElement.style.scrollBehavior = "auto";
      window.scrollTo(0, scrollY + place() - 50); // it lies behind the picture
      input.focus();
      return [place(), document.querySelector(".stage").getBoundingClientRect().bottom, innerHeight];
    })()""")
    assert bottom <= top < height


def test_what_sliders_did_can_be_reset_after_a_mixture(show):
    page = show("demo")
    page.evaluate("document.querySelector('.group-0 .axis input').focus()")
    before = page.evaluate("Array.from(State.latents()[0])")
    page.press("ArrowRight", RIGHT)
    page.evaluate("document.querySelectorAll('#blends input')[1].focus()")
    page.press("ArrowRight", RIGHT)
    mixture = page.evaluate("Array.from(State.latents()[1])")
    page.evaluate(NEXT_FRAME)
    assert page.evaluate(RESET) == "false"
    click(page, "#reset")
    np.testing.assert_allclose(page.evaluate("Array.from(State.latents()[0])"), before, atol=1e-6)
    assert page.evaluate("Array.from(State.latents()[1])") == mixture


def test_latents_beyond_the_sliders_are_shown_where_they_are(show):
    page = show("plain")
    page.evaluate("State.set(State.latents().map((z) => z.map(() => 5)), 'mix')")
    values = page.evaluate("Array.from(document.querySelectorAll('.axis input'), (input) => Number(input.value))")
    assert max(map(abs, values)) > 4.9


def test_clips_play_and_exchange_their_motion(show):
    page = show("clips")
    page.wait("State.frame() > 0")
    page.press(" ", SPACE)
    assert page.evaluate("document.getElementById('play').textContent") == "Play"
    assert changed_by(page, lambda: page.evaluate("State.show((State.frame() + 2) % 4)"))
    assert page.evaluate("State.parts.map((part) => part.name).join()") == "Appearance,Geometry,Motion"
    click(page, "#picker-b .thumbnails input")
    page.evaluate("State.show(3)")
    page.evaluate("document.querySelectorAll('.cell')[4].click()")
    assert changed_by(page, lambda: page.evaluate("document.querySelectorAll('.cell')[5].click()"))
    page.evaluate("State.show(0)")
    first = picture(page)
    page.evaluate("document.querySelectorAll('.cell')[4].click()")
    assert picture(page) == first, "the first frame has no motion"


def test_labels_are_chosen(show):
    page = show("labels")
    other = "Array.from(document.querySelectorAll('.labels input')).find((input) => !input.checked)"
    assert changed_by(page, lambda: page.evaluate(f"{other}.click()"))
    assert page.evaluate("document.querySelectorAll('.labels input').length") == 2


@pytest.mark.parametrize("kind", ["demo", "plain", "clips", "labels"])
def test_narrow_screens_and_dark_mode(show, kind):
    page = show(kind, 360, dark=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + Number(b), 0)"
    assert page.evaluate(brightness) < 150
    page.window(360, 900)
    assert page.evaluate(brightness) > 600


def test_a_picture_of_the_demo_takes_little_time(show):
    page = show("demo")
    quickest = page.evaluate("""(() => {
      const times = [];
      for (let k = 0; k < 40; k++) {
        const latents = State.random(), start = performance.now();
        State.imagesOf(latents)(0);
        times.push(performance.now() - start);
      }
      return Math.min(...times);
    })()""")
    assert quickest < MILLISECONDS
