"""Supervised learning: the formula, and the average that is kept."""

import pytest
import torch
from torch.nn import functional as F

from pipeline import catalogue
from tests.contract import small_task as task

ENTRY = catalogue.find("supervised", "semi")


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    return {"x": torch.randn(6, 1, 8, 8, generator=draw), "y": torch.arange(6)}


@pytest.mark.parametrize("smoothing", (0.0, 0.2))
def test_the_loss_is_the_mean_over_the_batch(batch, smoothing):
    method = task.method(ENTRY, smoothing=smoothing)
    log_p = F.log_softmax(method.online(batch["x"]).double(), 1)
    q = (1 - smoothing) * torch.eye(10)[batch["y"]] + smoothing / 10
    assert method(**batch).item() == pytest.approx(-(q * log_p).sum(1).mean().item(), rel=1e-5)


def test_the_average_follows_with_a_warm_start(batch):
    method = task.method(ENTRY, ema=0.5)
    assert method.learned is method.target.net
    weights = []
    for change in (1.0, 2.0, 4.0):
        method(**batch)
        with torch.no_grad():
            method.online.head[0].bias.fill_(change)
        method.remember()
        weights.append(method.learned.head[0].bias[0].item())
    assert weights == [1.0, 1.5, 2.75]
    assert int(method.target.updates) == 3
    norm = "encoder.net.bn1.num_batches_tracked"
    assert method.learned.state_dict()[norm] == method.online.state_dict()[norm], "whole numbers are copied"


def test_the_student_of_ten_thousand_steps_is_the_default_average():
    assert task.method(ENTRY).ema == 0.999
