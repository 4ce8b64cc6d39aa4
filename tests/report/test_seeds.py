"""Several seeds on one page: means and deviations of what the files hold, a line and a dot for each seed."""

import html
import re
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest

from pipeline import report
from pipeline.engine.monitor import CLASS
from pipeline.params import Params
from pipeline.report.seeds import Repeat, same_but_for_seeds, seeds
from tests.report.fake_run import write_csv
from tests.report.parsed import MODELS, Page, right


def repeat(folder, number):
    """What DVC would hand over of a run that lies in `folder`."""
    return Repeat((number, 0), {path.relative_to(folder): path for path in folder.rglob("*.csv")})


@pytest.fixture
def runs(make, tmp_path):
    """(root, params, folders of two repeats): with other predictions, and of class 3 with other curves."""
    root, params = make()
    folders = [Path(shutil.copytree(root, tmp_path / f"seed-{number}")) for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        for name in MODELS:
            path = folder / "scores" / name / "confusion.csv"
            rows = [dict(zip(("actual", "predicted"), line.split(","), strict=True)) for line in lines_of(path)]
            for row in rows[: 20 * number]:
                row["predicted"] = "0"
            write_csv(path, rows)
            steps = [{"step": n, "loss": 1, f"{CLASS}03": n / 600 / number} for n in (0, 300, 600)]
            write_csv(folder / "curves" / f"{name}.csv", steps)
    return root, params, folders


def lines_of(path):
    """Of confusion.csv, whose first two columns are the classes."""
    return [",".join(line.split(",")[:2]) for line in path.read_text().splitlines()[1:]]


def panels(root):
    """{class: (what stands beside its name, its figure)}"""
    text = (root / "report.html").read_text()
    found = re.findall(r'<figure data-seeds-of="(.*?)"><figcaption>.*?</b> (.*?)</figcaption>(.*?)</figure>', text)
    return {html.unescape(name): (told, figure) for name, told, figure in found}


def test_the_table_is_the_mean_and_the_deviation_of_the_files(runs):
    root, params, folders = runs
    report.build(root, params, None, [repeat(folder, i) for i, folder in enumerate(folders, 1)])
    rows = Page(root / "report.html").rows
    for name in MODELS:
        shares = [100 * mean(right(folder, name)) for folder in (root, *folders)]
        told = [f"{each:.1f}" for each in (mean(shares), stdev(shares), min(shares), max(shares))]
        assert rows[f"seeds of {name}"][1:] == told and shares[0] != shares[1] != shares[2]
    assert "Over 3 seeds" in (root / "report.html").read_text()


def test_a_panel_has_a_line_and_a_dot_for_each_seed(runs):
    """y from 90 (none right) to 10 (all)."""
    root, params, folders = runs
    report.build(root, params, None, [repeat(folder, i) for i, folder in enumerate(folders, 1)])
    drawn = panels(root)
    assert list(drawn) == list("0123456789")
    shares = []
    for folder in (root, *folders):
        of_three = [line for line in lines_of(folder / "scores" / params.final / "confusion.csv") if line[0] == "3"]
        shares.append(mean(line == "3,3" for line in of_three))
    told, figure = drawn["3"]
    assert told == f"{100 * mean(shares):.1f} ± {100 * stdev(shares):.1f}"
    ends = [
        float(points.split()[-1].split(",")[1]) for points in re.findall(r'points="(.*?)"', figure) if " " in points
    ]
    assert len(ends) == 3 and ends[1:] == [10, 50]
    dots = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', figure)]
    assert dots == pytest.approx([90 - 80 * share for share in shares], abs=0.06)


def test_a_class_that_is_on_no_validation_image_still_has_its_dots(runs):
    root, params, folders = runs
    report.build(root, params, None, [repeat(folders[0], 1)])
    _, figure = panels(root)["4"]
    assert figure.count("<circle") == 2 and len(re.findall('points="[^"]* [^"]*"', figure)) == 1


@pytest.mark.parametrize("lost", ["scores/student-2/confusion.csv", "curves/baseline.csv"])
def test_a_repeat_that_cannot_be_read_does_not_count(runs, lost):
    root, params, folders = runs
    whole, broken = (repeat(folder, i) for i, folder in enumerate(folders, 1))
    (folders[1] / lost).unlink()
    report.build(root, params, None, [whole, broken])
    assert "Over 2 seeds" in (root / "report.html").read_text()
    report.build(root, params, None, [broken, Repeat((3, 0), {})])
    text = (root / "report.html").read_text()
    assert not re.search("<h3>[^<]* seeds</h3>", text) and "data-seeds" not in text


def test_of_many_classes_the_weakest_are_drawn(runs, monkeypatch):
    root, params, folders = runs
    report.build(root, params, None, [repeat(folders[0], 1)])
    every = {name: float(told.split(" ")[0]) for name, (told, _) in panels(root).items()}
    monkeypatch.setattr("pipeline.report.seeds.DRAWN", 4)
    report.build(root, params, None, [repeat(folders[0], 1)])
    assert list(panels(root)) == sorted(every, key=lambda name: every[name])[:4]
    assert "The 4 weakest of 10 classes" in (root / "report.html").read_text()


def test_seeds_and_speed_are_no_difference():
    plain = Params()
    other = Params.model_validate({"seed": 3, "data": {"seed": 5}, "runtime": {"workers": 1}})
    assert seeds(other) == (3, 5) and same_but_for_seeds(plain, other)
    assert not same_but_for_seeds(plain, Params.model_validate({"data": {"size": 16}}))
    assert not same_but_for_seeds(plain, Params.model_validate({"finetune": {"steps": 7}}))
