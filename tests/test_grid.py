"""Grids of experiments: every row is parameters that hold, and DVC gets the same ones."""

import shutil
from pathlib import Path

import pytest
from grid import Grid, leaves, measuring, overlay, quoted, slug
from ruamel.yaml import YAML

from pipeline import yaml_file
from pipeline.nets.encoder import build_encoder

GRIDS = sorted((Path(__file__).parents[1] / "benchmarks" / "grids").glob("*.yaml"))


@pytest.mark.parametrize("path", [path for path in GRIDS if Grid.at(path)], ids=lambda path: path.stem)
def test_every_row_is_parameters_that_hold_and_no_two_are_the_same(path, tmp_path):
    grid = Grid.load(path)
    rows = {row: yaml_file.load(grid.write(row, tmp_path)) for row in grid.rows}
    assert len({params.model_dump_json() for params in rows.values()}) == len(rows)
    assert len({slug(row) for row in rows}) == len(rows), "DVC names experiments by them"
    first = next(iter(rows.values()))
    build_encoder(first.encoder, first.data.channels, first.data.size, [0.5], [0.25])


def test_what_a_row_changes_lies_over_what_all_change_and_that_over_the_file(tmp_path):
    (tmp_path / "base.yaml").write_text("data: {size: 8, channels: 1}\nfinetune: {steps: 9, views: {x: flip}}\n")
    path = tmp_path / "two.yaml"
    path.write_text(
        "params: base.yaml\ncommon: {finetune: {steps: 10, batch: 4}}\n"
        "rows: {as it is: {}, 'one, two': {finetune: {batch: 5, views: {x: flip|cutout(.5)}}}}\n"
    )
    grid = Grid.load(path)
    one, two = (yaml_file.load(grid.write(row, tmp_path)) for row in grid.rows)
    assert (one.finetune.steps, one.finetune.batch, one.finetune.views) == (10, 4, {"x": "flip"})
    assert (two.finetune.steps, two.finetune.batch, two.finetune.views) == (10, 5, {"x": "flip|cutout(.5)"})
    assert one.data.size == two.data.size == 8


def test_overlay_leaves_what_it_lies_over_as_it_was():
    below = {"a": {"b": 1, "c": 2}, "d": 3}
    assert overlay(below, {"a": {"b": 4}, "d": {"e": 5}}) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert below == {"a": {"b": 1, "c": 2}, "d": 3}


def test_leaves_are_what_has_nothing_below():
    assert dict(leaves({"a": {"b": 1, "c": {"d": [2]}}, "e": {}})) == {"a.b": 1, "a.c.d": [2], "e": {}}


def test_values_are_quoted_as_hydra_reads_them():
    """Hydra comes with DVC: its own parser is the oracle."""
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser").OverridesParser.create()
    for value in (
        3,
        0.5,
        True,
        None,
        [],
        {},
        ["bird", "cat"],
        "plain",
        "1",
        "true",
        "shift(.125)|flip",
        "it's",
        "a,b=c",
    ):
        override = parser.parse_override(f"++finetune.knobs.x={quoted(value)}")
        assert not override.is_sweep_override() and override.is_force_add()
        assert override.value() == value and type(override.value()) is type(value)


def command(grid, row, sets=()):
    words = grid.command(row, list(sets))
    assert words[:5] == ["dvc", "exp", "run", "--queue", "-n"]
    return words[5], words[7:-1:2], words[-1]


def test_a_command_names_the_experiment_its_values_and_the_stage():
    root = GRIDS[0].parent
    rows = {"40 labels": {"data": {"labels_per_class": 4}}, "its teacher": {"final": "finetune"}}
    grid = Grid(root / "few_labels.yaml", "../../params.yaml", rows)
    values = ["++data.labels_per_class=4", "++data.source=F"]
    assert command(grid, "40 labels", ["data.source=F"]) == ("few-labels-40-labels", values, "evaluate-student@2")
    assert command(grid, "its teacher")[1:] == (["++final='finetune'"], "evaluate@finetune")


@pytest.mark.parametrize(
    ("model", "stage"),
    [
        ("student-2", "evaluate-student@2"),
        ("baseline", "evaluate@baseline"),
        ("simclr", "probe@simclr"),
        ("scratch", "probe-scratch"),
    ],
)
def test_each_model_is_measured_by_a_stage_of_its_own(model, stage):
    assert measuring(model) == stage


@pytest.mark.parametrize("path", [path for path in GRIDS if Grid.at(path)], ids=lambda path: path.stem)
def test_an_experiment_of_dvc_has_the_parameters_of_the_row(path, tmp_path):
    """Applied by DVC itself to the project's params.yaml; sections that the grid does not speak of stay."""
    hydra = pytest.importorskip("dvc.utils.hydra")
    for row in Grid.load(path).rows:
        applied = Path(shutil.copy(path.parents[2] / "params.yaml", tmp_path))
        hydra.apply_overrides(applied, command(Grid.load(path), row)[1])
        theirs, ours = (YAML(typ="safe").load(each) for each in (applied, Grid.load(path).write(row, tmp_path)))
        assert {section: theirs[section] for section in ours} == ours
        yaml_file.load(applied)
