"""The section on robustness: errors as they stand in the files, and none where nothing was measured."""

import re

import pytest

from pipeline import files, report
from pipeline.errors import BadData
from tests.report.fake_run import write_csv
from tests.report.parsed import Page


def measure(root, name, shift):
    folder = root / "robustness" / name
    files.write_json(folder / "metrics.json", {"n": 300, "clean_error": 0.1, "mean_error": 0.25 + shift})
    rows = [
        {"corruption": corruption, "severity": severity, "error": round(0.1 * severity + shift, 3)}
        for corruption in ("shot_noise", "fog")
        for severity in (1, 3)
    ]
    write_csv(folder / "corruptions.csv", rows)
    write_csv(folder / "attacks.csv", [{"epsilon": 4.0, "fgsm": 0.5 + shift, "pgd": 0.75 + shift}])


def cells(page, row):
    found = re.search(rf'<tr data-{row}">(.*?)</tr>', page, re.S)[1]
    return [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[dh].*?</t[dh]>", found)]


def test_errors_of_the_final_model_stand_beside_those_of_the_baseline(make):
    root, params = make()
    measure(root, "student-2", 0.0)
    measure(root, "baseline", 0.011)
    report.build(root, params)
    page = (root / "report.html").read_text()
    assert cells(page, 'corruption="shot noise') == ["shot noise", "10", "30", "20.0", "21.1"]
    assert cells(page, 'epsilon="4.0') == ["4", "50.0", "75.0", "51.1", "76.1"]
    assert "AlexNet = 100" not in page and '<a href="#robustness">' in page
    metrics = files.read_json(root / "robustness" / "student-2" / "metrics.json")
    files.write_json(root / "robustness" / "student-2" / "metrics.json", metrics | {"mce": 71.25})
    report.build(root, params)
    assert re.search(r"AlexNet = 100<.*?<b>71\.2<", (root / "report.html").read_text())


def test_without_measurements_there_is_no_such_section(make):
    root, params = make()
    measure(root, "baseline", 0.0)
    report.build(root, params)
    assert "robustness" not in Page(root / "report.html").ids
    measure(root, "student-2", 0.0)
    (root / "robustness" / "student-2" / "attacks.csv").unlink()
    with pytest.raises(BadData, match=r"robustness/student-2/attacks.csv: no such file"):
        report.build(root, params)
