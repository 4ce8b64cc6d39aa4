"""CPC v2: patches predicted from those above, below, left and right of them."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.patches import PatchNoise, PixelCNN, cut

ENTRY = catalogue.find("cpc_v2", "pretext")
BATCHNORM = nn.modules.batchnorm._BatchNorm


def cpc(size=16, channels=3, norm="layer", **knobs):
    """Patches of 8, 4 apart, in 16 pixels: a grid of 3; rows are predicted from the one or two above."""
    torch.manual_seed(0)
    encoder = build_encoder(
        params.Encoder(args={"width": 2}, norm=norm), channels, size, [0.5] * channels, [0.25] * channels
    )
    return ENTRY.load()(encoder, **{"skip": 0, "steps": 2, "dim": 4, "hidden": 6} | knobs)


def oracle(method, x):
    """-log exp(p z) / sum of exp(p z_l) over all patches l of the batch, one prediction after the other; the mean."""
    noisy = method.noise(cut(x, method.patch, method.stride))
    batch, side = noisy.shape[:2]
    with torch.no_grad():
        z = torch.stack([method.online(noisy[b, r, c][None])[0] for b, r, c in np.ndindex(batch, side, side)])
        targets = method.target(z).double().numpy()
        grids = [z.view(batch, side, side, -1).rot90(turn, (1, 2)) for turn in range(4)]
        guesses = [each(grid).double().numpy() for each, grid in zip(method.predictors, grids, strict=True)]
    numbers, terms = np.arange(batch * side * side).reshape(batch, side, side), []
    for turn, guess in enumerate(guesses):
        turned = np.rot90(numbers, turn, (1, 2))
        means = []
        for step in range(method.steps):
            k, losses = method.skip + 1 + step, []
            for b, r, c in np.ndindex(batch, side - k, side):
                logits = method.scale * targets @ guess[b, r, c, step]
                losses.append(np.log(np.exp(logits).sum()) - logits[turned[b, r + k, c]])
            means.append(np.mean(losses))
        terms += means
    return np.mean(terms)


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize("knobs", [{}, {"skip": 1, "steps": 1, "scale": 0.7}], ids=str)
def test_the_loss_is_info_nce_over_all_patches_in_four_directions(batch, knobs):
    method, x = cpc(**knobs), torch.randn(batch, 3, 16, 16)
    assert method(x=x).item() == pytest.approx(oracle(method, x), abs=1e-5)


def test_the_grid_overlaps():
    x = torch.randn(2, 3, 32, 32)
    patches = cut(x, 8, 4)
    assert patches.shape == (2, 7, 7, 3, 8, 8)
    assert torch.equal(patches[:, 2, 5], x[:, :, 8:16, 20:28])
    assert cut(x[..., :30, :30], 8, 4).shape[1:3] == (6, 6)  # what does not fill a patch is left out


def test_a_context_sees_its_row_and_those_above_and_nothing_below():
    context, z = PixelCNN(3, 5), torch.randn(2, 3, 6, 6, requires_grad=True)
    for row in range(6):
        seen = torch.autograd.grad(context(z)[:, :, row].square().sum(), z)[0].abs().sum((0, 1, 3))
        assert seen[row + 1 :].eq(0).all(), row
        assert seen[row] > 0 and (row == 0 or seen[row - 1] > 0), row


@pytest.mark.parametrize("turn", range(4))
def test_no_prediction_sees_a_pixel_of_its_target(turn):
    """With the paper's `skip` of 2, patches that overlap half do not share a pixel with what is predicted of them."""
    method = cpc(32, skip=2, steps=3)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    z = method.online(cut(x, 8, 4).flatten(0, 2)).view(1, 7, 7, -1)
    predicted = method.predictors[turn](z.rot90(turn, (1, 2)))
    rows = torch.arange(49).view(7, 7).rot90(turn, (0, 1))
    for row in range(4):
        k = method.skip + 1
        seen = torch.autograd.grad(predicted[:, row].square().sum(), x, retain_graph=True)[0][0].abs().sum(0)
        for number in rows[row + k].tolist():
            top, left = 4 * (number // 7), 4 * (number % 7)
            assert seen[top : top + 8, left : left + 8].eq(0).all()
        assert seen.any()


def test_patches_do_not_tell_of_one_another_by_their_statistics():
    assert not any(isinstance(module, BATCHNORM) for module in cpc().modules())
    with pytest.raises(ParamsError, match=r"BatchNorm .* set encoder\.norm to layer"):
        cpc(norm="batch")


def test_chance_is_the_loss_of_predictions_that_say_nothing():
    method = cpc()
    for predictor in method.predictors:
        nn.init.zeros_(predictor.predict.weight), nn.init.zeros_(predictor.predict.bias)
    loss = method(x=torch.randn(5, 3, 16, 16))
    assert loss.item() == pytest.approx(log(5 * 9)) == pytest.approx(method.chance)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_pixel_that_is_no_number_shows_in_the_loss(value):
    """lightning-bolts masks the terms that are NaN, and trains on."""
    method, x = cpc(), torch.randn(4, 3, 16, 16)
    x[2, 0, 5, 5] = value
    assert not method(x=x).isfinite()


def test_each_direction_has_a_context_of_its_own_and_all_learn():
    method = cpc()
    method(x=torch.randn(3, 3, 16, 16)).backward()
    assert len(method.predictors) == 4
    assert all(parameter.grad.any() for predictor in method.predictors for parameter in predictor.parameters())


@pytest.mark.parametrize(("knobs", "says"), [({"skip": 1}, "make 3 rows of 16 pixels"), ({"patch": 17}, "make 0 rows")])
def test_a_grid_that_is_too_small_for_the_predictions(knobs, says):
    with pytest.raises(ParamsError, match=says):
        cpc(**knobs)


@pytest.mark.slow  # timm takes seconds to import
def test_an_encoder_of_one_image_size_cannot_see_patches():
    args = {"patch_size": 4, "depth": 1}
    encoder = build_encoder(params.Encoder(name="vit_tiny_patch16_224", args=args), 3, 32, [0.5] * 3, [0.25] * 3)
    with pytest.raises(ParamsError, match="cannot see patches of 8 pixels"):
        ENTRY.load()(encoder)


def noise(flip=0.0, drop=0.0, jitter=0.0):
    torch.manual_seed(0)
    return PatchNoise(flip, drop, jitter)


def test_noise_that_is_off_changes_nothing():
    x = torch.randn(3, 2, 2, 3, 4, 4)
    assert torch.equal(noise()(x), x)


def test_each_patch_is_mirrored_by_itself():
    x = torch.randn(50, 4, 4, 3, 4, 4)
    noisy = noise(flip=0.3)(x)
    mirrored = (noisy == x.flip(-1)).flatten(3).all(3)
    assert torch.equal(noisy[~mirrored], x[~mirrored])
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert 0 < mirrored[0].sum() < 16  # not the image as a whole


def test_colours_are_dropped_to_one_that_stays_and_grey_is_left_alone():
    x = torch.randn(100, 4, 4, 3, 4, 4)
    left = noise(drop=0.4)(x).ne(0).flatten(4).any(4)
    assert set(left.sum(3).unique().tolist()) == {1, 3}
    dropped = left.sum(3) == 1
    assert dropped.float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert left[dropped].float().mean(0).numpy() == pytest.approx([1 / 3] * 3, abs=0.08)
    assert torch.equal(noise(drop=1.0)(x[:, :, :, :1]), x[:, :, :, :1])


def test_light_is_off_by_up_to_jitter():
    noisy = noise(jitter=0.4)(torch.stack([torch.zeros(64, 4, 4), torch.ones(64, 4, 4)], 3)[..., None, None])
    brightness, contrast = noisy[:, :, :, 0], noisy[:, :, :, 1] - noisy[:, :, :, 0]
    for value, middle in ((brightness, 0), (contrast, 1)):
        assert middle - 0.4 <= value.min() < middle - 0.35 and middle + 0.35 < value.max() <= middle + 0.4


def test_noise_is_new_in_each_step_and_a_function_of_the_state_alone():
    x, first, again = torch.randn(2, 2, 2, 3, 4, 4), noise(jitter=0.4), PatchNoise(0.0, 0.0, 0.4)
    torch.manual_seed(1)
    before = first(x)
    assert torch.equal(first(x), before)
    first.turn()
    assert not torch.equal(first(x), before)
    again.load_state_dict(first.state_dict())
    assert torch.equal(again(x), first(x))
