import numpy as np
import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.nets.pairs import PLACES, ColourGuard, corners, layout, pairs

SIDES = (8, 9, 17, 32, 64, 96, 224)


def many(side, n=20_000):
    draw = torch.Generator().manual_seed(0)
    place, luck = torch.randint(8, (n,), generator=draw), torch.rand(n, 4, generator=draw)
    luck[:8], luck[8:16] = 0, 1 - 2**-24
    place[:8] = place[8:16] = torch.arange(8)
    return place, luck, corners(side, place, luck)


@pytest.mark.parametrize("side", SIDES)
def test_patches_never_leave_the_image_and_use_all_of_it(side):
    patch, _, jitter = layout(side)
    _, _, where = many(side)
    assert where.min() >= 0 and where.max() <= side - patch
    room = side - 3 * patch - 2 * layout(side).gap - 4 * jitter
    assert where.min() == 0 and where.max() >= side - patch - room


@pytest.mark.parametrize("side", SIDES)
def test_the_second_patch_is_in_its_place_with_a_gap_that_is_never_too_small(side):
    patch, gap, jitter = layout(side)
    place, _, where = many(side)
    step = where[:, 1] - where[:, 0]
    direction = torch.tensor(PLACES)[place]
    off = step - direction * (patch + gap)
    assert off.abs().max() == jitter
    beside = direction != 0
    assert torch.equal(step.sign()[beside], direction[beside])
    between = step.abs()[beside] - patch
    assert between.min() == gap - jitter >= 1 and between.max() == gap + jitter
    assert (off == 0).all() == (jitter == 0)


@pytest.mark.parametrize("side, expected", [(8, (2, 1, 0)), (32, (7, 3, 1)), (96, (22, 11, 2)), (224, (52, 26, 4))])
def test_a_patch_is_as_large_as_the_image_allows(side, expected):
    """Shares of the paper: 48 and 7 of 96 pixels."""
    assert layout(side) == expected


def test_where_the_first_patch_is_does_not_tell_the_place():
    """Every place has the same chance at every position, and every position the same."""
    side = 32
    patch, gap, jitter = layout(side)
    place, _, where = many(side, 60_000)
    room = side - 3 * patch - 2 * gap - 2 * jitter + 1
    at = where[16:, 0] - patch - gap - jitter
    counts = torch.zeros(8, room, room).index_put_((place[16:], at[:, 0], at[:, 1]), torch.ones(1), accumulate=True)
    expected = len(at) / counts.numel()
    assert (counts - expected).square().sum() / expected < 1.5 * counts.numel()  # chi^2 of 128 cells: 128 +- 16


def test_the_eight_places_are_the_neighbours():
    assert sorted(PLACES) == sorted((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 32), (3, 97)])
def test_pairs_are_what_slices_cut(channels, side):
    images = torch.randn(16, channels, side, side)
    place, luck, where = many(side, 16)
    cut = pairs(images.contiguous(memory_format=torch.channels_last), place, luck)
    p = layout(side).patch
    assert cut.shape == (16, 2, channels, p, p)
    for image, both, tops in zip(images, cut, where.tolist(), strict=True):
        for patch, (y, x) in zip(both, tops, strict=True):
            assert torch.equal(patch, image[:, y : y + p, x : x + p])


def test_an_image_that_is_too_small():
    with pytest.raises(ParamsError, match="do not fit into 7 pixels; images must have 8 or more"):
        layout(7)


MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def test_drop_leaves_one_channel_of_each_patch_and_noise_of_a_hundredth():
    patches = torch.randn(300, 2, 3, 12, 12) * torch.tensor([0.5, 1.0, 4.0]).view(3, 1, 1)
    seen = ColourGuard("drop", MEAN, STD)(patches)
    kept = (seen == patches).flatten(3).all(3)
    assert kept.sum(2).eq(1).all()
    assert kept.float().mean((0, 1)).numpy() == pytest.approx([1 / 3] * 3, abs=0.07)
    assert (kept[:, 0] == kept[:, 1]).all(1).float().mean().item() == pytest.approx(1 / 3, abs=0.1)  # patch by patch
    deviation = patches.std((3, 4))[kept][:, None, None, None]
    noise = (seen.flatten(0, 1) / deviation)[~kept.flatten(0, 1)]
    assert noise.mean().abs() < 1e-4 and noise.std().item() == pytest.approx(0.01, rel=0.02)
    assert (noise.abs() < 0.01).float().mean().item() == pytest.approx(0.683, abs=0.01)  # Gauss
    assert noise.isfinite().all()


def test_project_is_the_papers_matrix_on_raw_colours():
    patches = torch.randn(4, 2, 3, 5, 5)
    a = np.array([[-1.0, 2.0, -1.0]])
    b = np.eye(3) - a.T @ a / (a @ a.T)
    mean, std = np.array(MEAN), np.array(STD)
    raw = patches.double().numpy().transpose(0, 1, 3, 4, 2) * std + mean
    expected = ((raw @ b) - mean) / std
    seen = ColourGuard("project", MEAN, STD)(patches).numpy().transpose(0, 1, 3, 4, 2)
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    np.testing.assert_allclose((seen * std + mean) @ a.T, 0, atol=1e-5)


@pytest.mark.parametrize("how, channels", [("none", 3), ("drop", 1), ("project", 1)])
def test_grey_patches_are_left_as_they_are(how, channels):
    patches = torch.randn(4, 2, channels, 5, 5)
    assert ColourGuard(how, MEAN[:channels], STD[:channels])(patches) is patches


def test_what_is_dropped_is_new_in_each_step():
    patches, guard = torch.randn(8, 2, 3, 4, 4), ColourGuard("drop", MEAN, STD)
    first = guard(patches)
    assert torch.equal(guard(patches), first)
    guard.turn()
    assert not torch.equal(guard(patches), first)
