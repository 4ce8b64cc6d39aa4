"""The numbers of the page and of the table are those of the files."""

import csv
import json
import re

import numpy as np
import pytest

from pipeline import files, report
from pipeline.score.accuracy import wilson
from tests.report.fake_run import write_csv
from tests.report.parsed import MODELS, Page, lines, metrics, right


def test_every_number_of_the_score_table_is_that_of_the_files(make):
    root, params = make()
    report.build(root, params)
    rows, base = Page(root / "report.html").rows, metrics(root, "baseline")
    for name, teacher in zip(MODELS, (None, None, "finetune", "student-1"), strict=True):
        found, cells = metrics(root, name), rows[name]
        low, high = wilson(found["top1"], found["n"])
        assert cells[1] == f"{100 * found['top1']:.1f}"
        assert f"{100 * low:.1f} to {100 * high:.1f}" in cells[2]
        if name != "baseline":
            assert cells[3].split("±")[0].strip() == f"{100 * (found['top1'] - base['top1']):+.1f}"
        if teacher:
            gained = found["top1"] - metrics(root, teacher)["top1"]
            assert cells[4].split("±")[0].strip().replace("\u2212", "-") == f"{100 * gained:+.1f}"
        assert cells[5] == f"{100 * found['top5']:.1f}"
        mean = [100 * found[f"mean_class_accuracy{end}"] for end in ("", "_low", "_high")]
        assert cells[6] == "{:.1f}{:.1f} to {:.1f}".format(*mean)
        assert cells[7:9] == [f"{found['nll']:.3f}", f"{found['brier']:.3f}"]
        assert cells[9] == f"{100 * found['ece']:.1f}"
        speed = json.loads((root / "times" / f"evaluate-{name}.json").read_text())["images_per_second"]
        assert f"{speed:,.0f}/s" in cells[10]


def test_the_interval_of_a_difference_is_that_of_paired_samples(make):
    root, params = make()
    report.build(root, params)
    mine, theirs = right(root, "student-2"), right(root, "baseline")
    scores = [a - b for a, b in zip(mine, theirs, strict=True)]
    n = len(scores)
    deviation = (sum(s * s for s in scores) / n - (sum(scores) / n) ** 2) ** 0.5
    shown = Page(root / "report.html").rows["student-2"][3].split("±")[1].strip("\xa0 \n")
    assert float(shown) == pytest.approx(100 * 1.96 * deviation / n**0.5, abs=0.051)


def test_probes_are_compared_with_random_features(make):
    root, params = make()
    report.build(root, params)
    rows = Page(root / "report.html").rows
    scratch, run = metrics(root, "scratch"), metrics(root, "simclr")
    for name, found in (("scratch", scratch), ("simclr", run)):
        for cell, probe in ((1, "knn"), (3, "linear")):
            low, high = wilson(found[probe], found["n"])
            assert rows[name][cell] == f"{100 * found[probe]:.1f}{100 * low:.1f} to {100 * high:.1f}"
    assert rows["simclr"][2].strip() == f"{100 * (run['knn'] - scratch['knn']):+.1f}"
    assert rows["simclr"][4].strip() == f"{100 * (run['linear'] - scratch['linear']):+.1f}"
    assert rows["simclr"][5:9] == ["51.0", "0.301", "0.252", "41.0"]


def test_probes_of_an_older_kind_lack_numbers_but_no_row(make):
    root, params = make()
    found = {key: value for key, value in metrics(root, "simclr").items() if key in ("n", "knn", "linear")}
    files.write_json(root / "scores" / "simclr" / "metrics.json", found | {"nmi": None})
    report.build(root, params)
    assert Page(root / "report.html").rows["simclr"][5:] == ["\u2013"] * 6


