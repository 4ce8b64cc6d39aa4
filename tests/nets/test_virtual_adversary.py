"""The virtual adversary against networks whose worst direction is known."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.losses import divergence
from pipeline.nets.virtual_adversary import VirtualAdversary, directions


def images(n=5):
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def linear(classes=3, scale=1.0):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, classes))
    with torch.no_grad():
        net[1].weight.mul_(scale)
    return net


def power_method(net, x, d, iterations):
    """d <- H d / |H d|, H = W^T (diag p - p p^T) W: KL to second order, for p = softmax(W x + b), in float64."""
    weight, bias = (p.detach().double().numpy() for p in net[1].parameters())
    found = []
    for image, way in zip(x.flatten(1).double().numpy(), d.flatten(1).double().numpy(), strict=True):
        p = np.exp(weight @ image + bias)
        p /= p.sum()
        hessian = weight.T @ (np.diag(p) - np.outer(p, p)) @ weight
        for _ in range(iterations):
            way = hessian @ way / np.linalg.norm(hessian @ way)
        found.append(way)
    return torch.from_numpy(np.stack(found)).float()


@pytest.mark.parametrize("iterations", (1, 2, 30))
def test_it_is_the_power_method_from_a_normal_direction(iterations):
    net, x, adversary = linear(), images(), VirtualAdversary(1e-3, 2.0, iterations)
    start = torch.special.ndtri(adversary.luck(x, 1, 4, 4))
    expected = power_method(net, x, start, iterations)
    torch.testing.assert_close(adversary(net, x).flatten(1), 2 * expected, atol=0.01, rtol=0)


def test_of_two_classes_the_worst_direction_is_from_one_to_the_other():
    net, x = linear(2), images()
    r = directions(VirtualAdversary(1e-3, 1.0)(net, x)).flatten(1)
    between = nn.functional.normalize(net[1].weight[1] - net[1].weight[0], dim=0)
    torch.testing.assert_close((r @ between).abs(), torch.ones(5), atol=1e-4, rtol=0)


def test_the_start_is_normal_and_another_one_in_each_step():
    torch.manual_seed(0)
    adversary, x = VirtualAdversary(1e-3, 1.0, iterations=0), torch.zeros(200, 1, 8, 8)
    first = adversary(nn.Flatten(), x)
    assert torch.equal(adversary(nn.Flatten(), x), first)
    adversary.turn()
    assert not torch.isclose(adversary(nn.Flatten(), x), first).all(0).any()
    assert abs((8 * first).mean()) < 0.03 and abs((8 * first).var() - 1) < 0.03
    assert abs(((8 * first) ** 4).mean() - 3) < 0.2, "a uniform one would have 1.8"


@pytest.mark.parametrize("scale", (1.0, 1e-4))
def test_every_change_is_as_long_as_asked_however_flat_the_network(scale):
    """The gradient is as small as xi and the network make it: a floor of 1e-6 under its length would shorten r."""
    r = VirtualAdversary(1e-3, 6.0)(linear(scale=scale), images())
    torch.testing.assert_close(r.flatten(1).norm(dim=1), torch.full((5,), 6.0))
    assert not r.requires_grad


def test_a_network_that_says_the_same_of_all_images_leaves_them():
    net = linear(scale=0.0)
    assert torch.equal(VirtualAdversary(1e-3, 6.0)(net, images()), torch.zeros(5, 1, 4, 4))


def test_nothing_of_the_network_changes():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3))
    adversary, x, before = VirtualAdversary(1e-3, 1.0, 2), images(), copy.deepcopy(net.state_dict())
    draws = torch.get_rng_state()
    adversary(net, x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), draws) and net[1].track_running_stats


def test_dropout_hides_the_same_in_all_passes():
    """Else p(x) and p(x + xi d) differ by what is hidden, a thousand times more than by d."""
    net, x, adversary = nn.Sequential(nn.Dropout(0.5), linear()), images(), VirtualAdversary(1e-3, 1.0)
    torch.manual_seed(7)
    kept = nn.functional.dropout(torch.ones(5, 1, 4, 4), 0.5)
    torch.manual_seed(7)
    r = adversary(net, x)
    start, expected = torch.special.ndtri(adversary.luck(x, 1, 4, 4)), []
    for image, way, mask in zip(x, start, kept, strict=True):
        one = copy.deepcopy(linear())
        with torch.no_grad():
            one[1].weight.mul_(mask.flatten())
        expected.append(power_method(one, image[None], way[None], 1)[0])
    torch.testing.assert_close(r.flatten(1), torch.stack(expected), atol=0.01, rtol=0)


def test_autocast_does_not_round_the_difference_away():
    net, x, adversary = linear(), images(), VirtualAdversary(1e-3, 1.0)
    expected = adversary(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(adversary(net, x), expected)
        assert torch.is_autocast_enabled("cpu")


def test_nor_does_tf32():
    seen = []
    net = linear()
    net.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled
    VirtualAdversary(1e-3, 1.0)(net, images())
    assert seen == [False, False]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == before


def test_it_is_worse_than_a_random_change_of_the_same_length():
    net, x = linear(), images(64)
    p = net(x).detach().softmax(1)
    found, random = (
        divergence(p, net(x + VirtualAdversary(1e-3, 1.0, iterations)(net, x))).mean() for iterations in (1, 0)
    )
    assert found > 2 * random
