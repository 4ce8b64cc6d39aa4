"""A stage as a whole: what it says, and what it leaves."""

import csv
import json
import shutil
from functools import partial

import pytest
import torch

from pipeline import files
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


LOOP = "rounds.1.method=kd", "distill.knobs={targets: loop}", "distill.views={x: plain, u: plain}"


def test_a_round_may_ask_its_teacher_while_the_student_starts_elsewhere(forks, world):
    """With steps too small to see: the student is what it started from, and the teacher is far from it."""
    here = world("student-1")
    forks.call(stage, here.folder, "student-1", *LOOP, "rounds.1.from=simclr", "distill.optimiser.lr=1e-12")
    simclr, student, teacher = (
        files.read_safetensors(here.data / "models" / name / "model.safetensors")[0]
        for name in ("simclr", "student-1", "finetune")
    )
    for name in (name for name in simclr if "conv" in name):
        torch.testing.assert_close(student[name], simclr[name], atol=1e-9, rtol=0)
        assert not torch.allclose(student[name], teacher[name])
    about = json.loads((here.data / "models/student-1/model.json").read_text())
    assert (about["from"], about["method"]) == ("simclr", "kd")


def test_a_teacher_in_the_loop_is_the_one_that_labelled(forks, world):
    here = world("student-1")
    forks.call(stage, here.folder, "finetune", "seed=4")
    child = forks.start(stage, here.folder, "student-1", *LOOP)
    assert forks.wait(child) == 65 and "models/finetune/model.json says" in child.said and "`label` again" in child.said
    forks.call(stage, here.folder, "student-1")


def test_a_teacher_in_the_loop_goes_on_after_a_kill(forks, world):
    whole, here = world("student-1"), world("student-1")
    forks.call(stage, whole.folder, "student-1", *LOOP)
    assert forks.run(stage, here.folder, "student-1", *LOOP, hooks=[partial(at_step, STEPS - 1, die)]) == -9
    assert forks.run(stage, here.folder, "student-1", *LOOP, hooks=[partial(at_step, STEPS - 2, die)]) == 0
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
