"""Each op against torchvision at the same parameters. Tolerances are in levels of 8 bits (1 = 1/255)."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pipeline.views.ops import Op
from pipeline.views.recipe import parse

EXACT = 0.01  # levels: the same float formula, in another order


def run(text, images, seed=0):
    """(what our op makes of the images, what it drew), in [0, 1]."""
    (step,) = parse(text).steps
    op = Op.named[step.name](**step.arguments)
    drawn = op.draw(len(images), *images.shape[2:], torch.Generator().manual_seed(seed))
    return op.apply(images.float() / 255, **drawn), drawn


def levels(ours, reference):
    return (ours - reference).abs().max().item() * 255


def same(ours, reference, tolerance=EXACT):
    """`reference`: index -> image in [0, 1]."""
    for i, image in enumerate(ours):
        assert levels(image, reference(i)) <= tolerance, i


@pytest.mark.parametrize(
    "text, size", [("crop(.08, size=32)", 32), ("crop(.3, size=9)", 9), ("crop(.05, .2, .5, 2, 64)", 64)]
)
def test_crop(images, text, size):
    ours, drawn = run(text, images)
    boxes = torch.cat([drawn["start"], drawn["sides"]], 1).int().tolist()
    assert len(set(map(tuple, boxes))) > len(images) / 2
    floats = images.float() / 255
    same(ours, lambda i: F.resized_crop(floats[i], *boxes[i], [size, size], antialias=True))
    # torchvision rounds to 8 bits after each of its two passes
    same(ours, lambda i: F.resized_crop(images[i], *boxes[i], [size, size], antialias=True) / 255, 1.1)


def test_crop_areas_and_ratios_stay_in_their_bounds():
    op = Op.named["crop"](min=0.2, max=0.5, ratio_min=0.8, ratio_max=1.25, size=8)
    sides = op.draw(4000, 100, 100, torch.Generator().manual_seed(0))["sides"]
    area, ratio = sides.prod(1) / 1e4, sides[:, 1] / sides[:, 0]
    assert 0.19 < area.min() < 0.21 and 0.49 < area.max() < 0.51
    assert 0.78 < ratio.min() < 0.82 and 1.2 < ratio.max() < 1.28
    assert abs(area.mean().item() - 0.35) < 0.01  # the area is uniform
    assert abs(ratio.log().mean().item()) < 0.01  # the ratio is uniform in its logarithm


def test_crop_of_an_image_too_narrow_for_any_ratio_is_central():
    drawn = Op.named["crop"](min=1.0, max=1.0, size=8).draw(5, 10, 40, torch.Generator().manual_seed(0))
    assert drawn["sides"].tolist() == [[10, 13]] * 5  # 4/3 of the height
    assert drawn["start"].tolist() == [[0, 13]] * 5


def test_crop_positions_reach_every_border():
    drawn = Op.named["crop"](min=0.25, max=0.25, ratio_min=1.0, ratio_max=1.0).draw(
        2000, 16, 16, torch.Generator().manual_seed(0)
    )
    assert drawn["start"].min() == 0 and drawn["start"].max() == 8


def test_flip(images):
    ours, drawn = run("flip", images)
    floats = images.float() / 255
    same(ours, lambda i: F.horizontal_flip(floats[i]) if drawn["flip"][i] else floats[i], 0)


def test_shift(images):
    ours, drawn = run("shift(.125)", images)
    down, right = drawn["down"].tolist(), drawn["right"].tolist()
    assert max(map(abs, down)) == 4 and max(map(abs, right)) == 5  # of 32 x 40
    padded = F.pad(images.float() / 255, [5, 4, 5, 4], padding_mode="reflect")
    same(ours, lambda i: F.crop(padded[i], 4 - down[i], 5 - right[i], 32, 40), 0)


def test_jitter(images):
    ours, drawn = run("jitter(.8)", images)
    adjust = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    amounts = drawn["amounts"].tolist()

    def reference(i):
        image = images[i].float() / 255
        for which in drawn["order"][i].tolist() if drawn["chosen"][i] else []:
            image = adjust[which](image, amounts[i][which])
        return image

    assert len({tuple(order) for order in drawn["order"].tolist()}) > 8
    same(ours, reference)


def test_jitter_draws_its_own_bounds_and_defaults():
    jitter = Op.named["jitter"]
    amounts = jitter(0.4).draw(4000, 8, 8, torch.Generator().manual_seed(0))["amounts"]
    for column, (low, high) in zip(amounts.T, [(0.6, 1.4)] * 3 + [(-0.1, 0.1)], strict=True):
        assert low <= column.min() < low + 0.01 and high - 0.01 < column.max() <= high
    amounts = jitter(1.5, 0.3, 0.2, 0.5).draw(4000, 8, 8, torch.Generator().manual_seed(0))["amounts"]
    for column, (low, high) in zip(amounts.T, [(0, 2.5), (0.7, 1.3), (0.8, 1.2), (-0.5, 0.5)], strict=True):
        assert low <= column.min() < low + 0.01 and high - 0.01 < column.max() <= high


def test_jitter_orders_are_uniform():
    order = Op.named["jitter"](0.4).draw(24000, 8, 8, torch.Generator().manual_seed(0))["order"]
    _, counts = order.unique(dim=0, return_counts=True)
    assert len(counts) == 24 and counts.min() > 1000 - 5 * 31 and counts.max() < 1000 + 5 * 31  # five sigmas


def test_grey(images):
    ours, drawn = run("grey(.5)", images)
    floats, channels = images.float() / 255, images.shape[1]
    same(ours, lambda i: F.rgb_to_grayscale(floats[i], channels) if drawn["chosen"][i] else floats[i])


@pytest.mark.parametrize("side, kernel", [(32, 3), (96, 9), (224, 23)])
def test_blur(images, side, kernel):
    images = images[:4].repeat(1, 1, 7, 6)[..., :side, :side]
    ours, drawn = run("blur(.8)", images)
    assert drawn["chosen"].any() and drawn["sigma"].min() >= 0.1 and drawn["sigma"].max() <= 2
    floats, sigma = images.float() / 255, drawn["sigma"].tolist()
    same(ours, lambda i: F.gaussian_blur(floats[i], [kernel] * 2, [sigma[i]] * 2) if drawn["chosen"][i] else floats[i])


def test_solarize(images):
    ours, drawn = run("solarize(.5, .4)", images)
    floats = images.float() / 255
    same(ours, lambda i: F.solarize(floats[i], 0.4) if drawn["chosen"][i] else floats[i])


def test_cutout(images):
    ours, drawn = run("cutout(.5)", images)

    def reference(i):
        image, y, x = (images[i].float() / 255).numpy(), int(drawn["y"][i]), int(drawn["x"][i])
        image[:, max(0, y - 8) : y + 8, max(0, x - 10) : x + 10] = 0.5
        return torch.from_numpy(np.ascontiguousarray(image))

    same(ours, reference, 0)


@pytest.mark.parametrize(
    "text",
    ["affine(30)", "affine(translate=.2)", "affine(0, 0, .5, 2)", "affine(shear=20)", "affine(45, .1, .8, 1.2, 10)"],
)
def test_affine(images, text):
    ours, drawn = run(text, images)
    floats = images.float() / 255
    angle, shift, scale, shear = (drawn[name].tolist() for name in ("angle", "shift", "scale", "shear"))
    assert len(set(map(str, zip(angle, shift, scale, shear, strict=True)))) > len(images) / 2

    def reference(i):
        # fill=0 would weigh the border with 0 twice; fill=None is bilinear interpolation with black
        return F.affine(floats[i], angle[i], shift[i], scale[i], [shear[i], 0], InterpolationMode.BILINEAR)

    same(ours, reference, 0.1)


def test_plain(images):
    ours, _ = run("plain", images)
    assert torch.equal(ours, images.float() / 255)


@pytest.mark.parametrize(
    "text, name, p",
    [
        ("flip(.3)", "flip", 0.3),
        ("flip", "flip", 0.5),
        ("jitter(.4)", "chosen", 0.8),
        ("jitter(.4, p=.1)", "chosen", 0.1),
        ("grey(.2)", "chosen", 0.2),
        ("blur(.5)", "chosen", 0.5),
        ("solarize(.2)", "chosen", 0.2),
        ("erase(.3)", "chosen", 0.3),
        ("flip(0)", "flip", 0),
        ("grey(1)", "chosen", 1),
    ],
)
def test_chances(text, name, p):
    n = 10_000
    _, drawn = run(text, torch.zeros(n, 1, 3, 3, dtype=torch.uint8))
    assert abs(drawn[name].float().mean().item() - p) <= 4 * (p * (1 - p) / n) ** 0.5
