import numpy as np
import pytest
import torch

from pipeline.nets.tiles import beside, gap, occluded, tiles, turned, turns


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


def by_loop(images, order, moves, grid):
    """Tile by tile, with slices."""
    side = images.shape[-1]
    cell = side // grid
    free, border = cell // 4, (side - grid * (side // grid)) // 2
    out = []
    for image, cells, shifts in zip(images, order.tolist(), moves.tolist(), strict=True):
        parts = []
        for number, (down, right) in zip(cells, shifts, strict=True):
            top = border + (number // grid) * cell + int(down * (free + 1))
            left = border + (number % grid) * cell + int(right * (free + 1))
            parts.append(image[:, top : top + cell - free, left : left + cell - free])
        out.append(torch.stack(parts))
    return torch.stack(out)


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 32), (3, 224), (3, 255)])
@pytest.mark.parametrize("grid", (2, 3))
def test_tiles_are_those_that_slices_cut(channels, side, grid, draw):
    images = torch.randn(5, channels, side, side, generator=draw)
    order = torch.rand(5, grid**2, generator=draw).argsort(1)
    moves = torch.rand(5, grid**2, 2, generator=draw)
    expected = by_loop(images, order, moves, grid)
    assert torch.equal(tiles(images, order, moves), expected)
    nhwc = images.contiguous(memory_format=torch.channels_last)  # as the engine gives them
    assert torch.equal(tiles(nhwc, order, moves), expected)


@pytest.mark.parametrize("side, grid, tile", [(8, 3, 2), (8, 2, 3), (32, 3, 8), (224, 3, 56), (255, 3, 64)])
def test_a_tile_is_three_quarters_of_its_cell(side, grid, tile, draw):
    """64 of 85 pixels in the papers' puzzle of 255; cells of less than 4 pixels are whole."""
    n = grid**2
    cut = tiles(torch.zeros(1, 1, side, side), torch.arange(n)[None], torch.zeros(1, n, 2))
    assert cut.shape == (1, n, 1, tile, tile)
    assert gap(side, grid) == side // grid - tile


def test_each_image_has_an_order_of_its_own():
    images = torch.arange(9.0).view(1, 1, 3, 3).expand(2, 1, 3, 3)
    order = torch.stack([torch.arange(9), torch.arange(9).flip(0)])
    assert torch.equal(tiles(images, order, torch.zeros(2, 9, 2)).view(2, 9), order.float())


def test_no_pixel_of_a_tile_lies_outside_its_cell(draw):
    y = torch.arange(32.0)[:, None].expand(32, 32)
    where = torch.stack([y, y.T])[None].expand(200, 2, 32, 32)
    moves = torch.rand(200, 9, 2, generator=draw).clamp(max=1 - 2**-24)
    moves[0], moves[1] = 0, 1 - 2**-24
    cut = tiles(where, torch.arange(9).expand(200, 9), moves)
    cell = ((cut - 1) // 10).flatten(3)
    first = torch.stack([torch.arange(9) // 3, torch.arange(9) % 3], 1)[None, :, :, None]
    assert torch.equal(cell, first.expand_as(cell).float())
    assert cut.min() == 1 and cut.max() == 30, "a tile reaches both ends of its cell"


def test_turned_is_rot90_image_by_image(draw):
    images, quarters = torch.randn(8, 3, 6, 6, generator=draw), torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    expected = torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(images, quarters, strict=True)])
    assert torch.equal(turned(images, quarters), expected)


def test_turns_are_those_of_numpy_counter_clockwise(draw):
    images = torch.randn(3, 2, 5, 5, generator=draw)
    every = turns(images)
    assert every.shape == (4, 3, 2, 5, 5)
    for k in range(4):
        assert (every[k].numpy() == np.rot90(images.numpy(), k, (2, 3))).all()


@pytest.mark.parametrize("count", (1, 2, 5, 6))
def test_neighbours_change_places_and_none_is_its_own(count):
    rows = torch.arange(count)
    others = beside(rows)
    even = count - count % 2
    assert others[:even].tolist() == [row + 1 - 2 * (row % 2) for row in range(even)]
    if count % 2 and count > 1:
        assert others[-1] == count - 2


@pytest.mark.parametrize("share", (2, 4))
def test_pairs_stay_within_an_even_part_of_the_batch(share):
    rows = torch.arange(8)
    assert torch.equal(torch.cat([beside(part) for part in rows.split(share)]), beside(rows))


def test_as_many_tiles_are_hidden_as_asked_and_all_places_alike(draw):
    n = 30_000
    mine, others = torch.zeros(n, 9, 1, 1, 1), torch.ones(n, 9, 1, 1, 1)
    count = torch.arange(n) % 4
    hidden = occluded(mine, others, torch.rand(n, 9, generator=draw), count).view(n, 9)
    assert torch.equal(hidden.sum(1), count.float())
    assert (hidden[count == 2].mean(0) - 2 / 9).abs().max() < 0.02


def test_a_hidden_tile_is_the_one_in_that_place_of_the_other_puzzle(draw):
    mine, others = torch.randn(2, 50, 4, 3, 2, 2, generator=draw)
    mixed = occluded(mine, others, torch.rand(50, 4, generator=draw), torch.full((50,), 2))
    foreign = (mixed == others).flatten(2).all(2)
    assert torch.equal(mixed[foreign], others[foreign]) and torch.equal(mixed[~foreign], mine[~foreign])
