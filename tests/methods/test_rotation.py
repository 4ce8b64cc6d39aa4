"""Rotation: which of its four quarter turns an image is seen in."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("rotation", "pretext")


def seen(method, x):
    """What the encoder is shown."""
    shown = []
    handle = method.online.encoder.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    method(x=x)
    handle.remove()
    return shown


@pytest.mark.parametrize("batch", (2, 3, 17))
def test_the_loss_is_the_cross_entropy_of_the_four_turns_of_each_image(batch):
    method, x = task.method(ENTRY).eval(), torch.randn(batch, 1, 8, 8)
    terms = []
    for image in x.numpy():
        four = torch.from_numpy(np.stack([np.rot90(image, k, (1, 2)) for k in range(4)]))  # counter-clockwise
        with torch.no_grad():
            logits = method.online(four).double().numpy()
        terms += list(oracle_cross_entropy(logits, np.eye(4)))
    assert method(x=x).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_all_four_turns_of_every_image_are_seen_in_one_forward():
    x = torch.randn(5, 1, 8, 8)
    (shown,) = seen(task.method(ENTRY), x)
    expected = {np.rot90(image, k, (1, 2)).tobytes() for image in x.numpy() for k in range(4)}
    assert len(shown) == 20 and {image.tobytes() for image in shown.numpy()} == expected


def test_a_quarter_counter_clockwise_is_class_one():
    """A network that finds the marked corner pays nothing if the classes go round as the corner does."""
    method, x = task.method(ENTRY), torch.zeros(3, 1, 8, 8)
    x[:, :, 0, 0] = 1  # upper left, and after a quarter counter-clockwise lower left
    corners = [(0, 0), (-1, 0), (-1, -1), (0, -1)]
    method.online.forward = lambda image: 100 * torch.stack([image[:, 0, y, x] for y, x in corners], 1)
    assert method(x=x) < 1e-6


def test_guessing_costs_chance():
    method = task.method(ENTRY)
    nn.init.zeros_(method.online.head[0].weight), nn.init.zeros_(method.online.head[0].bias)
    assert method(x=torch.randn(4, 1, 8, 8)).item() == pytest.approx(log(4)) == pytest.approx(method.chance)


def test_the_same_images_twice_cost_the_same():
    method, x = task.method(ENTRY), torch.randn(6, 1, 8, 8)
    assert method(x=x.repeat(3, 1, 1, 1)).item() == pytest.approx(method(x=x).item(), rel=1e-5)
