"""SimCLR: the loss of two views, and its projection head."""

import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.test_losses import oracle_nt_xent

ENTRY = catalogue.find("simclr", "pretext")


def test_the_loss_is_nt_xent_of_the_projections_of_two_views():
    method = task.method(ENTRY, dim=6, tau=0.2)
    a, b = torch.randn(2, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = oracle_nt_xent(method.online(a).numpy(), method.online(b).numpy(), 0.2)
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hidden, width", [(0, 16), (7, 7)])
def test_the_head_has_one_hidden_layer(hidden, width):
    assert task.method(ENTRY, hidden=hidden, dim=6).online.head.dims == [16, width, 6]
