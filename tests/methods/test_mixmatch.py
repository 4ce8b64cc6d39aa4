"""MixMatch: guesses averaged over views and sharpened, and everything mixed with everything."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import logits, running_mean, seen, softmax, steps
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("mixmatch", "semi")
K, VIEWS = 10, "uvwz"
alone = task.without_batch_statistics


def made(**knobs):
    """With the paper's weight, whose training is 10,000 times as long as that of the contract."""
    return task.method(ENTRY, **{name: ENTRY.knobs[name][1] for name in ("weight", "rise")} | knobs)


def guess(net, batch, views, temperature=0.5):
    """q_b = Sharpen(the mean of what the network says, T): equations 6 and 7."""
    mean = np.mean([softmax(logits(net, batch[name])) for name in views], 0)
    return mean ** (1 / temperature) / (mean ** (1 / temperature)).sum(1, keepdims=True)


def mixtures(method, images, labels, mix="all"):
    """MixUp(A_i, W_i) of lines 13 and 14, with the draws of the method, image by image."""
    order = method.luck.order(*images).tolist()
    shares = torch.cat(method.luck.beta(method.alpha, *images)).double().numpy()
    images, labels, n = torch.cat(images).double().numpy(), np.concatenate(labels), len(images[0])
    known, rest = [row for row in order if row < n], [row for row in order if row >= n]
    known = known if mix in ("labelled", "separate") else [*range(n)]
    rest = rest if mix in ("unlabelled", "separate") else [*range(n, len(images))]
    others = order if mix == "all" else known + rest
    a = np.maximum(shares, 1 - shares)
    x = np.stack([s * i + (1 - s) * images[o] for s, i, o in zip(a, images, others, strict=True)])
    p = np.stack([s * i + (1 - s) * labels[o] for s, i, o in zip(a, labels, others, strict=True)])
    return torch.from_numpy(x).float(), p


def oracle(method, batch, views="uv", mix="all", net=None):
    """(L_X, L_U): equations 3 and 4, the second a mean over images and classes. Without BatchNorm."""
    q, n = guess(net or method.online, batch, views, method.temperature), len(batch["x"])
    images = [batch["x"], *(batch[name] for name in views)]
    x, p = mixtures(method, images, [np.eye(K)[batch["y"]], *[q] * len(views)], mix)
    z = logits(method.online, x)
    return oracle_cross_entropy(z[:n], p[:n]).mean(), ((softmax(z[n:]) - p[n:]) ** 2).mean()


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("augmentations", (1, 2, 4))
def test_the_loss_is_the_formula(n, augmentations):
    method, batch = alone(made(augmentations=augmentations)), seen(ENTRY, n)
    supervised, squares = oracle(method, batch, VIEWS[:augmentations])
    assert squares > 1e-4
    assert method(**batch).item() == pytest.approx(supervised + 75 * squares, rel=1e-5)


@pytest.mark.parametrize("mix", ("all", "none", "labelled", "unlabelled", "separate"))
def test_every_ablation_of_who_is_mixed_with_whom(mix):
    method, batch = alone(made(mix=mix)), seen(ENTRY, 8)
    supervised, squares = oracle(method, batch, mix=mix)
    assert method(**batch).item() == pytest.approx(supervised + 75 * squares, rel=1e-5)


def test_an_instance_asks_for_as_many_views_as_it_uses():
    for augmentations in (1, 2, 3, 4):
        method, batch = made(augmentations=augmentations), seen(ENTRY)
        assert "".join(method.unlabelled) == VIEWS[:augmentations]
        asked = {name: value for name, value in batch.items() if name not in VIEWS[augmentations:]}
        assert method(**asked).item() == method(**batch).item()
    assert "".join(ENTRY.load().unlabelled) == VIEWS, "the class has them all"


def saying(x, u, v, **knobs):
    """A method whose network says these logits, and its loss."""
    method = made(**knobs)
    method.online = nn.Identity()
    return method, method(x=x, y=torch.zeros(len(x), dtype=torch.int64), u=u, v=v)


