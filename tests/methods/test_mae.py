"""MAE: the pixels of hidden patches, told from a few that are seen."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.vit import transformer
from tests.contract import small_task as task

ENTRY = catalogue.find("mae", "pretext")
CLASS_TOKEN = {"name": "vit_tiny_patch16_224", "args": task.VIT | {"class_token": True, "global_pool": "token"}}


def seen(images):
    return torch.randn(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def mae(share=0.75, **fields):
    torch.manual_seed(0)
    encoder = task.encoder(**{**task.TRANSFORMER, **fields})
    return ENTRY.load()(encoder, share=share, **task.SMALL["mae"])


def order(method, x):
    """Patches of each image: those that are seen, then those that are hidden."""
    return method.luck(x, method.patches).argsort(1)


def patch(x, image, place):
    row, column = 2 * (place // 4), 2 * (place % 4)
    return x[image, :, row : row + 2, column : column + 2]


def captured(method, x, module):
    outputs = []
    handle = module.register_forward_hook(lambda *call: outputs.append(call[-1]))
    loss = method(x=x)
    handle.remove()
    return loss, outputs[0]


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize("share, hidden", [(0.75, 12), (0.5, 8)])
def test_the_loss_is_the_squared_error_of_hidden_patches_with_mean_0_and_variance_1(batch, share, hidden):
    method, x, errors = mae(share), seen(batch), []
    loss, predicted = captured(method, x, method.decoder)
    for image, places in enumerate(order(method, x)[:, 16 - hidden :].tolist()):
        assert len(places) == hidden
        for place in places:
            pixels = patch(x, image, place).flatten().double().numpy()
            target = (pixels - pixels.mean()) / np.sqrt(pixels.var() + 1e-6)
            errors.append(((predicted[image, place].detach().double().numpy() - target) ** 2).mean())
    assert loss.item() == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("share, visible", [(0.75, 4), (0.5, 8), (0.7, 5), (0.0, 15), (1.0, 1)])
@pytest.mark.parametrize("fields", [{}, CLASS_TOKEN], ids=["mean", "class token"])
def test_the_blocks_are_shown_the_visible_patches_alone(fields, share, visible):
    """A quarter of the tokens, and the class token: that is what the method saves."""
    method = mae(share, **fields)
    net = transformer(method.online.encoder)
    shapes = []
    for block in net.blocks:
        block.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    method(x=seen(3))
    assert shapes == [(3, net.num_prefix_tokens + visible, 24)] * 2


@pytest.mark.parametrize("fields", [{}, CLASS_TOKEN], ids=["mean", "class token"])
def test_no_hidden_pixel_reaches_the_encoder_or_the_decoder(fields):
    method, x = mae(**fields), seen(4).requires_grad_()
    _, predicted = captured(method, x, method.decoder)
    (slope,) = torch.autograd.grad(predicted.square().sum(), x)
    for image, places in enumerate(order(method, x).tolist()):
        for place in places[4:]:
            assert patch(slope, image, place).eq(0).all()
        for place in places[:4]:
            assert patch(slope, image, place).ne(0).all()


def test_what_is_told_of_visible_patches_costs_nothing():
    method, x = mae(), seen(4)
    _, predicted = captured(method, x, method.decoder)
    predicted = predicted.detach().requires_grad_()
    method.decoder.forward = lambda *_: predicted
    method(x=x).backward()
    there = predicted.grad.ne(0).all(2)
    for image, places in enumerate(order(method, x).tolist()):
        assert there[image].nonzero().flatten().tolist() == sorted(places[4:])


def test_perfect_pixels_cost_nothing_and_zeros_the_variance():
    method, x = mae(), seen(5)
    method.decoder.forward = lambda *_: method.targets(x)
    assert method(x=x) == 0
    method.decoder.forward = lambda *_: torch.zeros_like(method.targets(x))
    assert method(x=x).item() == pytest.approx(1, abs=1e-4)


def test_targets_are_patches_row_by_row_and_a_flat_one_is_zero():
    method = mae()
    rgb = torch.randn(2, 3, 8, 8)
    targets = method.targets(rgb)
    assert targets.shape == (2, 16, 12)
    for image, place in np.ndindex(2, 16):
        pixels = patch(rgb, image, place).flatten()
        expected = (pixels - pixels.mean()) / (pixels.var(correction=0) + 1e-6).sqrt()
        torch.testing.assert_close(targets[image, place], expected)
    assert torch.equal(method.targets(torch.full((1, 1, 8, 8), -0.8)), torch.zeros(1, 16, 4))


def test_a_larger_batch_of_the_same_images_costs_the_same():
    method, x = mae(), seen(3)
    draws, expected = method.luck(x, 16), method(x=x).item()
    method.luck.forward = lambda images, *shape: draws.repeat(4, 1)
    assert method(x=x.repeat(4, 1, 1, 1)).item() == pytest.approx(expected, rel=1e-5)


def test_other_patches_are_hidden_in_each_step_and_of_each_image():
    method, x = mae(), seen(12)
    first = order(method, x)
    assert len(first[:, :4].sort(1).values.unique(dim=0)) > 8
    method(x=x)
    method.remember()
    assert not torch.equal(order(method, x), first)


def test_an_encoder_of_another_kind_is_refused():
    with pytest.raises(ParamsError, match="patches can be hidden only from a plain VisionTransformer"):
        ENTRY.load()(task.encoder())
