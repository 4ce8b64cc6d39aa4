"""Files that are missing or broken are named, with what to do."""

import json
import re

import pytest

from pipeline import files, report
from pipeline.errors import BadData
from tests.report.parsed import Page, metrics

REQUIRED = (
    "scores/student-1/metrics.json",
    "scores/finetune/per_class.csv",
    "scores/baseline/confusion.csv",
    "scores/baseline/reliability.csv",
    "scores/student-2/risk.csv",
    "scores/scratch/metrics.json",
    "curves/simclr.csv",
    "audits/2/audit.json",
    "models/finetune/model.json",
    "shards/unlabelled/manifest.json",
)


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_file_is_named(make, missing):
    root, params = make()
    (root / missing).unlink()
    with pytest.raises(BadData, match=re.escape(missing)):
        report.build(root, params)
    assert not (root / "report.html").exists()


def test_a_missing_key_is_named(make):
    root, params = make()
    broken = metrics(root, "baseline")
    del broken["brier"]
    (root / "scores" / "baseline" / "metrics.json").write_text(json.dumps(broken))
    with pytest.raises(BadData, match=r"baseline/metrics.json: has no 'brier'"):
        report.build(root, params)


def test_a_cell_that_is_no_number_is_named_with_its_line(make):
    root, params = make()
    curve = root / "curves" / "baseline.csv"
    lines = curve.read_text().splitlines()
    lines[4] = lines[4].replace(lines[4].split(",")[1], "many")
    curve.write_text("\n".join(lines))
    with pytest.raises(BadData, match=r"curves/baseline.csv:5: column 'loss'"):
        report.build(root, params)


@pytest.mark.parametrize(
    "missing, section",
    [
        ("layers.csv", "layers"),
        ("neighbours.csv", "neighbours"),
        ("neighbours.png", "neighbours"),
        ("embedding.csv", "maps"),
    ],
)
def test_what_an_encoder_does_not_show_is_optional(make, missing, section):
    root, params = make()
    for file in (root / "scores").glob(f"*/{missing}"):
        file.unlink()
    report.build(root, params)
    page = Page(root / "report.html")
    assert section not in page.ids and f"#{section}" not in page.loads
    assert {"features", "layers", "neighbours", "maps"} - {section} <= page.ids


TABLES = [("simclr", "neighbours", "neighbour_class"), ("student-2", "embedding", "class")]


def test_a_table_of_layers_may_be_empty(make):
    """Of a network that does not show its maps."""
    root, params = make()
    files.write_csv(root / "scores" / "simclr" / "layers.csv", [])
    report.build(root, params)
    rows = Page(root / "report.html").rows
    assert "layers of scratch" in rows and "layers of simclr" not in rows


@pytest.mark.parametrize("model, table, column", TABLES, ids=[table for _, table, _ in TABLES])
def test_a_table_without_one_of_its_columns_is_named(make, model, table, column):
    root, params = make()
    path = root / "scores" / model / f"{table}.csv"
    path.write_text(path.read_text().replace(column, "other"))
    with pytest.raises(BadData, match=rf"{model}/{table}.csv: has no column '{column}'"):
        report.build(root, params)


def test_times_are_optional(make):
    root, params = make()
    for file in (root / "times").iterdir():
        file.unlink()
    report.build(root, params)
    assert "Time of all stages" not in (root / "report.html").read_text()


def test_a_pseudo_label_of_another_data_set_is_named(make):
    root, params = make()
    path = root / "audits" / "1" / "audit.json"
    audit = json.loads(path.read_text())
    audit["pictures"]["surest_wrong"][0] |= {"key": "elsewhere"}
    path.write_text(json.dumps(audit))
    with pytest.raises(BadData, match="'elsewhere', which is not there"):
        report.build(root, params)
