"""A stage as a whole: what it says, and what it leaves."""

import json

from tests.harness import STEPS, stage

SMALLER = ("distill.encoder={name: tiny, args: {width: 2}}", "rounds.1.from=scratch")


def test_a_student_smaller_than_its_teacher_is_warned_of(forks, world):
    for sets, warned in ((SMALLER, True), ((), False)):
        here = world("student-1")
        child = forks.start(stage, here.folder, "student-1", *sets)
        assert forks.wait(child) == 0, child.said
        assert ("warning: student-1 has" in child.said) == warned


def test_what_a_stage_leaves(forks, world):
    here = world("finetune")
    forks.call(stage, here.folder, "finetune")
    about = json.loads((here.data / "models/finetune/model.json").read_text())
    assert (about["kind"], about["method"], about["steps"]) == ("classifier", "supervised", STEPS)
    assert about["from"] == "scratch" and len(about["classes"]) == 4
    times = json.loads((here.data / "times/finetune.json").read_text())
    assert times["images"] == STEPS * 8 and times["images_per_second"] == times["images"] / times["seconds"]
    assert here.litter() == []
