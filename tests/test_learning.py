"""The tables of benchmarks/: which models a row needs, and which settings its numbers are of."""

from pathlib import Path

import pytest
from learning import builds_on, settings

from pipeline import yaml_file

PARAMS = """\
data: {labels_per_class: 4}
pretrain:
  one: {from: scratch, method: simclr}
  two: {from: one, method: clusterfit}
  aside: {from: scratch, method: byol}
finetune: {from: one, method: fixmatch}
distill: {steps: 7}
rounds:
  "1": {teacher: finetune, from: two, method: noisy_student}
  "2": {teacher: baseline, from: student-1, method: noisy_student}
"""


@pytest.fixture
def params(tmp_path):
    """params(key=value as for -S, ...)"""
    (tmp_path / "params.yaml").write_text(PARAMS)
    return lambda *sets: yaml_file.load(Path(tmp_path / "params.yaml"), sets)


def test_a_model_needs_those_that_it_is_made_from_in_their_order(params):
    needs = {model: builds_on(params(), model) for model in params().models}
    assert needs["scratch"] == ["scratch"] and needs["baseline"] == ["scratch", "baseline"]
    assert needs["two"] == ["scratch", "one", "two"] and needs["finetune"] == ["scratch", "one", "finetune"]
    assert needs["student-1"] == ["scratch", "one", "finetune", "two", "student-1"]
    assert needs["student-2"] == ["scratch", "baseline", "one", "finetune", "two", "student-1", "student-2"]


def test_a_further_teacher_is_made_before_the_student_that_it_teaches(params):
    more = params("teachers={beside: {round: '1', teacher: baseline}}")
    assert builds_on(more, "student-1") == ["scratch", "one", "finetune", "baseline", "two", "student-1"]
    more = params("teachers={beside: {round: '2', teacher: student-1}}")
    assert settings(more, "student-2") != settings(params(), "student-2")
    assert settings(more, "student-1") == settings(params(), "student-1")


@pytest.mark.parametrize(
    "change, changed",
    [
        ("pretrain.aside.steps=5", {"aside"}),
        ("pretrain.one.knobs.tau=.3", {"one", "two", "finetune", "student-1", "student-2"}),
        ("pretrain.two.steps=5", {"two", "student-1", "student-2"}),
        ("finetune.steps=5", {"finetune", "baseline", "student-1", "student-2"}),
        ("distill.steps=5", {"student-1", "student-2"}),
        ("rounds.2.distill.steps=5", {"student-2"}),
        ("seed=5", set()),
        ("data.seed=5", set()),
        ("runtime.workers=1", set()),
        ("data.source=/elsewhere/digits", set()),
        (
            "data.labels_per_class=5",
            {"scratch", "one", "two", "aside", "baseline", "finetune", "student-1", "student-2"},
        ),
        ("finetune.precision=fp32", set()),  # the default
    ],
)
def test_a_row_is_measured_again_where_what_it_is_made_from_has_changed(params, change, changed):
    before, after = params(), params(change)
    assert {model for model in before.models if settings(before, model) != settings(after, model)} == changed
