"""CTAugment: the ops against Pillow's, levels that are drawn by rates, and rates that follow the classifier."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from pipeline.views.ctaugment import BINS, NAMES, OPS, CTAugment


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def drawn_for(augment, n, generator, probe=False):
    return augment.draw(torch.rand(n, *augment.numbers, generator=generator), probe)


def enhanced(kind):
    return lambda image, v: kind(image).enhance(0.1 + 1.9 * v)


def blended(adjust):
    return lambda image, v: Image.blend(image, adjust(image), v)


def moved(*inverse):
    """A map of the pixel's corner, as Pillow counts; `inverse` are functions of the level."""
    return lambda image, v: image.transform(image.size, Image.Transform.AFFINE, [f(v, image) for f in inverse])


def fixed(number):
    return lambda v, image: number


def slope(v, image):
    return 0.3 * (2 * v - 1)


ORACLE = {
    "autocontrast": blended(ImageOps.autocontrast),
    "blur": blended(lambda image: image.filter(ImageFilter.BLUR)),
    "brightness": enhanced(ImageEnhance.Brightness),
    "color": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "equalize": blended(ImageOps.equalize),
    "invert": blended(ImageOps.invert),
    "identity": lambda image, v: image,
    "posterize": lambda image, v: ImageOps.posterize(image, 1 + int(7.999 * v)),
    "rescale": lambda image, v: image.crop(
        (v / 4 * image.width, v / 4 * image.height, (1 - v / 4) * image.width, (1 - v / 4) * image.height)
    ).resize(image.size, Image.Resampling.BILINEAR),
    "rotate": lambda image, v: image.rotate(45 * (2 * v - 1)),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "shear_x": moved(fixed(1), slope, fixed(0), fixed(0), fixed(1), fixed(0)),
    "shear_y": moved(fixed(1), fixed(0), fixed(0), slope, fixed(1), fixed(0)),
    "smooth": blended(lambda image: image.filter(ImageFilter.SMOOTH)),
    "solarize": lambda image, v: ImageOps.solarize(image, int(255.999 * v)),
    "translate_x": moved(
        fixed(1), fixed(0), lambda v, image: -int(slope(v, image) * image.width), fixed(0), fixed(1), fixed(0)
    ),
    "translate_y": moved(
        fixed(1), fixed(0), fixed(0), fixed(0), fixed(1), lambda v, image: -int(slope(v, image) * image.height)
    ),
}
ROUGH = {"rotate": 0.03, "shear_x": 0.03, "shear_y": 0.03}
"""share of pixels that may differ: the nearest of two that are as near"""


def test_there_are_the_nineteen_ops():
    assert {*ORACLE, "cutout"} == set(OPS) and len(OPS) == 19
    assert dict(zip(NAMES, BINS.tolist(), strict=True)) == {**dict.fromkeys(OPS, 17), "identity": 1, "posterize": 8}


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("images", [3], indirect=True)
def test_an_op_is_that_of_the_authors(images, name):
    level = (torch.arange(24) + 0.3) / 24
    ours = OPS[name][1](images.float() / 255, level, level, level)
    wrong = 0.0
    for i, image in enumerate(images):
        reference = np.asarray(ORACLE[name](Image.fromarray(image.permute(1, 2, 0).numpy()), level[i].item()))
        wrong += (np.abs(ours[i].permute(1, 2, 0).numpy() * 255 - reference) > 2.01).mean() / 24  # it rounds twice
    assert wrong <= ROUGH.get(name, 0.002)


def test_cutout_is_half_the_side_at_most_and_cut_off_at_the_border():
    white, places = torch.ones(4, 1, 32, 32), torch.tensor([0.5, 0.5, 0.0, 0.999])
    cut = OPS["cutout"][1](white, torch.tensor([1.0, 0.5, 1.0, 1.0]), places, torch.full((4,), 0.5))
    grey = (cut == 0.5).flatten(1)
    assert grey.sum(1).tolist() == [16 * 16, 8 * 8, 8 * 16, 9 * 16]
    assert ((cut == 1).flatten(1) | grey).all()


def test_at_first_every_level_is_as_likely_and_cutout_comes_last():
    drawn = drawn_for(CTAugment(), 20_000, seeded())
    assert drawn["which"].shape == drawn["level"].shape == drawn["y"].shape == (20_000, 3)
    assert (drawn["which"][:, 2] == NAMES.index("cutout")).all() and (drawn["level"][:, 2] == 1).all()
    counts = drawn["which"][:, :2].flatten().bincount(minlength=19)
    assert counts.min() > 2105 - 5 * 45 and counts.max() < 2105 + 5 * 45  # five sigmas
    levels = drawn["level"][:, :2].flatten()
    assert levels.min() >= 0 and levels.max() < 1
    shares = (levels * 17).long().bincount(minlength=17) / len(levels)
    assert shares.min() > 0.05 and shares.max() < 0.068


def test_a_probe_is_not_cut_out_and_who_wants_no_cutout_has_none():
    cutout = NAMES.index("cutout")
    for augment, probe in ((CTAugment(), True), (CTAugment(cutout=False), False), (CTAugment(cutout=False), True)):
        drawn = drawn_for(augment, 2000, seeded(), probe)
        assert drawn["which"].shape == drawn["level"].shape == (2000, 2)
        assert (drawn["which"] == cutout).float().mean() < 0.1
    deep = CTAugment(depth=3)
    assert [drawn_for(deep, 5, seeded(), probe)["y"].shape for probe in (True, False)] == [(5, 3), (5, 4)]


