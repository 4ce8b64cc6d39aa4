"""BOSS's iterations: a step of FixMatch. Which images are labelled is in tests/stages/test_rounds.py."""

import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, seen, softmax

ENTRY, FIXMATCH = catalogue.find("self_training", "distill"), catalogue.find("fixmatch", "semi")


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_that_of_fixmatch(n):
    batch, mine, its = seen(ENTRY, n, ratio=3), task.method(ENTRY, weight=0.7), task.method(FIXMATCH, weight=0.7)
    views = torch.cat([batch[name] for name in "xus"])
    mine.tau = its.tau = softmax(logits(mine.online, views)[n : 4 * n]).max(1).mean()  # sure of some, not of all
    assert mine(**batch).item() == pytest.approx(its(**batch).item(), abs=1e-6)
    assert 0 < mine.notes["kept"] == its.notes["kept"] < 1
