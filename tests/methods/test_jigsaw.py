"""Jigsaw: in which of a set of orders the tiles of an image come."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.permutations import distances, permutations
from pipeline.nets.tiles import tiles
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("jigsaw", "pretext")


def drawn(method, x):
    """Which permutation each image of a step gets, and how its tiles move."""
    luck = method.luck(x, method.parts + 1, 2)
    return (luck[:, 0, 0] * len(method.solver.table)).long(), luck[:, 1:]


def shown(method, x):
    """What the encoder sees in a step: (B, n, C, s, s)."""
    looked = []
    handle = method.online.encoder.register_forward_pre_hook(lambda _, inputs: looked.append(inputs[0]))
    method(x=x)
    handle.remove()
    return looked[0].unflatten(0, (len(x), method.parts))


@pytest.mark.parametrize("batch", (2, 3, 17))
@pytest.mark.parametrize("grid, count", [(2, 24), (3, 30)])
def test_the_loss_is_the_cross_entropy_of_the_permutation(batch, grid, count):
    """Tile by tile: mean 0 and deviation 1, embedded, joined in the order of the permutation."""
    method, x = task.method(ENTRY, grid=grid, permutations=count).eval(), torch.randn(batch, 1, 8, 8)
    which, moves = drawn(method, x)
    terms = []
    for i, answer in enumerate(which.tolist()):
        cut = tiles(x[i, None], method.solver.table[answer, None], moves[i, None])[0].double().numpy()
        mean, std = cut.mean((2, 3), keepdims=True), np.sqrt(cut.var((2, 3), keepdims=True) + 1e-5)
        with torch.no_grad():
            z = [
                method.online(torch.from_numpy((tile - m) / s).float()[None])[0].relu()
                for tile, m, s in zip(cut, mean, std, strict=True)
            ]
            logits = method.solver.head(torch.cat(z)[None]).double().numpy()
        terms += list(oracle_cross_entropy(logits, np.eye(count)[[answer]]))
    assert method(x=x).item() == pytest.approx(np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("grid, side", [(2, 8), (3, 33)])
def test_the_answer_is_the_row_of_the_table_that_the_tiles_come_in(grid, side):
    """Each cell of the image has a slope of its own, that no shift or normalisation of a tile hides."""
    torch.manual_seed(0)
    encoder = build_encoder(params.Encoder(args={"width": 2}), 1, side, [0.5], [0.5])
    method = ENTRY.load()(encoder, grid=grid, permutations=20, part=4, hidden=8)
    cell, angle = side // grid, torch.arange(grid**2) * 2 * np.pi / grid**2
    y, x = torch.meshgrid(torch.arange(float(cell)), torch.arange(float(cell)), indexing="ij")
    slopes = angle.cos().view(-1, 1, 1) * x + angle.sin().view(-1, 1, 1) * y
    image = torch.cat([torch.cat(list(row), 1) for row in slopes.view(grid, grid, cell, cell)])
    puzzles = shown(method, image.expand(12, 1, side, side))[:, :, 0]
    across, down = puzzles.diff(dim=3).mean((2, 3)), puzzles.diff(dim=2).mean((2, 3))
    found = (torch.atan2(down, across) / (2 * np.pi / grid**2)).round().long() % grid**2
    which, _ = drawn(method, image.expand(12, 1, side, side))
    assert torch.equal(found, method.solver.table[which]) and len(which.unique()) > 4
    rows = {tuple(row): number for number, row in enumerate(method.solver.table.tolist())}
    method.solver.forward = lambda z: 50 * torch.eye(20)[[rows[tuple(order)] for order in found.tolist()]]
    assert method(x=image.expand(12, 1, side, side)) < 1e-6


def test_guessing_costs_chance():
    method = task.method(ENTRY)
    nn.init.zeros_(method.solver.head[-1].weight), nn.init.zeros_(method.solver.head[-1].bias)
    assert method(x=torch.randn(6, 1, 8, 8)).item() == pytest.approx(log(24)) == pytest.approx(method.chance)


def test_neither_light_nor_contrast_of_a_tile_is_seen():
    """First and second order statistics: images whose cells are lit in different ways make the same puzzles."""
    method, x = task.method(ENTRY, grid=2), 5 * torch.randn(8, 1, 8, 8)
    light, contrast = torch.tensor([[-3.0, 5.0], [0.0, 9.0]]), torch.tensor([[1.0, 4.0], [0.5, 2.0]])
    lit = x * contrast.repeat_interleave(4, 0).repeat_interleave(4, 1) + light.repeat_interleave(
        4, 0
    ).repeat_interleave(4, 1)
    plain = shown(method, x)
    torch.testing.assert_close(shown(method, lit), plain, atol=1e-4, rtol=1e-4)
    assert plain.mean((3, 4)).abs().max() < 1e-5
    assert plain.std((3, 4), correction=0).numpy() == pytest.approx(np.ones(plain.shape[:3]), abs=1e-4)
    assert shown(method, torch.ones(8, 1, 8, 8)).eq(0).all(), "an empty tile says nothing"


def test_tiles_have_a_gap_that_is_not_always_the_same():
    """No pixel of one tile is a neighbour of a pixel of the other in all puzzles, as it is where cells are whole."""
    torch.manual_seed(0)
    encoder = build_encoder(params.Encoder(args={"width": 2}), 1, 48, [0.5], [0.5])
    method = ENTRY.load()(encoder, permutations=20, part=4, hidden=8)
    x = torch.randn(200, 1, 48, 48)
    assert shown(method, x).shape == (200, 9, 1, 12, 12)
    _, moves = drawn(method, x)
    step = (5 * moves).long().unique(return_counts=True)
    assert step[0].tolist() == [0, 1, 2, 3, 4] and step[1].min() > 600


def test_each_step_makes_other_puzzles_of_all_permutations():
    method, x = task.method(ENTRY), torch.randn(400, 1, 8, 8)
    first, moves = drawn(method, x)
    method(x=x)
    assert torch.equal(drawn(method, x)[0], first)
    method.remember()
    second, others = drawn(method, x)
    assert (first != second).any() and not (moves == others).any()
    assert len(first.unique()) == 24


def test_the_curves_tell_how_far_the_permutations_are_apart():
    method = task.method(ENTRY)
    method(x=torch.randn(4, 1, 8, 8))
    expected = distances(permutations(4, 24)).tolist()
    assert [method.notes["hamming_min"].item(), method.notes["hamming_mean"].item()] == expected


@pytest.mark.parametrize(
    "knobs, says",
    [
        ({"permutations": 25}, "only 24 permutations of 4 tiles"),
        ({"grid": 3, "size": 5}, "single pixels; images must have 6"),
    ],
)
def test_puzzles_that_cannot_be_made(knobs, says):
    encoder = build_encoder(params.Encoder(args={"width": 2}), 1, knobs.pop("size", 8), [0.5], [0.5])
    with pytest.raises(ParamsError, match=says):
        ENTRY.load()(encoder, **{"grid": 2, "permutations": 24} | knobs)