def test_numbers_at_the_ends_are_of_a_bin_too():
    augment = CTAugment(cutout=False)
    augment.rates[:, 0], augment.rates[:, 5], augment.rates[:, 16] = 0.1, 0.1, 0.1
    last = 1 - 2**-24
    numbers = torch.full((2, *augment.numbers), last)
    numbers[0] = 0.0
    numbers[:, :, 2] = 0.5
    level = {}
    for name, bins in (("rotate", 17), ("posterize", 8)):
        numbers[..., 0] = (NAMES.index(name) + 0.5) / 19
        level[name] = (augment.draw(numbers)["level"] * bins - 0.5).round().long()[:, 0].tolist()
    assert level == {"rotate": [1, 15], "posterize": [1, 7]}
    numbers[..., 0] = torch.tensor([0.0, last])[:, None]
    assert augment.draw(numbers, probe=True)["which"][:, 0].tolist() == [0, 18]


def levels_of(augment, name, n=20_000, probe=False):
    drawn = drawn_for(augment, n, seeded(1), probe)
    which, level = drawn["which"][:, :2], drawn["level"][:, :2]
    return level[which == NAMES.index(name)]


def test_a_bin_below_the_threshold_is_not_drawn_but_probed():
    augment, row = CTAugment(), NAMES.index("rotate")
    augment.rates[row, :4] = 0.79  # (.79 + .01) / 1.01 is below .8
    augment.rates[row, 4] = 0.8
    drawn, probed = (levels_of(augment, "rotate", probe=probe) for probe in (False, True))
    assert drawn.min() >= 4 / 17 and probed.min() < 0.01
    shares = (drawn * 17).long().bincount(minlength=17) / len(drawn)
    assert shares[4].item() == pytest.approx(0.81 / (0.81 + 12 * 1.01), abs=0.015)


def test_rates_of_zero_are_drawn_alike_and_no_bin_beyond_an_ops_own():
    augment = CTAugment()
    augment.rates.zero_()
    p = augment.chances()
    torch.testing.assert_close(p.sum(1), torch.ones(19))
    assert ((p > 0).sum(1) == BINS).all()
    augment.rates[NAMES.index("posterize"), 8:] = 50.0
    assert (augment.chances()[NAMES.index("posterize"), 8:] == 0).all()


def test_a_probe_moves_the_rates_of_its_own_bins():
    augment, rotate, posterize = CTAugment(), NAMES.index("rotate"), NAMES.index("posterize")
    augment.update(torch.tensor([[rotate, posterize]]), torch.tensor([[0.5, 0.99]]), torch.tensor([0.2]))
    expected = torch.ones(19, 17)
    expected[rotate, 8] = expected[posterize, 7] = 0.99 + 0.01 * 0.2
    torch.testing.assert_close(augment.rates, expected)


def test_probes_of_one_bin_count_each_in_any_order():
    """Alike, they are the authors' steps one after the other."""
    which, level = torch.full((3, 1), 2), torch.full((3, 1), 0.01)
    together, apart, turned = CTAugment(), CTAugment(), CTAugment()
    together.update(which, level, torch.full((3,), 0.3))
    for _ in range(3):
        apart.update(which[:1], level[:1], torch.tensor([0.3]))
    torch.testing.assert_close(together.rates, apart.rates)
    near = torch.tensor([0.1, 0.5, 0.9])
    together.update(which, level, near)
    turned.update(which, level, torch.full((3,), 0.3))
    turned.update(which, level, near.flip(0))
    assert torch.equal(together.rates, turned.rates)


def test_what_is_drawn_is_found_again_by_the_update():
    """Every level of a bin, also its ends, is of that bin."""
    for name in ("rotate", "posterize", "identity"):
        augment, row = CTAugment(decay=0.0), NAMES.index(name)
        bins = int(BINS[row])
        level = (torch.arange(bins)[:, None] + torch.tensor([0.0, 0.5, 0.999])) / bins
        near = torch.linspace(0, 1, bins).repeat_interleave(3)
        augment.update(torch.full((3 * bins, 1), row), level.flatten()[:, None] + 1e-7, near)
        torch.testing.assert_close(augment.rates[row, :bins], torch.linspace(0, 1, bins))


def test_strengths_that_the_classifier_cannot_bear_are_left_to_probes():
    """A classifier that is lost beyond 60 % of each level."""
    augment, draws = CTAugment(), seeded(3)
    for _ in range(150):
        probe = drawn_for(augment, 256, draws, probe=True)
        augment.update(probe["which"], probe["level"], (probe["level"] < 0.6).all(1).float())
    assert levels_of(augment, "shear_x").max() < 11 / 17
    assert levels_of(augment, "shear_x", probe=True).max() > 0.95


def test_draws_are_of_the_numbers_and_the_state_alone(images):
    one, other = CTAugment(), CTAugment()
    one.rates.uniform_(generator=seeded(4))
    other.load_state_dict(one.state_dict())
    first, second = (drawn_for(augment, len(images), seeded(5)) for augment in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    floats = images.float() / 255
    ours = one(floats.clone(), **first)
    assert ours.shape == floats.shape and ours.min() >= 0 and ours.max() <= 1
    for i in range(len(images)):
        alone = one(floats[i : i + 1].clone(), **{name: drawn[i : i + 1] for name, drawn in first.items()})
        torch.testing.assert_close(alone[0], ours[i], atol=1e-6, rtol=0)
