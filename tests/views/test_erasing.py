"""Random erasing against timm's, which DeiT uses, and its noise against SplitMix64 in Python's integers."""

import random

import pytest
import torch
from scipy.stats import ks_2samp

from pipeline.views.ops import Op
from pipeline.views.ops.erasing import noise

HEIGHT, WIDTH = 32, 40


def drawn(n=4000, seed=0, **arguments):
    return Op.named["erase"](**arguments).draw(n, HEIGHT, WIDTH, torch.Generator().manual_seed(seed))


def timms(n, **arguments):
    """(top, left, height, width) of the rectangles that timm erased of n images, each an image of ones."""
    from timm.data.random_erasing import RandomErasing

    random.seed(0)
    erase, found = RandomErasing(device="cpu", **arguments), []
    for _ in range(n):
        rows, columns = (erase(torch.ones(1, HEIGHT, WIDTH))[0] == 0).nonzero(as_tuple=True)
        if len(rows):
            found.append([rows.min(), columns.min(), rows.max() - rows.min() + 1, columns.max() - columns.min() + 1])
    return torch.tensor(found)


@pytest.mark.slow  # timm takes seconds to import
@pytest.mark.parametrize(
    "ours, theirs",
    [
        ({}, {}),
        ({"min": 0.1, "max": 0.6}, {"min_area": 0.1, "max_area": 0.6}),
        ({"ratio_min": 1.0, "ratio_max": 3.0}, {"min_aspect": 1 / 3, "max_aspect": 1.0}),  # height to width there
    ],
    ids=str,
)
def test_rectangles_are_distributed_as_timms(ours, theirs):
    draws, reference = drawn(p=1.0, **ours), timms(4000, probability=1.0, **theirs)
    assert draws["chosen"].sum() == len(reference) == 4000
    (top, left), (height, width) = draws["start"].T, draws["sides"].T
    for mine, other in (
        (height * width, reference[:, 2] * reference[:, 3]),
        (width / height, reference[:, 3] / reference[:, 2]),
        (top, reference[:, 0]),
        (left, reference[:, 1]),
        (top + height, reference[:, 0] + reference[:, 2]),
    ):
        assert ks_2samp(mine.numpy(), other.numpy()).pvalue > 0.005


@pytest.mark.slow
def test_as_many_images_are_erased_as_by_timm():
    mine, theirs = drawn(p=0.25)["chosen"].float().mean().item(), len(timms(4000, probability=0.25)) / 4000
    assert abs(mine - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5 > abs(theirs - 0.25)


def test_a_rectangle_lies_inside_and_nothing_else_changes():
    images = torch.rand(200, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) / 2 + 2
    draws = drawn(200, p=0.6)
    erased = Op.named["erase"](0.6).apply(images.clone(), **draws)
    for before, after, chosen, start, sides in zip(
        images, erased, *(draws[name].tolist() for name in ("chosen", "start", "sides")), strict=True
    ):
        (top, left), (height, width) = map(map, (int, int), (start, sides))
        assert 0 <= top <= HEIGHT - height and 0 <= left <= WIDTH - width
        expected = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
        if chosen:
            expected[:, top : top + height, left : left + width] = True
        assert torch.equal(before != after, expected)
        assert after[expected].le(1).all() and after[expected].ge(0).all()


def test_an_image_in_which_no_rectangle_fits_stays():
    """As wide or as high as the image is too large; after ten tries it is left alone."""
    assert not drawn(50, p=1.0, min=1.0, max=1.0, ratio_min=1.25, ratio_max=1.25)["chosen"].any()
    assert drawn(50, p=1.0, min=0.9, max=0.9, ratio_min=1.25, ratio_max=1.25)["chosen"].all()


def splitmix64(seed, n):
    numbers, mask = [], 2**64 - 1
    for i in range(1, n + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(((z ^ (z >> 31)) >> 40) / 2**24)
    return numbers


def test_the_noise_is_splitmix64_of_each_sample_s_seed():
    seeds = torch.tensor([0, 1, 2**62 - 1, 123456789])
    made = noise(seeds, torch.Size((2, 3, 5)))
    assert [row.flatten().tolist() for row in made] == [splitmix64(int(seed), 30) for seed in seeds]
    assert torch.equal(noise(seeds[2:3], torch.Size((2, 3, 5))), made[2:3]), "whatever the batch"


def test_the_noise_is_uniform_and_its_channels_pixels_and_samples_have_nothing_in_common():
    seeds = torch.randint(2**62, (64,), generator=torch.Generator().manual_seed(0))
    made = noise(seeds, torch.Size((3, 20, 20)))
    assert made.min() >= 0 and made.max() < 1
    counts = made.flatten().histc(16, 0, 1)
    assert (counts - made.numel() / 16).abs().max() < 4.5 * (made.numel() / 16) ** 0.5
    centred = (made - 0.5) * 12**0.5
    for a, b in (
        (centred[:, 0], centred[:, 1]),
        (centred[1:], centred[:-1]),
        (centred[..., 1:], centred[..., :-1]),
        (centred[..., 1:, :], centred[..., :-1, :]),
    ):
        assert abs((a * b).mean().item()) < 4.5 / a.numel() ** 0.5
