"""SimSiam: the symmetric loss and its stop-gradient."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.test_losses import SIZES

ENTRY = catalogue.find("simsiam", "pretext")


def views(n):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def d(p, z):
    """arXiv:2011.10566, equation 1, the mean over images."""
    p, z = p.detach().double().numpy(), z.detach().double().numpy()
    return -((p * z).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(z, axis=1)).mean()


@pytest.mark.parametrize("n", SIZES)
def test_the_loss_is_half_of_each_direction(n):
    method, (a, b) = task.method(ENTRY), views(n)
    z_a, z_b = method.online(a), method.online(b)
    expected = d(method.predictor(z_a), z_b) / 2 + d(method.predictor(z_b), z_a) / 2
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_one_output_for_all_images_is_the_minimum():
    """-1, the fixed point that only the stop-gradient keeps away."""
    method, (a, b) = task.method(ENTRY), views(3)
    for head in (method.predictor, method.online.head):
        head.append(nn.Threshold(1e9, 1.0))  # whatever comes in
    assert method(a=a, b=b).item() == pytest.approx(-1)


def test_the_gradient_holds_the_other_view_still():
    """Without the stop-gradient the features collapse at once (section 4.1)."""
    method, (a, b) = task.method(ENTRY), views(5)
    method(a=a, b=b).backward()
    found = method.online.head[0].weight.grad.clone()
    method.zero_grad()
    z_a, z_b = method.online(a), method.online(b)
    still, moving = (
        -(nn.functional.cosine_similarity(method.predictor(z_a), other_b).mean()
          + nn.functional.cosine_similarity(method.predictor(z_b), other_a).mean()) / 2
        for other_a, other_b in ((z_a.detach(), z_b.detach()), (z_a, z_b))
    )  # fmt: skip
    slope = [torch.autograd.grad(loss, method.online.head[0].weight, retain_graph=True)[0] for loss in (still, moving)]
    torch.testing.assert_close(found, slope[0])
    assert not torch.allclose(found, slope[1], rtol=0.01)


def test_the_loss_of_a_batch_seen_four_times_is_that_of_the_batch():
    method, (a, b) = task.method(ENTRY).eval(), views(3)
    assert method(a=a.repeat(4, 1, 1, 1), b=b.repeat(4, 1, 1, 1)).item() == pytest.approx(method(a=a, b=b).item())


@pytest.mark.parametrize("dim, hidden", [(2048, 512), (6, 4)])
def test_three_layers_that_end_in_a_norm_without_weights_and_a_bottleneck(dim, hidden):
    method = task.method(ENTRY, dim=dim, hidden=hidden)
    projector, predictor = method.online.head, method.predictor
    assert projector.dims == [16, dim, dim, dim] and predictor.dims == [dim, hidden, dim]
    assert isinstance(projector[-1], nn.BatchNorm1d) and not projector[-1].affine
    assert isinstance(predictor[-1], nn.Linear)
    assert ENTRY.knobs["dim"][1] == 2048 and ENTRY.knobs["hidden"][1] == 512
