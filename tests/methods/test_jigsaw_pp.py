"""Jigsaw++: puzzles with tiles of another image among them."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.permutations import distances
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("jigsaw_pp", "pretext")
HARD = {"replaced": 2, "permutations": 12}
"""with four tiles: all permutations that are more than two places apart"""


def shown(method, x):
    """What the encoder sees in a step: (B, n, C, s, s)."""
    looked = []
    handle = method.online.encoder.register_forward_pre_hook(lambda _, inputs: looked.append(inputs[0]))
    method(x=x)
    handle.remove()
    return looked[0].unflatten(0, (len(x), method.parts))


def told_apart(n, grid=2, cell=4):
    """(n, 1, 8, 8): each pixel is 100 (image + 1) + cell."""
    image, number = torch.arange(n) + 1.0, torch.arange(float(grid**2))
    where = number.view(grid, grid).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return (image.view(n, 1, 1, 1) * 100 + where).contiguous()


def origin(method, n, monkeypatch):
    """(image, cell) of each tile of a step, before the tiles are normalised: (n, parts) twice."""
    seen = []
    module = __import__(type(method).__module__, fromlist=["instance_norm"])
    monkeypatch.setattr(module, "instance_norm", lambda puzzle: seen.append(puzzle) or puzzle)
    method(x=told_apart(n))
    flat = seen[-1].flatten(1)
    assert (flat == flat[:, :1]).all(), "a tile is of one cell"
    value = flat[:, 0].view(n, method.parts).long()
    return value // 100 - 1, value % 100


def answers(method, n):
    """Of the step that is on: the order of the tiles that is asked for."""
    luck = method.luck(torch.zeros(n), method.parts + 1, 6)
    return method.solver.table[method.solver.pick(luck[:, 0, 0])]


def test_up_to_replaced_tiles_are_of_the_image_beside_it(monkeypatch):
    """None, one or two, all as often; in all places; of all cells of the other, and none of them twice."""
    n, method = 3000, task.method(ENTRY, **HARD)
    image, cell = origin(method, n, monkeypatch)
    rows = torch.arange(n)[:, None]
    foreign = image != rows
    assert torch.equal(image[foreign], (rows ^ 1).expand_as(image)[foreign])
    count = foreign.sum(1).bincount(minlength=4)
    assert count[3] == 0 and count[:3].float().numpy() == pytest.approx([n / 3] * 3, rel=0.1)
    assert foreign.float().mean(0).numpy() == pytest.approx([1 / 4] * 4, abs=0.03)
    for place in range(4):
        of = cell[:, place][foreign[:, place]].bincount(minlength=4) / foreign[:, place].sum()
        assert of.numpy() == pytest.approx([1 / 4] * 4, abs=0.06)
    two = cell[foreign.sum(1) == 2][foreign[foreign.sum(1) == 2]].view(-1, 2)
    assert (two[:, 0] != two[:, 1]).all()


def test_the_answer_is_that_of_the_tiles_that_belong(monkeypatch):
    n, method = 500, task.method(ENTRY, **HARD)
    image, cell = origin(method, n, monkeypatch)
    own = image == torch.arange(n)[:, None]
    order = answers(method, n)
    assert torch.equal(cell[own], order[own])
    told = (cell == order)[~own].float().mean().item()
    assert told == pytest.approx(1 / 4, abs=0.08), "a foreign tile must not be of the cell that is missing"
    for i in range(n):  # there is one answer, whatever is hidden
        fits = (method.solver.table == cell[i])[:, own[i]].all(1)
        assert fits.sum() == 1 and torch.equal(method.solver.table[fits][0], order[i])


@pytest.mark.parametrize("batch", (2, 3, 17))
def test_the_loss_is_the_cross_entropy_of_the_permutation(batch):
    method, x = task.method(ENTRY).eval(), torch.randn(batch, 1, 8, 8)
    puzzles, order = shown(method, x), answers(method, batch)
    terms = []
    for puzzle, rows in zip(puzzles, order, strict=True):
        answer = (method.solver.table == rows).all(1).nonzero().item()
        with torch.no_grad():
            joined = torch.cat([method.online(tile[None])[0].relu() for tile in puzzle])
            logits = method.solver.head(joined[None]).double().numpy()
        terms += list(oracle_cross_entropy(logits, np.eye(24)[[answer]]))
    assert method(x=x).item() == pytest.approx(np.mean(terms), rel=1e-4)


def test_guessing_costs_chance():
    method = task.method(ENTRY)
    nn.init.zeros_(method.solver.head[-1].weight), nn.init.zeros_(method.solver.head[-1].bias)
    assert method(x=torch.randn(6, 1, 8, 8)).item() == pytest.approx(log(24)) == pytest.approx(method.chance)


def test_a_foreign_tile_is_not_known_by_its_light():
    """Every second image is bright and of high contrast, its neighbour dark; the tiles that are seen are all alike."""
    method, x = task.method(ENTRY, **HARD), torch.randn(64, 1, 8, 8)
    x[::2] = 40 * x[::2] + 300
    puzzles = shown(method, x)
    assert puzzles.mean((3, 4)).abs().max() < 1e-4
    assert puzzles.std((3, 4), correction=0).numpy() == pytest.approx(np.ones((64, 4, 1)), abs=1e-3)


def test_images_are_grey_more_often_than_not():
    assert ENTRY.unlabelled["x"].endswith("|grey(.7)")


@pytest.mark.parametrize("replaced", (0, 1, 2))
def test_permutations_differ_in_more_places_than_are_hidden(replaced):
    method = task.method(ENTRY, replaced=replaced, permutations=12)
    assert distances(method.solver.table)[0] > replaced


def test_no_tile_is_replaced_where_none_is_asked_for(monkeypatch):
    image, _ = origin(task.method(ENTRY, replaced=0), 50, monkeypatch)
    assert torch.equal(image, torch.arange(50)[:, None].expand(50, 4))


def test_too_many_permutations_for_so_many_hidden_tiles():
    with pytest.raises(ParamsError, match="only 12 permutations of 4 tiles that differ in 3 places were found, not 24"):
        task.method(ENTRY, replaced=2)


def test_each_step_hides_others():
    method, x = task.method(ENTRY), torch.randn(64, 1, 8, 8)
    first = shown(method, x)
    assert torch.equal(shown(method, x), first)
    method.remember()
    assert not torch.equal(shown(method, x), first)
