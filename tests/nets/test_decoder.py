"""Features back to pixels, at every side."""

import pytest
import torch
from torch import nn

from pipeline.nets.decoder import Decoder, halvings


@pytest.mark.parametrize("side", [1, 4, 5, 7, 8, 16, 48, 56, 112])
def test_features_become_images_of_any_side(side):
    decoder = Decoder(6, 3, side, 2)
    assert decoder(torch.randn(2, 6)).shape == (2, 3, side, side)


@pytest.mark.parametrize(("side", "places"), [(8, 1), (8, 2), (16, 4), (4, 2)])
def test_so_do_maps_place_by_place(side, places):
    decoder = Decoder(6, 1, side, 2).eval()
    z = torch.randn(1, 6, places, places)
    image = decoder(z)
    assert image.shape == (1, 1, side, side)
    z[..., -1, -1] += 1
    changed = decoder(z) != image
    assert changed[..., -1, -1].all() and (places == 1 or not changed[..., 0, 0].any())


def test_a_row_of_features_is_a_map_of_one_place():
    decoder, z = Decoder(6, 1, 8, 2).eval(), torch.randn(3, 6)
    assert torch.equal(decoder(z), decoder(z[..., None, None]))


def test_pictures_double_and_layers_grow_thin():
    """64 pixels, as the paper: 4, 8, 16, 32, 64; 512, 512, 256, 128, 64."""
    assert halvings(64) == [64, 32, 16, 8, 4] and halvings(14) == [14, 7, 4]
    convolutions = [m for m in Decoder(10, 3, 64, 64) if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [layer.out_channels for layer in convolutions] == [512, 512, 256, 128, 64, 3]
