"""The page in a real browser: nothing complains, nothing is loaded, all is to be seen, by day, by night, in a hand."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline import report
from tests.report.chromium import CHROMIUM, Browser
from tests.report.test_corruptions import measure
from tests.report.test_seeds import repeat
from tests.report.test_since import past

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]

SECTIONS = """Array.from(document.querySelectorAll("section"), s => [s.id, s.getBoundingClientRect().top + scrollY,
  s.getBoundingClientRect().height])"""
CUT = """Array.from(document.querySelectorAll("section table"), t => [t.offsetWidth - t.parentElement.clientWidth,
  t.closest(".scroll").getBoundingClientRect().right - document.documentElement.clientWidth])"""
"""How much wider a table is than what it can be moved in, and that than the screen."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def full(root, params):
    """With what not every run has: robustness, a past, and another seed."""
    for name, shift in (("student-2", 0.0), ("baseline", 0.011)):
        measure(root, name, shift)
    report.build(root, params, past(root, student_2=past(root).files["finetune"]), [repeat(root, 1)])
    return root / "report.html"


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (1280, 375))
def test_a_browser_shows_every_section(make, browser, width, scheme):
    path = full(*make())
    browser.open(path, width, scheme)
    assert browser.said == []
    assert [address for address in browser.asked if not address.startswith("data:")] == [path.as_uri()]
    assert browser.value("document.documentElement.scrollWidth") == width, "nothing sticks out to the side"
    pixels = np.asarray(Image.open(io.BytesIO(browser.shot())).convert("RGB")).astype(int)
    page = pixels[2, 2]
    assert (page > 200).all() if scheme == "light" else (page < 60).all()
    sections = browser.value(SECTIONS)
    assert len(sections) == 12 and pixels.shape[1] == width
    for name, top, height in sections:
        inside = pixels[int(top) + 2 : int(top + height) - 2, 30 : width - 30]
        assert (np.abs(inside - np.median(inside.reshape(-1, 3), axis=0)) > 60).any(2).mean() > 0.005, name


def test_on_a_wide_screen_no_table_is_cut(make, browser):
    browser.open(full(*make()), 1280, "light")
    for wider, beyond in browser.value(CUT):
        assert wider <= 0 and beyond <= 0


def test_what_the_browser_hears_fails_these_tests(browser, tmp_path):
    """A page that does all that it must not."""
    bad = "<script>console.error('no')</script><img src='http://localhost:9/x.png'><div style='width:500px'>wide</div>"
    (tmp_path / "bad.html").write_text(f"<!doctype html><meta name=viewport content='width=device-width'>{bad}")
    browser.open(tmp_path / "bad.html", 375, "light")
    assert browser.said and "http://localhost:9/x.png" in browser.asked
    assert browser.value("document.documentElement.scrollWidth") > 375
