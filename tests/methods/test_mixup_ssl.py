"""Mixup with unlabelled images: each kind among itself, and guesses for labels."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("mixup_ssl", "semi")
K = 10


def mixtures(method, x, u, y, q):
    """Image by image: lambda' = max(lambda, 1 - lambda) of itself and the rest of another one of its own kind."""
    n, order = len(x), method.luck.order(x, u).numpy()
    shares = [np.maximum(s, 1 - s) for s in (s.double().numpy() for s in method.luck.beta(method.alpha, x, u))]
    made = []
    for images, targets, share, others in (
        (x, y, shares[0], order[order < n]),
        (u, q, shares[1], order[order >= n] - n),
    ):
        images = images.double().numpy()
        a = share[:, None, None, None]
        made.append((torch.from_numpy(a * images + (1 - a) * images[others]).float(),
                     share[:, None] * targets + (1 - share[:, None]) * targets[others]))  # fmt: skip
    return made


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_the_formula(n):
    method, batch = task.method(ENTRY, weight=3.0), seen(ENTRY, n)
    q = softmax(logits(method.online, batch["u"]))
    y = np.eye(K)[batch["y"].numpy()]
    (x, on_x), (u, on_u) = mixtures(method, batch["x"], batch["u"], y, q)
    expected = oracle_cross_entropy(logits(method.online, x), on_x).mean()
    expected += 3 * oracle_cross_entropy(logits(method.online, u), on_u).mean()
    assert method(**batch).item() == pytest.approx(expected, rel=1e-5)


def test_labels_are_never_mixed_with_guesses():
    """An unlabelled image of pure noise changes nothing of what the labelled ones cost."""
    method, batch = task.method(ENTRY, weight=0.0), seen(ENTRY, 8)
    assert method(**batch).item() == method(**batch | {"u": 100 * torch.randn_like(batch["u"])}).item()


def test_guesses_have_no_gradient():
    method = task.method(ENTRY)
    method.online = nn.Flatten()
    u = torch.randn(6, K, requires_grad=True)
    batch = {"x": torch.zeros(3, K), "y": torch.arange(3)}
    method(**batch, u=u).backward()
    (_, _), (_, on_u) = mixtures(method, *(z.detach()[..., None, None] for z in (batch["x"], u)),
                                 np.eye(K)[:3], softmax(u.detach().double().numpy()))  # fmt: skip
    order, share = method.luck.order(batch["x"], u), method.luck.beta(0.5, batch["x"], u)[1]
    share, others = torch.maximum(share, 1 - share)[:, None], order[order >= 3] - 3
    again = u.detach().requires_grad_()
    between = share * again + (1 - share) * again.detach()[others]  # partners are data, as in a loader
    (-(torch.from_numpy(on_u) * between.double().log_softmax(1)).sum(1).mean()).backward()
    torch.testing.assert_close(u.grad, again.grad, atol=1e-6, rtol=1e-5)


def test_each_step_mixes_others():
    method, batch = task.method(ENTRY), seen(ENTRY, 8)
    first, again = method(**batch).item(), method(**batch).item()
    method.remember()
    method.target.net.load_state_dict(method.online.state_dict())
    assert first == again != method(**batch).item()


def test_guessing_moves_no_running_statistics():
    method, batch = task.method(ENTRY), seen(ENTRY)
    (x, _), _ = mixtures(method, batch["x"], batch["u"], np.eye(K)[batch["y"]], np.zeros((8, K)))
    expected = running_mean_of(method, x)
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)