SURE = torch.tensor([[50.0] + [0.0] * 9])
NARROW = {"mix": "none", "weight": 1.0}


def test_guesses_are_averaged_before_they_are_sharpened():
    """Of .6 and .9 of the first class: .75, sharpened .9; the sharpened ones have a mean of .841."""
    u, v = torch.full((1, K), -1e9), torch.full((1, K), -1e9)
    u[0, :2], v[0, :2] = torch.tensor([0.6, 0.4]).log(), torch.tensor([0.9, 0.1]).log()
    method, loss = saying(SURE, u, v, **NARROW)
    assert method.notes["confidence"].item() == pytest.approx(0.9, abs=1e-5)
    expected = 2 * ((0.6 - 0.9) ** 2 + (0.9 - 0.9) ** 2) / (2 * K)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    unsharpened, _ = saying(SURE, u, v, temperature=1.0, **NARROW)
    assert unsharpened.notes["confidence"].item() == pytest.approx(0.75, abs=1e-5)


def test_guesses_have_no_gradient():
    method, u = made(**NARROW), torch.randn(5, K, generator=torch.Generator().manual_seed(0))
    method.online = nn.Linear(K, K)
    method(x=u, y=torch.arange(5), u=u, v=u).backward()
    found, method.online.weight.grad = method.online.weight.grad.clone(), None
    z = method.online(u)
    q = (2 * z.detach()).softmax(1)
    (nn.functional.cross_entropy(z, torch.arange(5)) + (z.softmax(1) - q).square().mean()).backward()
    torch.testing.assert_close(found, method.online.weight.grad)


def test_agreeing_with_oneself_costs_nothing():
    sure = 50 * torch.eye(K)
    assert saying(SURE, sure, sure, **NARROW)[1] < 1e-6


def test_the_average_network_may_guess():
    method, batch = alone(made(guess="ema")), seen(ENTRY)
    alone(method.target)
    steps(method, ENTRY, 2)
    supervised, squares = oracle(method, batch, net=method.target.net)
    assert squares != oracle(method, batch)[1]
    assert method(**batch).item() == pytest.approx(supervised + 75 * squares, rel=1e-5)


def test_the_weight_is_reached_after_16384_of_1048576_steps():
    method, batch = alone(made()), seen(ENTRY)
    supervised, squares = oracle(method, batch)
    for t, share in ((0.0, 0.0), (0.0078, 0.5), (0.0156, 1.0), (0.9, 1.0)):
        method.t = t
        assert method(**batch).item() == pytest.approx(supervised + share * 75 * squares, rel=1e-5)


@pytest.mark.parametrize("guesser", ("online", "ema"))
def test_running_statistics_move_once_and_by_a_batch_of_all_kinds(guesser):
    """Guesses are made in train mode, and move nothing; of the mixed images every third one moves them."""
    method, batch = made(guess=guesser, mix="none"), seen(ENTRY, 8, ratio=1)
    met = []
    norm = method.online.encoder.net.bn1
    norm.register_forward_pre_hook(lambda norm, inputs: met.append((inputs[0].detach(), norm.track_running_stats)))
    mean, moved = running_mean(method, batch)
    assert moved == 1 and method.training and method.target.net.training
    (first,) = [x for x, tracked in met if tracked]
    torch.testing.assert_close(mean, 0.1 * first.mean((0, 2, 3)))
    images = torch.cat([batch[name] for name in "xuv"])[::3]
    torch.testing.assert_close(first, method.online.encoder.net.conv1(images), atol=1e-5, rtol=1e-4)
    assert not method.target.net.encoder.net.bn1.running_mean.any()


def test_each_step_mixes_others():
    method, batch = made(), seen(ENTRY, 8)
    first, again = method(**batch).item(), method(**batch).item()
    method.remember()
    assert first == again != method(**batch).item()
