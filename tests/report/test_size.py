"""However much there is to show, the page stays below 5 MB, and says what it leaves out."""

import copy
import html
import re

import numpy as np
import pytest

from pipeline import report
from pipeline.engine.monitor import CLASS
from tests.report.fake_run import PARAMS, write, write_csv
from tests.report.parsed import Page

RUNS, ROUNDS, CLASSES, SHEET = 12, 20, 100, 207_000
"""SHEET: bytes, of 90 pictures of 48 x 48 pixels that do not compress"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A run of everything in large: photographs of noise, long names, many runs, rounds, points and mistakes."""
    root, noise = tmp_path_factory.mktemp("large") / "data", np.random.default_rng(0)
    names = [f"class {c:02d}, {'one of the animals of the northern woods' * 2}" for c in range(CLASSES)]
    given = copy.deepcopy(PARAMS)
    given["data"] |= {"size": 96, "channels": 3}
    given["pretrain"] = {f"run-{n}": {"from": "scratch", "method": "simclr"} for n in range(RUNS)}
    given["finetune"] = {"from": "run-0"}
    given["rounds"] = {
        str(n): {"teacher": f"student-{n - 1}" if n > 1 else "finetune", "from": "run-0"} for n in range(1, ROUNDS + 1)
    }
    given["final"] = f"student-{ROUNDS}"
    images = noise.integers(0, 256, (4 * CLASSES + 120, 3, 96, 96), dtype=np.uint8)
    images[-100:] = 0  # of the test images only the sheets are made, and those are replaced
    params = write(root, images, np.arange(len(images)) % CLASSES, names, given, n_test=100)
    for run in params.pretrain:
        sheet = root / "scores" / run / "neighbours.png"
        sheet.write_bytes(sheet.read_bytes()[:24] + noise.bytes(SHEET - 24))
    for path in (root / "curves").glob("*.csv"):
        noted = ["loss", "lr", "kept", "pull", "push", "weight", *(f"{CLASS}{c:02d}" for c in range(CLASSES))]
        rows = [
            {"step": 50 * n} | dict(zip(noted, noise.random(len(noted)).round(3).tolist(), strict=True))
            for n in range(200)
        ]
        write_csv(path, rows)
    dots = [{"x": x, "y": y, "class": names[n % CLASSES]} for n, (x, y) in enumerate(noise.random((2000, 2)).round(3))]
    for path in (root / "scores").glob("*/embedding.csv"):
        write_csv(path, dots)
    pairs = [{"actual": a, "predicted": b} for i, a in enumerate(names) for b in names for _ in range(i % 2 + 1)]
    write_csv(root / "scores" / params.final / "confusion.csv", pairs)
    report.build(root, params)
    return root


@pytest.mark.slow
def test_of_a_large_run_the_page_stays_small(large):
    assert (large / "report.html").stat().st_size < 5e6


@pytest.mark.slow
def test_it_says_what_it_leaves_out(large):
    text, page = html.unescape((large / "report.html").read_text()), Page(large / "report.html")
    sheets = [image for image in page.images if image["alt"].startswith("Nearest neighbours")]
    left = re.findall(r"Its sheet is left out to keep this page small: <code>scores/(.*?)/neighbours.png", text)
    assert len(sheets) == 4 and left == [f"run-{n}" for n in range(4, RUNS)]
    assert len([image for image in page.images if "title" in image]) == text.count('<ul class="gallery"') > 2 * ROUNDS
    assert "The 7,900 rarest kinds of mistakes are not drawn." in text
    assert "The 20 of 100 classes where it ends lowest" in text
    matrix = re.search(r'aria-label="Confusion matrix.*?</svg>', text, re.DOTALL)[0]
    assert matrix.count('class="cell right"') == 100
    assert matrix.count('class="cell wrong"') == len(re.findall(r" called .*?: 2 of 200", matrix)) - 50 == 2000
