"""MoCo v3: negatives of the batch, a predictor, a momentum that rises."""

from math import exp, log

import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from tests.contract import small_task as task
from tests.test_losses import oracle_info_nce

ENTRY = catalogue.find("moco_v3", "pretext")


def views(n, seed=0):
    return torch.randn(2, n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def contrast(q, k, tau):
    """ctr of Algorithm 1 (arXiv:2104.02057): the labels are the diagonal, the loss is times 2 tau."""
    rows = range(len(q))
    parts = [oracle_info_nce(q[[i]], k[[i]], k[[j for j in rows if j != i]], tau) for i in rows]
    return 2 * tau * sum(parts) / len(q)


@pytest.mark.parametrize("tau", (0.2, 1.0))
@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_algorithm_1(n, tau):
    method = task.method(ENTRY, tau=tau)
    a, b = views(n)
    with torch.no_grad():
        q_a, q_b = (method.predictor(method.online(view)).numpy() for view in (a, b))
        k_a, k_b = (method.target(view).numpy() for view in (a, b))
    expected = contrast(q_a, k_b, tau) + contrast(q_b, k_a, tau)
    assert method(a=a, b=b).item() == pytest.approx(expected, rel=1e-4)


class Told(nn.Module):
    """Gives row i of `codes` for the image that is i everywhere."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes

    def forward(self, x):
        return self.codes[x[:, 0, 0, 0].long()]


@pytest.mark.parametrize("codes, expected", [(torch.eye(5), log(1 + 4 * exp(-2))), (torch.ones(5, 3), log(5))])
def test_floor_of_an_aligned_batch_and_chance(codes, expected):
    """A key that is its own negative would cost ln 2 more at the floor. The scale is 2 tau, twice."""
    method = task.method(ENTRY, tau=0.5)
    method.online, method.target, method.predictor = Told(codes), Told(codes), nn.Identity()
    x = torch.arange(5.0)[:, None, None, None].expand(5, 1, 8, 8)
    assert method(a=x, b=x).item() == pytest.approx(4 * 0.5 * expected, rel=1e-5)
    assert method.chance == pytest.approx(4 * 0.5 * log(5))


def test_the_gradient_reaches_the_predictor_and_never_the_target():
    method = task.method(ENTRY)
    a, b = views(4)
    method(a=a, b=b).backward()
    assert all(p.grad is not None for p in [*method.online.parameters(), *method.predictor.parameters()])
    assert all(p.grad is None for p in method.target.parameters())


def test_the_momentum_rises_from_m_to_one():
    """By half a cosine of progress; at its start the target moves by 1 - m, at its end no more."""
    for t, share in ((0.0, 0.1), (0.5, 0.05), (1.0, 0.0)):
        method, (a, b) = task.method(ENTRY, m=0.9), views(4)
        method.t = t
        method(a=a, b=b)
        start = method.target.net.head[0].weight.clone()
        with torch.no_grad():
            method.online.head[0].weight.add_(1)
        method.remember()
        torch.testing.assert_close(method.target.net.head[0].weight, start + share)


def test_the_target_is_the_average_of_the_formula_after_three_steps():
    method = task.method(ENTRY, m=0.6)
    method.t, expected = 0.0, [parameter.clone() for parameter in method.online.parameters()]
    for seed in range(3):
        a, b = views(4, seed)
        method(a=a, b=b).backward()
        with torch.no_grad():
            for parameter in method.online.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        method.remember()
        expected = [0.6 * x + 0.4 * now for x, now in zip(expected, method.online.parameters(), strict=True)]
    for target, formula in zip(method.target.net.parameters(), expected, strict=True):
        torch.testing.assert_close(target, formula)


def test_a_resnet_has_two_layers_and_a_norm_and_a_transformer_three_and_a_norm_behind_the_predictor():
    """Section 5 of the paper, and its authors' code."""
    resnet, vit = (task.method(ENTRY, transformer=value, hidden=24, dim=6) for value in (False, True))
    assert resnet.online.head.dims == [16, 24, 6] and vit.online.head.dims == [16, 24, 24, 6]
    assert resnet.predictor.dims == vit.predictor.dims == [6, 24, 6]
    ends = [isinstance(head[-1], nn.BatchNorm1d) for m in (resnet, vit) for head in (m.online.head, m.predictor)]
    assert ends == [True, False, True, True]
    assert isinstance(resnet.predictor, Head) and not any(resnet.online.head[-1].parameters())


@pytest.mark.slow  # imports timm
def test_a_transformer_keeps_its_random_patch_embedding_and_learns_the_rest():
    """Section 4.2: a frozen patch projection removes the dips of training."""
    chosen = params.Encoder(name="vit_tiny_patch16_224", args={"patch_size": 4, "img_size": 8, "depth": 1})
    for transformer in (True, False):
        encoder = build_encoder(chosen, 1, 8, task.MEAN, task.STD)
        method = ENTRY.load()(encoder, transformer=transformer, hidden=16, dim=8).train()
        a, b = views(4)
        method(a=a, b=b).backward()
        silent = {name for name, p in encoder.named_parameters() if p.grad is None}
        frozen = {"net.patch_embed.proj.weight", "net.patch_embed.proj.bias"}
        assert silent == (frozen if transformer else set())