def test_calibration_beyond_its_diagrams_is_that_of_the_files(make):
    root, params = make()
    found = metrics(root, "baseline") | {"temperature": None, "ece_tempered": None, "nll_tempered": None}
    files.write_json(root / "scores" / "baseline" / "metrics.json", found)
    report.build(root, params)
    rows = Page(root / "report.html").rows
    for name in MODELS[1:]:
        found = metrics(root, name)
        shown = [f"{100 * found['aurc']:.2f}", f"{100 * found['adaptive_ece']:.1f}", f"{found['temperature']:.2f}"]
        shown += [f"{100 * found['ece_tempered']:.1f}", f"{found['nll_tempered']:.3f}"]
        assert rows[f"calibration of {name}"][1:] == shown
    assert rows["calibration of baseline"][3:] == ["\u2013"] * 3, "no validation images, no temperature"


def test_errors_against_coverage_are_the_rows_of_the_files(make):
    """x from 44 to 422, y from 192 to 10: 0 to 1.05 times the largest error."""
    root, params = make()
    write_csv(root / "scores" / "finetune" / "risk.csv", [])
    report.build(root, params)
    found = {}
    for name in MODELS:
        with open(root / "scores" / name / "risk.csv") as file:
            found[name] = [(float(row["coverage"]), float(row["risk"])) for row in csv.DictReader(file)]
    most = max(risk for points in found.values() for _, risk in points)
    text = (root / "report.html").read_text()
    drawn = lines(re.search(r'aria-label="Errors against coverage.*?</svg>', text, re.DOTALL)[0])
    assert list(drawn) == ["baseline", "student-1", "student-2"], "a table without rows has no line"
    for name, points in drawn.items():
        expected = [(44 + 378 * x, 192 - 182 * y / (1.05 * most)) for x, y in found[name]]
        assert np.array(points) == pytest.approx(np.array(expected), abs=0.06)


def test_the_layers_are_those_of_the_files_and_the_best_is_bold(make):
    root, params = make()
    report.build(root, params)
    rows, text = Page(root / "report.html").rows, (root / "report.html").read_text()
    for name in ("scratch", "simclr"):
        with open(root / "scores" / name / "layers.csv") as file:
            found = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        cells = rows[f"layers of {name}"][1:]
        for cell, row in zip(cells, found, strict=True):
            assert cell.startswith(f"{100 * row['linear']:.1f}{100 * row['low']:.1f} to {100 * row['high']:.1f}")
            assert f"kNN {100 * row['knn']:.1f}" in cell
        line = re.search(rf'data-layers="{name}".*?</tr>', text, re.DOTALL)[0]
        assert re.findall(r"<b>(.*?)</b>", line) == [f"{100 * max(row['linear'] for row in found):.1f}"]
    label = re.search(r'aria-label="Linear accuracy by depth[^"]*"', text)[0]
    assert "random weights 62.5 % at depth 1" in label and "simclr 82.5 % at depth 1" in label


def test_retrieval_stands_beside_that_of_random_weights(make):
    root, params = make()
    report.build(root, params)
    text = (root / "report.html").read_text().replace("&nbsp;", " ")
    assert "72.0 % of 8, mAP 51.0 %; random weights: 52.0 %, mAP 31.0 %" in text


def test_the_headline_goes_from_the_baseline_to_the_final_model(make):
    root, params = make()
    report.build(root, params)
    headline = re.sub(r"<[^>]+>", "", re.search(r"<h1>(.*?)</h1>", (root / "report.html").read_text())[1])
    first, last = (100 * metrics(root, name)["top1"] for name in ("baseline", "student-2"))
    assert headline == f"40 labels: {first:.1f} → {last:.1f} %"


def test_markdown_tells_the_same(make):
    root, params = make()
    lines = report.markdown(root, params).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[2:6]}
    for title, name in zip(("Baseline", "Teacher", "Student 1", "Student 2"), MODELS, strict=True):
        found = metrics(root, name)
        assert cells[title][1] == f"{100 * found['top1']:.1f}"
        assert cells[title][5:] == [f"{found['nll']:.3f}", f"{found['brier']:.3f}", f"{100 * found['ece']:.1f}"]
    assert len({len(line) for line in lines[:6]}) == 1
    assert "of student 1" in cells["Student 2"][0]
