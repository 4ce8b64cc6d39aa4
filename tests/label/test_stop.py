"""A round whose teacher learned nothing new is skipped, with the reason."""

import pytest

from pipeline.errors import ParamsError
from pipeline.label.stop import no_gain

STUDENT = {"stage": "student-1", "teacher": "finetune", "validation": 0.9, "teacher_validation": 0.89}


@pytest.mark.parametrize(("least", "skips"), [(-1.0, False), (0.0, False), (0.009, False), (0.011, True), (1.0, True)])
def test_the_gain_must_reach_the_least(least, skips):
    reason = no_gain(STUDENT, least)
    assert (reason is not None) == skips
    if skips:
        told = "student-1 has 90.0 % of the validation images, its teacher finetune 89.0 %: a gain below"
        assert reason == f"{told} {100 * least:g} points"


def test_a_first_teacher_may_always_teach():
    assert no_gain({"stage": "finetune", "validation": 0.2}, 0.5) is None


def test_what_a_skipped_round_handed_on_does_not_teach_either():
    assert no_gain(STUDENT | {"skipped": "because"}, -1.0) == "because"


@pytest.mark.parametrize("missing", ["validation", "teacher_validation"])
def test_without_validation_images_it_cannot_be_judged(missing):
    with pytest.raises(ParamsError, match=r"label\.gain: student-1 was not looked at on validation images"):
        no_gain(STUDENT | {missing: None}, 0.0)
