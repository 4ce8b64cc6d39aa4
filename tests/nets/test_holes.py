import pytest
import torch

from pipeline.nets.holes import cut_squares, in_squares


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14)])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_squares_are_those_that_slices_cut(shape, side):
    images, draw = torch.randn(5, *shape), torch.Generator().manual_seed(0)
    room = torch.tensor(shape[1:]) - side + 1
    corner = (torch.rand(5, 2, generator=draw) * room).long()
    corner[0], corner[1] = 0, room - 1
    cut, inside = cut_squares(images, corner, side), in_squares(images, corner, side)
    assert cut.shape == (5, shape[0], side, side) and inside.shape == (5, 1, *shape[1:])
    for image, square, pixels, (top, left) in zip(images, cut, inside, corner.tolist(), strict=True):
        assert torch.equal(square, image[:, top : top + side, left : left + side])
        expected = torch.zeros(1, *shape[1:], dtype=torch.bool)
        expected[:, top : top + side, left : left + side] = True
        assert torch.equal(pixels, expected)
