import math

import numpy as np
import pytest
import torch

from pipeline.nets.luck import Luck
from pipeline.nets.mixing import MixupOrCutMix, mixed, mixup, partners, rectangles, within
from tests.gloo import both


def test_a_share_of_each_row():
    a, b = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    assert mixed(a, b, torch.tensor([0.0, 0.25, 1.0]))[:, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_every_row_is_somebodys_partner_whatever_its_batch():
    x, u = torch.arange(4.0)[:, None], torch.arange(10.0, 22.0)[:, None]
    luck = Luck()
    found = partners(luck.order(x, u), x, u)
    assert [len(part) for part in found] == [4, 12]
    assert sorted(torch.cat(found)[:, 0].tolist()) == [*range(4), *range(10, 22)]
    assert any(row > 9 for row in found[0][:, 0].tolist()), "labelled images are mixed with unlabelled ones too"


def half(rank):
    torch.manual_seed(3)
    luck, x, u = Luck(), torch.arange(4.0)[2 * rank :][:2], torch.arange(10.0, 22.0)[6 * rank :][:6]
    mine = partners(luck.order(x, u), x, u)
    return [part.tolist() for part in (*mine, *luck.beta(0.75, x, u))]


def test_two_processes_mix_as_one():
    torch.manual_seed(3)
    luck, x, u = Luck(), torch.arange(4.0), torch.arange(10.0, 22.0)
    one = [*partners(luck.order(x, u), x, u), *luck.beta(0.75, x, u)]
    for whole, first, second in zip(one, *both(half), strict=True):
        assert whole.tolist() == first + second


@pytest.mark.parametrize(
    "mix, first, rest",
    [("none", 0, 0), ("labelled", 1, 0), ("unlabelled", 0, 1), ("separate", 1, 1)],
)
def test_an_order_keeps_to_those_that_may_be_mixed(mix, first, rest):
    torch.manual_seed(0)
    order = torch.randperm(60)
    kept = within(order, 20, mix)
    assert kept[:20].sort().values.tolist() == [*range(20)] and kept[20:].sort().values.tolist() == [*range(20, 60)]
    assert (kept[:20].tolist() != [*range(20)]) == first
    assert (kept[20:].tolist() != [*range(20, 60)]) == rest
    assert torch.equal(within(order, 20, "all"), order)


def blends(mix, n=400, alpha=0.75):
    """Images that say who they are, and their labels, mixed."""
    torch.manual_seed(0)
    x, u = torch.eye(2 * n).split(n)  # one pixel of each image is its own
    kinds = torch.eye(2).repeat_interleave(n, 0).split(n)
    return mixup(Luck(), alpha, mix, [x, u], kinds)


def test_every_image_stays_nearer_to_itself_and_has_a_share_of_its_own():
    (x, u), _ = blends("all")
    share = torch.cat([x, u]).diagonal()
    assert (share >= 0.5).all() and len(share.unique()) > 700
    assert abs(share.mean() - 0.778) < 0.02, "E max(a, 1 - a) of Beta(.75, .75)"
    torch.testing.assert_close(torch.cat([x, u]).sum(1), torch.ones(800))


@pytest.mark.parametrize("mix", ("all", "none", "labelled", "unlabelled", "separate"))
def test_labels_are_mixed_as_their_images_are(mix):
    (x, u), (on_x, on_u) = blends(mix)
    for images, labels in ((x, on_x), (u, on_u)):
        torch.testing.assert_close(torch.stack([part.sum(1) for part in images.split(400, 1)], 1), labels)
    pure_x, pure_u = x.diagonal(), u[:, 400:].diagonal()
    assert (on_x[:, 1].any(), on_u[:, 0].any()) == ((True, True) if mix == "all" else (False, False))
    assert (pure_x < 0.99).any() == (mix in ("all", "labelled", "separate"))
    assert (pure_u < 0.99).any() == (mix in ("all", "unlabelled", "separate"))


def test_shares_are_of_the_beta_distribution():
    torch.manual_seed(0)
    (share,) = Luck().beta(0.75, torch.empty(20_000))
    assert abs(share.mean() - 0.5) < 0.01
    assert abs(share.var() - 1 / (4 * (2 * 0.75 + 1))) < 0.003  # variance of Beta(a, a)
    assert share.min() > 0 and share.max() <= 1


@pytest.mark.parametrize("height, width", [(8, 8), (7, 12)])
def test_a_rectangle_is_cut_off_at_the_border(height, width):
    """Image by image, as the authors' code has it."""
    share, place = torch.rand(200), torch.rand(200, 2)
    found = rectangles(share, place, height, width)
    assert found.shape == (200, 1, height, width)
    for i, hole in enumerate(found[:, 0].tolist()):
        rows, columns = (int(full * math.sqrt(1 - share[i])) for full in (height, width))
        top, left = int(height * place[i, 0]) - rows // 2, int(width * place[i, 1]) - columns // 2
        for y, x in np.ndindex(height, width):
            assert hole[y][x] == (top <= y < top + rows and left <= x < left + columns)


def themselves(n, mixup, cutmix, size=6):
    """n labelled images, others, and labels, mixed; channel i of a pixel is what it has of image i."""
    torch.manual_seed(0)
    own = torch.eye(2 * n)[:, :, None, None].expand(-1, -1, size, size)
    return MixupOrCutMix(mixup, cutmix)(own[:n], own[n:], torch.eye(n))


@pytest.mark.parametrize("mixup, cutmix", [(0.8, 1.0), (0.8, 0.0), (0.0, 1.0)])
def test_the_label_says_how_much_of_each_image_there_is(mixup, cutmix):
    x, u, labels = themselves(200, mixup, cutmix)
    torch.testing.assert_close(labels, x.mean((2, 3))[:, :200])
    assert (x.mean((2, 3))[:, 200:] == 0).all() and (u.mean((2, 3))[:, :200] == 0).all(), "each among its own kind"
    torch.testing.assert_close(u.sum(1), torch.ones(200, 6, 6))
    assert ((labels > 0).sum(1) == 2).float().mean() > 0.8 and ((u.mean((2, 3)) > 0).sum(1) == 2).float().mean() > 0.8


@pytest.mark.parametrize("mixup, cutmix, often", [(0.8, 1.0, 0.5), (0.8, 0.0, 0.0), (0.0, 1.0, 1.0)])
def test_a_pixel_is_of_one_image_or_all_pixels_are_of_two(mixup, cutmix, often):
    x, u, _ = themselves(300, mixup, cutmix)
    for images in (x, u):
        cut = ((images == 0) | (images == 1)).all(1).all(1).all(1)
        flat = (images == images[:, :, :1, :1]).all(1).all(1).all(1)
        assert (cut | flat).all()
        assert cut.float().mean().item() == pytest.approx(often, abs=0.1)


@pytest.mark.parametrize("alpha", (0.2, 0.8, 5.0))
def test_shares_are_of_the_beta_distribution_and_each_image_s_own(alpha):
    _, u, labels = themselves(300, alpha, 0.0)
    share = torch.cat([labels.diagonal(), u.mean((2, 3))[:, 300:].diagonal()])
    assert share.mean().item() == pytest.approx(0.5, abs=0.06)
    assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)
    assert len(share.unique()) > 400


def test_with_neither_nothing_is_mixed_and_each_step_mixes_otherwise():
    x, u, labels = torch.rand(4, 1, 2, 2), torch.rand(6, 1, 2, 2), torch.eye(4)
    assert all(a is b for a, b in zip(MixupOrCutMix(0.0, 0.0)(x, u, labels), (x, u, labels), strict=True))
    mixing = MixupOrCutMix(0.8, 1.0)
    first, again = mixing(x, u, labels), mixing(x, u, labels)
    mixing.luck.turn()
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], mixing(x, u, labels)[0])
