"""What changed between two rounds, counted by hand."""

import torch

from pipeline.label.churn import FLOWS, churn
from pipeline.label.select import Selection

CLASSES = ["ant", "bee", "cat"]
#        0  1  2  3  4  5  6  7
THEN = [0, 0, 1, 1, 2, 2, 2, 0]
NOW_ = [0, 1, 1, 0, 1, 1, 0, 2]
TRUE = [0, 1, 1, 1, 1, 1, 1, -2]  # 1, 4 and 5 became right, 3 wrong; 6 stayed wrong, and of 7 nothing is known


def chosen(*rows):
    return Selection(torch.tensor(rows, dtype=torch.int64), torch.ones(len(rows), dtype=torch.int64), [0.0] * 3, 0.0)


def page(true=TRUE, now=NOW_, then=THEN, classes=CLASSES):
    guess, before = torch.tensor(now), torch.tensor(then)
    return churn(guess, chosen(0, 1, 2, 4), (before, chosen(0, 1, 3, 4, 6)), torch.tensor(true), classes)


def test_of_all_images_and_of_those_selected_twice():
    found = page()
    assert found["changed"] == 6 / 8
    assert (found["both"], found["both_changed"]) == (3, 2 / 3)  # 0, and 1 and 4, which changed
    assert (found["entered"], found["left"]) == (1, 2)  # 2; 3 and 6


def test_what_became_right_and_what_wrong():
    found = page()
    assert [found[name] for name in ("wrong_to_right", "right_to_wrong", "wrong_to_wrong")] == [3, 1, 1]


def test_the_flows_from_class_to_class():
    assert page()["flows"] == [
        {"before": "cat", "now": "bee", "n": 2, "right_before": 0, "right_now": 2},
        {"before": "ant", "now": "bee", "n": 1, "right_before": 0, "right_now": 1},
        {"before": "ant", "now": "cat", "n": 1, "right_before": 0, "right_now": 0},
        {"before": "bee", "now": "ant", "n": 1, "right_before": 1, "right_now": 0},
        {"before": "cat", "now": "ant", "n": 1, "right_before": 0, "right_now": 0},
    ]


def test_of_many_flows_the_most_frequent():
    then, now = [a for a in range(6) for b in range(6)], [b for a in range(6) for b in range(6)]
    flows = page([-2] * 38, [*now, 0, 0], [*then, 5, 5], [*"abcdef"])["flows"]
    assert flows[0] == {"before": "f", "now": "a", "n": 3}
    assert len(flows) == FLOWS and flows[1] == {"before": "a", "now": "b", "n": 1}


def test_without_truth_nothing_is_called_right():
    found = page([-2] * 8)
    assert found["changed"] == 6 / 8 and found["flows"][0] == {"before": "cat", "now": "bee", "n": 2}
    assert found["wrong_to_right"] is found["right_to_wrong"] is found["wrong_to_wrong"] is None


def test_nothing_selected_twice_has_no_share():
    found = churn(torch.tensor([0]), chosen(), (torch.tensor([1]), chosen(0)), torch.tensor([0]), CLASSES)
    assert (found["both"], found["both_changed"], found["left"]) == (0, None, 1)
