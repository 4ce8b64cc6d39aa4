"""All 75 conditions: shapes, ranges, repeatability, growing with severity."""

import pytest
import torch

from pipeline.robustness.corruptions import OPS, corrupt, to_bytes
from pipeline.robustness.severities import CORRUPTIONS, LARGE, SEVERITIES, SMALL, constants

UNORDERED = {"glass_blur", "elastic_transform", "motion_blur", "frost", "pixelate"}
"""Their published constants do not grow in one direction: several change at once."""


def test_there_are_fifteen_with_five_severities_of_the_same_form():
    assert len(CORRUPTIONS) == 15 and set(SMALL) == set(LARGE) == set(OPS)
    for name in CORRUPTIONS:
        assert len({len(amounts) for table in (SMALL, LARGE) for amounts in table[name]}) == 1
        assert len(SMALL[name]) == len(LARGE[name]) == 5


def test_small_images_take_the_constants_of_cifar_c():
    assert constants("gaussian_noise", 1, 32) == constants("gaussian_noise", 1, 64) == (0.04,)
    assert constants("gaussian_noise", 5, 224) == (0.38,)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels, size", [(1, 8), (3, 32), (1, 64), (3, 96)])
def test_bytes_of_the_same_shape_the_same_again_and_the_same_in_any_batch(draws, smooth, name, channels, size):
    images, streams = smooth(5, channels, size), draws(5)
    for severity in (1, 5):
        out = corrupt(images, name, severity, streams)
        assert out.dtype == torch.uint8 and out.shape == images.shape
        assert (out != images).any(1).flatten(1).any(1).all() or size == 8
        assert (corrupt(images, name, severity, streams) == out).all()
        alone = torch.cat([corrupt(images[i : i + 1], name, severity, streams[i : i + 1]) for i in range(5)])
        apart = (alone.int() - out.int()).abs()
        assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-3  # products of other sizes may round otherwise


@pytest.mark.parametrize("name", sorted({"gaussian_noise", "shot_noise", "glass_blur", "snow", "frost", "fog"}))
def test_the_draws_of_a_key_change_with_the_severity_and_with_the_seed(draws, smooth, name):
    images = smooth(1, 1, 32).expand(2, -1, -1, -1)
    out = corrupt(images, name, 3, draws(2))
    assert (out[0] != out[1]).any() and (out != corrupt(images, name, 3, draws(2, seed=1))).any()


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - UNORDERED))
@pytest.mark.parametrize("size", [32, 96])
def test_images_move_further_from_themselves_with_each_severity(draws, smooth, name, size):
    images, streams = smooth(24, 3, size), draws(24)
    far = [(corrupt(images, name, s, streams).double() - images).square().mean().item() for s in SEVERITIES]
    assert far == sorted(far) and far[4] > 1.3 * far[0]


@pytest.mark.parametrize("name", sorted(UNORDERED))
def test_the_worst_severity_of_the_others_is_worse_than_an_eighth_of_the_image_noise(draws, smooth, name):
    images, streams = smooth(24, 3, 32), draws(24)
    assert (corrupt(images, name, 5, streams).double() - images).square().mean() > 4**2


def test_bytes_are_cut_and_not_rounded():
    levels = torch.tensor([-3.0, 0.99, 1.0, 254.99, 255.0, 300.0]) / 255
    assert to_bytes(levels).tolist() == [0, 0, 1, 254, 255, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert (to_bytes(every.float() / 255) == every).all()


@pytest.mark.parametrize(
    "name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"]
)
def test_a_flat_image_of_any_level_stays_as_it_is(draws, name):
    """Weights add up to 1 but for rounding, which must not cut a level off."""
    flat = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 12, 12)
    assert (corrupt(flat, name, 4, draws(256)) == flat).all()
