"""The small panels: one class each, what the monitors wrote of it, and nothing where they wrote nothing."""

import csv
import html
import re

import pytest

from pipeline import report
from pipeline.engine.monitor import CLASS
from tests.report.fake_run import write_csv
from tests.report.parsed import MODELS

TITLES = {"baseline": "Baseline", "teacher": "Teacher", "student-1": "Student 1", "student-2": "Student 2"}


class Panels:
    """{class: (what stands beside its name, its figure)} in the order of the page, the words above, the legend."""

    def __init__(self, root):
        text = (root / "report.html").read_text()
        self.there = "<h3>Convergence of each class</h3>" in text
        text = re.search(r'<section id="classes">.*?</section>', text, re.DOTALL)[0].partition("<h3>Convergence")[2]
        found = re.findall(r'<figure data-class="(.*?)"><figcaption>.*?</b> (.*?)</figcaption>(.*?)</figure>', text)
        self.drawn = {html.unescape(name): (beside, figure) for name, beside, figure in found}
        self.about = html.unescape(text.partition("</p>")[0])
        self.legend = re.findall(r"</i>(.*?)</li>", text)

    def lines(self, name):
        """{colour: [(x, y), ...]} of one panel."""
        found = re.findall(r'<polyline points="(.*?)" class="line" style="stroke:var\(--(.*?)\)"', self.drawn[name][1])
        return {colour: [tuple(map(float, pair.split(","))) for pair in points.split()] for points, colour in found}


def rewrite(root, name, change):
    """Each row of a curve, changed; None leaves out the column."""
    path = root / "curves" / f"{name}.csv"
    rows = [change(row) for row in csv.DictReader(path.open())]
    write_csv(path, rows)


def older(row):
    return {column: cell for column, cell in row.items() if not column.startswith(CLASS)}


def test_the_lines_are_those_of_the_files(make):
    """x from 28 (step 0) to 148 (the last step of all), y from 90 (none right) to 10 (all)."""
    root, params = make()
    for name in MODELS:
        end = 0.25 if name == "student-2" else 1.0
        steps = ((0, 0.0), (150, ""), (300, 0.5 * end), (600 if name == "student-2" else 450, end))
        write_csv(root / "curves" / f"{name}.csv", [{"step": n, "loss": 1, f"{CLASS}03": y} for n, y in steps])
    report.build(root, params)
    panels = Panels(root)
    whole = [(28, 90), (88, 50), (118, 10)]
    assert list(panels.drawn) == ["3"] and panels.drawn["3"][0] == "25.0"
    expected = {"baseline": whole, "teacher": whole, "student-1": whole, "student-2": [(28, 90), (88, 80), (148, 70)]}
    assert panels.lines("3") == expected
    assert 'aria-label="Accuracy on 3 against step; at the end Baseline 100.0 %,' in panels.drawn["3"][1]
    assert "9 of 10 classes have no validation image" in panels.about


def test_every_class_has_a_panel_under_its_own_name(make):
    names = ['<b onload="x">', "a & b", "comma, quote \" and '", "ship/船", "long " * 12, "100 %", *"6789"]
    root, params = make(classes=names)
    report.build(root, params)
    panels = Panels(root)
    assert list(panels.drawn) == names
    assert panels.legend == list(TITLES.values())
    assert "where student 2 ends" in panels.about
    assert not re.search("lowest|no validation image", panels.about)
    assert "val class" not in (root / "report.html").read_text(), "they are no charts of the training section"


def test_a_class_without_validation_images_has_no_panel(make):
    root, params = make()
    for name in MODELS:
        rewrite(root, name, lambda row: row | {f"{CLASS}04": ""})
    report.build(root, params)
    panels = Panels(root)
    assert list(panels.drawn) == list("012356789")
    assert "1 of 10 classes has no validation image" in panels.about


@pytest.mark.parametrize(
    "without, judge",
    [(("baseline",), "student 2"), (("student-2",), "student 1"), (MODELS[1:], "the baseline")],
)
def test_a_run_from_before_these_curves_has_no_line(make, without, judge):
    root, params = make()
    for name in without:
        rewrite(root, name, older)
    report.build(root, params)
    panels, roles = Panels(root), dict(zip(TITLES, MODELS, strict=True))
    assert list(panels.lines("0")) == [colour for colour, name in roles.items() if name not in without]
    assert panels.legend == [TITLES[colour] for colour in panels.lines("0")]
    assert f"where {judge} ends" in panels.about


def test_without_any_such_curve_there_are_no_panels(make):
    root, params = make()
    for name in MODELS:
        rewrite(root, name, older)
    report.build(root, params)
    assert not Panels(root).there


def test_of_many_classes_the_weakest_are_drawn(make):
    names = [f"class {number}" for number in range(30)]
    root, params = make(classes=names)
    rewrite(root, "student-2", lambda row: row | {f"{CLASS}{c:02d}": (7 * c % 30) / 30 for c in range(30)})
    report.build(root, params)
    panels = Panels(root)
    assert list(panels.drawn) == [f"class {c}" for c in sorted(range(30), key=lambda c: 7 * c % 30)[:20]]
    assert "The 20 of 30 classes where it ends lowest, lowest first." in panels.about
