"""Bins of the ab plane, soft classes of colours, and weights for rare ones."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.nets.colours import Palette, ab_bins, check_lightness, rebalanced, soft_encode
from pipeline.nets.encoder import build_encoder
from tests.gloo import both

MEAN, STD = [0.49, 0.48, 0.44], [0.25, 0.24, 0.26]


def encoder(channels=3, sees=("L",)):
    return build_encoder(
        params.Encoder(args={"width": 2}, sees=list(sees)), channels, 8, MEAN[:channels], STD[:channels]
    )


def palette(lam=0.5, sigma=5.0, m=0.999):
    return Palette(encoder(), lam, sigma, m)


def test_bins_are_the_corners_of_all_squares_that_hold_a_colour():
    """Of every fifth level of each channel, inside the cube too, by scikit-image: none has a corner that is no bin."""
    levels = np.arange(0, 256, 5) / 255
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    squares = np.unique(np.floor(rgb2lab(colours)[0, :, 1:] / 10), axis=0)
    corners = {(10 * (a + i), 10 * (b + j)) for a, b in squares for i in (0, 1) for j in (0, 1)}
    bins = set(map(tuple, ab_bins().tolist()))
    assert corners <= bins and len(bins - corners) <= 10  # 255 - 250: a few colours at the edge are left out above
    assert len(ab_bins()) == len(bins) == 309  # 313 in the paper


def test_every_colour_lies_among_four_bins_also_at_the_edge_of_the_gamut():
    colours = torch.from_numpy(rgb2lab(torch.rand(20000, 3).round(decimals=1)[None].numpy())[0, :, 1:]).float()
    assert torch.cdist(colours, ab_bins()).topk(4, largest=False).values.max() <= 10 * 2**0.5 + 1e-3
    bins, outside = ab_bins(), torch.tensor([[150.0, -150.0], [-120.0, 0.0]])
    z = soft_encode(outside, bins, 5)
    torch.testing.assert_close(z.sum(1), torch.ones(2))
    assert torch.equal(z.argmax(1), torch.cdist(outside, bins).argmin(1))


@pytest.mark.parametrize("size", [2, 3, 17])
@pytest.mark.parametrize("sigma", [5.0, 2.0])
def test_a_colour_is_shared_by_its_five_nearest_bins(size, sigma):
    ab, bins = 60 * torch.randn(size, 2), ab_bins()
    expected = np.zeros((size, len(bins)))
    for row, colour in zip(expected, ab.double().numpy(), strict=True):
        squares = ((bins.double().numpy() - colour) ** 2).sum(1)
        near = np.argsort(squares)[:5]
        row[near] = np.exp(-(squares[near] - squares.min()) / (2 * sigma**2))
        row /= row.sum()
    z = soft_encode(ab, bins, sigma)
    np.testing.assert_allclose(z.numpy(), expected, atol=1e-5)
    assert (z > 0).sum(1).max() == 5 and torch.equal(z.argmax(1), torch.cdist(ab, bins).argmin(1))
    torch.testing.assert_close(z.sum(1), torch.ones(size))


@pytest.mark.parametrize("lam", [0.1, 0.5, 1.0])
def test_rare_bins_weigh_more_and_the_mean_weight_is_one(lam):
    share = torch.rand(50).pow(8)
    share /= share.sum()
    p = share.double().numpy()
    raw = 1 / ((1 - lam) * p + lam / 50)
    w = rebalanced(share, lam)
    np.testing.assert_allclose(w.numpy(), raw / (p * raw).sum(), rtol=1e-5)
    assert (share * w).sum().item() == pytest.approx(1)
    if lam == 1:
        torch.testing.assert_close(w, torch.ones(50))
    else:
        assert (w[share.argsort()].diff() <= 0).all() and w[share.argmin()] > 2 * w[share.argmax()]


def test_a_place_has_the_mean_colour_of_its_pixels():
    pixels = torch.rand(2, 3, 8, 8)
    ab = rgb2lab(pixels.permute(0, 2, 3, 1).numpy())[..., 1:].reshape(2, 2, 4, 2, 4, 2).mean((2, 4)).reshape(8, 2)
    x = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    mine = palette()
    torch.testing.assert_close(
        mine(x, 2, 2), soft_encode(torch.from_numpy(ab).float(), mine.bins, 5.0), atol=1e-4, rtol=0
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mine(x, 2, 2), mine(x, 2, 2).float())


def test_the_weight_is_that_of_the_nearest_bin():
    mine = palette()
    mine.share.copy_(torch.rand(309)).div_(mine.share.sum())
    z = soft_encode(mine.bins[[7, 200]] + 0.5, mine.bins, 5.0)
    torch.testing.assert_close(mine.weight(z), rebalanced(mine.share, 0.5)[[7, 200]])


def test_shares_are_a_plain_mean_at_first_and_then_a_running_one():
    mine, z = palette(m=0.75), torch.eye(309)[[3, 3, 5, 9]]
    assert torch.equal(mine.weight(z), torch.ones(4)), "all bins are alike before anything was seen"
    expected = torch.full((309,), 1 / 309)
    for step in range(5):
        mine.follow(z)
        m = min((step + 1) / (step + 2), 0.75)
        expected = m * expected + (1 - m) * z.mean(0)
    torch.testing.assert_close(mine.share, expected)
    assert mine.share.sum().item() == pytest.approx(1)
    assert mine.weight(z)[0] < mine.weight(z)[2]


def _shares(rank, world):
    """Three colours in one process, one in the other."""
    mine, z = palette(), torch.eye(309)[[3, 3, 5, 9]]
    mine.follow(z[:3] if rank == 0 else z[3:])
    return mine.share


@pytest.mark.slow
def test_all_processes_share_their_colours():
    mine = palette()
    mine.follow(torch.eye(309)[[3, 3, 5, 9]])
    for share in both(_shares, 2):
        torch.testing.assert_close(share, mine.share)


def test_who_cannot_be_asked_for_colours():
    check_lightness(encoder(), "here")
    with pytest.raises(ParamsError, match=r"here: grey images have no colour to predict; set data\.channels to 3"):
        check_lightness(encoder(1), "here")
    for sees in ((), ("ab",), ("L", "ab")):
        with pytest.raises(ParamsError, match=r"here: .* set encoder\.sees to \[L\]"):
            check_lightness(encoder(sees=sees), "here")
