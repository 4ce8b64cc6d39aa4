"""The selection as a detector of images of no class: counted by hand, and against a loop over all pairs."""

import pytest
import torch

from pipeline.label.rejection import rejection
from pipeline.label.select import EDGES, Selection

SURE = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
TRUE = [0, -1, 1, 0, -1, -1, 0, -2]  # the last is not known


def page(true=TRUE, chosen=(0, 1, 2, 4), sure=SURE):
    rows = torch.tensor(chosen, dtype=torch.int64)
    return rejection(torch.tensor(sure), Selection(rows, torch.ones_like(rows), [0, 0], 0), torch.tensor(true))


def test_what_the_selection_rejects():
    """Rejected and known: 3, 5 and 6, of which 5 is of no class; 1 and 4 slipped through."""
    found = page()
    assert (found["n"], found["known"], found["selected"]) == (3, 7, 2)
    assert (found["recall"], found["precision"]) == (1 / 3, 1 / 3)


def test_what_each_threshold_would_reject():
    found = page()["by_threshold"]
    at = {t: pair for t, *pair in zip(EDGES, found["recall"], found["precision"], strict=True)}
    assert at[0.0] == [0, None]
    assert at[0.35] == [0, 0]  # 6 alone; 7 is not known
    assert at[0.45] == [1 / 3, 1 / 2]  # 5, 6
    assert at[0.5] == at[0.45], "4 is as sure as that, and stays"
    assert at[0.65] == [2 / 3, 2 / 4]  # 3, 4, 5, 6
    assert at[1.0] == [1, 3 / 7]


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    """With equals, which count by half."""
    chance = torch.Generator().manual_seed(0)
    sure = (torch.rand(60, generator=chance) * 8).round() / 8
    true = torch.where(torch.rand(60, generator=chance) < 0.3, -1, 1)
    inside, outside = sure[true == 1].tolist(), sure[true == -1].tolist()
    won = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert page(true.tolist(), (0,), sure.tolist())["auroc"] == pytest.approx(sum(won) / len(won), abs=1e-12)


def test_fpr95_is_on_the_roc_of_scikit_learn():
    """Its first point where 95 % of the images of some class pass; some are equally sure."""
    from sklearn.metrics import roc_curve

    for seed in range(5):
        chance = torch.Generator().manual_seed(seed)
        true = torch.where(torch.rand(60, generator=chance) < 0.3, -1, 1)
        sure = ((torch.rand(60, generator=chance) + 0.5 * (true == 1)) * 40).round() / 60
        false, passed, _ = roc_curve(true == 1, sure, drop_intermediate=False)
        found = page(true.tolist(), (0,), sure.tolist())["fpr95"]
        assert 0 < found < 1 and found == pytest.approx(false[passed >= 0.95][0])
    exact = page([0] * 20 + [-1] * 4, (0,), [1 - i / 32 for i in range(20)] + [0.5, 0.4375, 0.40625, 0.375])
    assert exact["fpr95"] == 0.5, "the 19th of 20 has 0.4375, and what is as sure passes too"


def test_without_images_of_no_class_there_is_nothing_to_reject():
    found = page([0, 1, 1, 0, -2, 1, 0, 1])
    assert (found["n"], found["selected"]) == (0, 0)
    assert found["recall"] is found["precision"] is found["auroc"] is found["fpr95"] is None
    assert found["by_threshold"] == {"recall": [], "precision": []}


def test_with_nothing_but_such_images_there_is_no_order():
    found = page([-1] * 8, ())
    assert (found["recall"], found["precision"], found["auroc"], found["fpr95"]) == (1, 1, None, None)
    assert page([-1] * 8, range(8))["precision"] is None
