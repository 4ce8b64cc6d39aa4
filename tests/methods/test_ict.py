"""Interpolation consistency: between two images, what lies between the two answers of the average network."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.nets.memory import Ema
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax, steps
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("ict", "semi")


def between(method, u):
    """(others, shares) of the unlabelled images."""
    return method.luck.order(u).numpy(), method.luck.beta(method.alpha, u)[0].double().numpy()


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_the_formula(n):
    method, batch = task.method(ENTRY, weight=40.0, rise=0.4), seen(ENTRY, n)
    steps(method, ENTRY, 2)  # the average has parted from the network
    method.t, u = 0.1, batch["u"]
    others, a = between(method, u)
    p = softmax(logits(method.target.net, u))
    target = a[:, None] * p + (1 - a[:, None]) * p[others]
    images = u.double().numpy()
    a = a[:, None, None, None]
    mixed = torch.from_numpy(a * images + (1 - a) * images[others]).float()
    squares = (softmax(logits(method.online, mixed)) - target) ** 2  # the mean over images and classes
    supervised = oracle_cross_entropy(logits(method.online, batch["x"]), batch["y"].numpy()).mean()
    assert squares.mean() > 0
    assert method(**batch).item() == pytest.approx(supervised + 40 * np.exp(-5 * 0.75**2) * squares.mean(), rel=1e-5)


def saying(x, y, u, online, target, **knobs):
    """With these functions of (B, D) in the place of the two networks."""
    method = task.method(ENTRY, **knobs)
    method.online, method.target = online, Ema(target)
    return method, method(x=x, y=y, u=u)


def test_a_network_that_is_linear_between_images_is_consistent():
    """And one that bends pays."""

    class Says(nn.Module):
        def __init__(self, bend):
            super().__init__()
            self.bend = bend

        def forward(self, u):
            p = (u[:, :1] ** self.bend).clamp(1e-6, 1 - 1e-6)
            return torch.cat([p, 1 - p], 1).log()

    u = torch.rand(64, 1, generator=torch.Generator().manual_seed(0))
    x, y = torch.full((1, 1), 1.0), torch.tensor([0])
    for bend, consistent in ((1, True), (3, False)):
        method, _ = saying(x, y, u, Says(bend), Says(bend))
        assert (method.notes["consistency"] < 1e-10) == consistent


@pytest.mark.parametrize("mix", ("probabilities", "logits"))
def test_the_answers_of_the_average_are_mixed_or_as_in_the_authors_code_its_logits(mix):
    """Between two sure answers is an unsure one; between their logits is the surer of the two."""
    u = 9 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    method, _ = saying(torch.zeros(1, 2), torch.tensor([0]), u, nn.Identity(), nn.Identity(), mix=mix)
    others, a = between(method, u)
    p, z, a = softmax(u.numpy()), u.numpy(), a[:, None]
    squares = (softmax(a * z + (1 - a) * z[others]) - (a * p + (1 - a) * p[others])) ** 2
    assert squares.mean() > 1e-3
    expected = squares.mean() if mix == "probabilities" else 0  # a network that is linear in logits agrees with them
    assert method.notes["consistency"].item() == pytest.approx(expected, rel=1e-4, abs=1e-12)
    assert task.method(ENTRY).mix == "probabilities"


def test_the_average_is_asked_in_train_mode_and_has_no_gradient():
    method, batch = task.method(ENTRY), seen(ENTRY)
    steps(method, ENTRY, 1)
    assert method.target.net.training
    method(**batch).backward()
    assert all(parameter.grad is None for parameter in method.target.parameters())
    told = method.target.net.eval()
    assert not np.allclose(softmax(told(batch["u"]).detach().numpy()), softmax(logits(told, batch["u"])), atol=1e-3)


def test_the_weight_rises_on_a_sigmoid_over_the_first_part_of_the_training():
    batch, costs = seen(ENTRY), {}
    shares = {0.0: np.exp(-5), 0.125: np.exp(-5 / 4), 0.25: 1, 0.9: 1}
    for t in shares:
        method = task.method(ENTRY)
        method.t = t
        costs[t] = method(**batch).item()
    supervised = oracle_cross_entropy(logits(method.online, batch["x"]), batch["y"].numpy()).mean()
    added = {t: cost - supervised for t, cost in costs.items()}
    assert added[0.9] > 0.01
    assert added == pytest.approx({t: share * added[0.9] for t, share in shares.items()}, abs=1e-6)


def test_each_step_mixes_other_images():
    method, u = task.method(ENTRY), seen(ENTRY, 8)["u"]
    others, shares = between(method, u)
    method(**seen(ENTRY, 8))
    method.remember()
    assert others.tolist() != between(method, u)[0].tolist() and not (shares == between(method, u)[1]).any()


@pytest.mark.parametrize("update, labelled", [("labelled", True), ("last", False)])
def test_running_statistics_are_those_of_the_labelled_images(update, labelled):
    method, batch = task.method(ENTRY, **{} if labelled else {"bn_update": update}), seen(ENTRY)
    expected = running_mean_of(method, batch["x"])
    mean, moved = running_mean(method, batch)
    assert moved == 1
    assert torch.allclose(mean, expected) == labelled
    assert not method.target.net.encoder.net.bn1.running_mean.any(), "the average takes them from the network alone"
