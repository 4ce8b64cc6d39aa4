"""Attacks: closed forms on a linear network, the ball, and which one is stronger."""

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.robustness.adversarial import fgsm, pgd

EPS = 8 / 255


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 16, 3), nn.GELU(), nn.Flatten())
    net.append(nn.Linear(16 * 36, 5)).requires_grad_(False)
    return net


def batch(n=12):
    torch.manual_seed(1)
    return torch.rand(n, 3, 8, 8), torch.randint(5, (n,))


def loss(net, images, labels):
    return F.cross_entropy(net(images), labels).item()


def start(images, seed=2):
    return torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_fgsm_of_a_linear_network_of_two_classes_is_a_step_along_the_difference_of_its_weights():
    torch.manual_seed(0)
    weight = torch.randn(2, 3 * 8 * 8, dtype=torch.float64)
    images, labels = torch.rand(6, 3, 8, 8, dtype=torch.float64) * 0.8 + 0.1, torch.tensor([0, 1, 0, 1, 1, 0])
    away = (weight[1 - labels] - weight[labels]).sign().view_as(images)  # the gradient is (1 - p_y) (w_other - w_y)
    linear = lambda x: x.flatten(1) @ weight.T  # noqa: E731
    assert (fgsm(linear, images, labels, EPS) - (images + EPS * away)).abs().max() < 1e-12
    # there PGD ends at the same corner, wherever it starts
    assert (pgd(linear, images, labels, EPS, 10, start(images)) - (images + EPS * away)).abs().max() < 1e-12


def test_results_stay_in_the_ball_and_in_the_range_of_images():
    net, (images, labels) = network(), batch()
    images[:, :, :2], images[:, :, 2:4] = 0.0, 1.0
    for made in (fgsm(net, images, labels, EPS), pgd(net, images, labels, EPS, 7, start(images), step=EPS)):
        assert made.min() >= 0 and made.max() <= 1
        assert (made - images).abs().max() <= EPS + 1e-7 and (made - images).abs().max() > 0.99 * EPS


def test_pgd_raises_the_loss_more_than_fgsm_and_that_more_than_chance():
    net, (images, labels) = network(), batch(32)
    eps = 32 / 255
    chance = (images + eps * start(images).sign()).clamp(0, 1)
    clean, fast = loss(net, images, labels), loss(net, fgsm(net, images, labels, eps), labels)
    strong = loss(net, pgd(net, images, labels, eps, 20, start(images)), labels)
    assert strong > fast > loss(net, chance, labels) and fast > clean
    weaker = loss(net, pgd(net, images, labels, eps / 4, 20, start(images)), labels)
    assert clean < weaker < strong


def test_an_image_is_attacked_alike_in_any_batch_and_a_network_keeps_no_gradient():
    net, (images, labels) = network(), batch()
    with torch.no_grad():  # as scores are taken
        whole = pgd(net, images, labels, EPS, 3, start(images))
        alone = pgd(net, images[4:5], labels[4:5], EPS, 3, start(images)[4:5])
    assert (whole[4:5] - alone).abs().max() < 1e-6 and not whole.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


def test_no_step_and_no_ball_change_nothing():
    net, (images, labels) = network(), batch()
    assert (fgsm(net, images, labels, 0.0) == images).all()
    assert (pgd(net, images, labels, 0.0, 5, start(images)) == images).all()
