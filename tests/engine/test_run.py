"""A stage as a whole: what it says, and what it leaves."""

import csv
import json
import shutil
from functools import partial

import pytest

from tests.harness import STEPS, at_step, die, stage

SMALLER = ("distill.encoder={name: tiny, args: {width: 2}}", "rounds.1.from=scratch")


def test_a_student_smaller_than_its_teacher_is_warned_of(forks, world):
    for sets, warned in ((SMALLER, True), ((), False)):
        here = world("student-1")
        child = forks.start(stage, here.folder, "student-1", *sets)
        assert forks.wait(child) == 0, child.said
        assert ("warning: student-1 has" in child.said) == warned


def test_a_round_of_another_method_goes_on_after_a_kill(forks, world):
    """With pseudo-labels among the labels: the bytes of a run that nobody disturbed."""
    whole, here = world("student-1"), world("student-1")
    command = stage, here.folder, "student-1", "rounds.1.method=self_training", "distill.select.quota=5"
    forks.call(*(whole.folder if word is here.folder else word for word in command))
    assert forks.run(*command, hooks=[partial(at_step, STEPS - 1, die)]) == -9
    assert forks.run(*command, hooks=[partial(at_step, STEPS - 2, die)]) == 0, "it does not begin again"
    assert here.digests("student-1") == whole.digests("student-1") and here.litter() == []


def test_what_a_stage_leaves(forks, world):
    here = world("finetune")
    forks.call(stage, here.folder, "finetune")
    about = json.loads((here.data / "models/finetune/model.json").read_text())
    assert (about["kind"], about["method"], about["steps"]) == ("classifier", "supervised", STEPS)
    assert about["from"] == "scratch" and len(about["classes"]) == 4
    times = json.loads((here.data / "times/finetune.json").read_text())
    assert times["images"] == STEPS * 8 and times["images_per_second"] == times["images"] / times["seconds"]
    with (here.data / "curves/finetune.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert list(last) == ["step", "loss", "lr", *(f"val_class_{place:02d}" for place in range(4)), "val_top1"]
    assert float(last["val_top1"]) == pytest.approx(sum(float(last[f"val_class_{c:02d}"]) for c in range(4)) / 4)
    assert here.litter() == []


def test_a_method_is_told_which_unlabelled_images_have_a_label(forks, world):
    """Here all: label propagation is certain of each from its first graph on."""
    here = world("finetune")
    shutil.rmtree(here.data / "shards/unlabelled")
    shutil.copytree(here.data / "shards/labelled", here.data / "shards/unlabelled")
    forks.call(stage, here.folder, "finetune", "finetune.method=label_propagation")
    with (here.data / "curves/finetune.csv").open() as file:
        weights = [float(row["weight"]) for row in csv.DictReader(file)]
    assert weights[:3] == [0] * 3 and weights[3:] == [1] * (STEPS - 3), "24 images are an epoch of 3 steps"
