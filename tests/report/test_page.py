"""The page is one file that loads nothing, shows what was there, and leaves out what was not."""

import base64
import copy
import csv
import io
import re

import numpy as np
from PIL import Image

from pipeline import report
from tests.report.parsed import Page


def test_the_page_is_one_file_that_loads_nothing(make):
    root, params = make()
    report.build(root, params)
    text, page = (root / "report.html").read_text(), Page(root / "report.html")
    assert page.loads
    assert all(target.startswith(("data:", "#")) for target in page.loads)
    assert "script" not in page.tags
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(text) < 5e6
    assert {target[1:] for target in page.loads if target.startswith("#")} <= page.ids


def test_every_picture_has_words_and_is_the_image_of_its_key(make, digits):
    root, params = make()
    report.build(root, params)
    text, page = (root / "report.html").read_text(), Page(root / "report.html")
    pseudo_labelled = [image for image in page.images if "title" in image]
    assert len(pseudo_labelled) == 2 * 36
    for image in pseudo_labelled:
        key = image["title"]
        assert image["alt"].startswith(f"{key}: called ")
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))))
        assert (pixels == digits[0][int(key.removeprefix("img-"))][0]).all()
    charts = re.findall(r"<svg[^>]*>", text)
    assert len(charts) > 15
    assert all(re.search(r'role="img"', chart) and re.search(r'aria-label="[^"]{20,}"', chart) for chart in charts)


def test_the_sheet_of_neighbours_is_that_of_evaluate_and_its_words_count_the_right_ones(make):
    root, params = make()
    report.build(root, params)
    page = Page(root / "report.html")
    (sheet,) = [image for image in page.images if image["alt"].startswith("Nearest neighbours by simclr")]
    assert base64.b64decode(sheet["src"].split(",")[1]) == (root / "scores" / "simclr" / "neighbours.png").read_bytes()
    image = Image.open(root / "scores" / "simclr" / "neighbours.png")
    assert (int(sheet["width"]), int(sheet["height"])) == image.size
    rows = list(csv.DictReader((root / "scores" / "simclr" / "neighbours.csv").open()))
    for name in dict.fromkeys(row["class"] for row in rows):
        right = sum(row["class"] == row["neighbour_class"] == name for row in rows)
        assert f"{name} {right} of 8" in sheet["alt"]
    assert "neighbours" in page.ids and "#neighbours" in page.loads


def test_the_same_files_give_the_same_page(make):
    root, params = make()
    report.build(root, params)
    first = (root / "report.html").read_bytes()
    report.build(root, params)
    assert (root / "report.html").read_bytes() == first


def test_names_of_classes_are_not_markup(make):
    names = ['<b onload="x">', "a & b", "comma, quote \" and '", "long " * 12, *"456789"]
    root, params = make(classes=names)
    report.build(root, params)
    text, page = (root / "report.html").read_text(), Page(root / "report.html")
    assert "&lt;b onload=" in text
    assert "<b onload" not in text
    assert page.tags.count("b") == text.count("</b>")
    assert "a &amp; b" in text


def test_without_truth_nothing_is_called_right(make):
    root, params = make(truth=False)
    report.build(root, params)
    text = (root / "report.html").read_text()
    assert "Surest right" not in text
    assert "<h3>Surest " in text
    assert "Least sure" in text
    assert "Right among" not in text
    assert "Precision" not in text


def test_without_rounds_and_pretraining_their_sections_are_gone(make, given):
    bare = {key: value for key, value in given.items() if key not in ("pretrain", "rounds", "final")}
    root, params = make(bare | {"finetune": {"from": "scratch"}})
    report.build(root, params)
    page = Page(root / "report.html")
    assert {"scores", "graph", "training", "calibration", "classes", "again"} <= page.ids
    assert not {"features", "layers", "neighbours", "labels"} & page.ids
    assert [row for row in page.rows if row and " of " not in row] == ["baseline", "finetune"]


def test_a_chain_of_runs_and_rounds_is_drawn_in_order(make, given):
    many = copy.deepcopy(given)
    many["pretrain"] = {"rotation": {"method": "rotation"}, "cluster": {"from": "rotation", "method": "clusterfit"}}
    many["finetune"] = {"from": "cluster"}
    many["rounds"]["1"]["from"] = "rotation"
    root, params = make(many)
    report.build(root, params)
    label = re.search(r'aria-label="Graph of the stages: ([^"]*)"', (root / "report.html").read_text())[1]
    assert "cluster from prepare and rotation; finetune from prepare and cluster" in label
    assert "student-1 from label-1 and rotation; label-2 from student-1; student-2 from label-2" in label


def test_a_class_without_test_images_does_not_count_as_a_stronger_one(make):
    root, params = make(classes=[f"class {number}" for number in range(30)])
    report.build(root, params)
    assert "weakest of" not in (root / "report.html").read_text()
