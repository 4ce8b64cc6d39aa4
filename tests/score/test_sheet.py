"""The picture of the neighbours: small, exact where the images are, and framed where the class is another."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.score.sheet import FRAME, FRAME_COLOUR, sheet


def pictures(lines, columns, channels, size):
    """Smooth, as photographs are, with few enough greys for a palette."""
    ramp = torch.linspace(0, 1, size)
    draw = torch.rand(lines, columns, channels, 2, 1, 1, generator=torch.Generator().manual_seed(size))
    return (255 * (draw[:, :, :, 0] * ramp[:, None] + (1 - draw[:, :, :, 0]) * ramp)).div(4).to(torch.uint8) * 4


def cells(data, lines, columns):
    """The RGBA pixels of each cell, with the frame around it."""
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    pixels = np.asarray(image.convert("RGBA")).astype(int)
    step = (pixels.shape[0] + 2) // lines
    left = [0, *(12 + column * step for column in range(1, columns))]
    return [[pixels[y * step : y * step + step - 2, x : x + step - 2] for x in left] for y in range(lines)]


@pytest.mark.parametrize("size, factor", [(8, 6), (16, 3), (32, 1)])
def test_small_grey_images_are_shown_to_the_pixel(size, factor):
    given, framed = pictures(3, 4, 1, size), torch.zeros(3, 4, dtype=torch.bool)
    framed[1, 2] = True
    found = cells(sheet(given, framed), 3, 4)
    for line in range(3):
        for column in range(4):
            inner = found[line][column][FRAME:-FRAME, FRAME:-FRAME, :3]
            expected = given[line, column, 0].numpy().repeat(factor, 0).repeat(factor, 1)
            assert (inner == expected[..., None]).all()


@pytest.mark.parametrize("channels", (1, 3))
def test_only_what_is_of_another_class_has_a_frame(channels):
    framed = torch.tensor([[False, True, False], [False, False, True]])
    found = cells(sheet(pictures(2, 3, channels, 8), framed), 2, 3)
    for line in range(2):
        for column in range(3):
            edge = found[line][column][:FRAME].reshape(-1, 4)
            assert (edge == (*FRAME_COLOUR, 255)).all() if framed[line, column] else (edge[:, 3] == 0).all()


@pytest.mark.parametrize("channels, size", [(3, 32), (3, 224), (1, 300)])
def test_a_whole_sheet_is_small_and_close_to_the_images(channels, size):
    given = pictures(10, 9, channels, size)
    noisy = (given + torch.randint(0, 24, given.shape, generator=torch.Generator().manual_seed(0))).clamp(max=255)
    data = sheet(noisy.to(torch.uint8), torch.zeros(10, 9, dtype=torch.bool))
    assert len(data) < 250_000
    side = min(size, 48)
    inner = cells(data, 10, 9)[4][5][FRAME:-FRAME, FRAME:-FRAME, :3]
    assert inner.shape == (side, side, 3)
    expected = torch.nn.functional.adaptive_avg_pool2d(noisy[4, 5].float(), side).permute(1, 2, 0).numpy()
    assert np.abs(inner - expected).mean() < 12


def test_the_same_images_give_the_same_bytes():
    given, framed = pictures(2, 9, 3, 32), torch.ones(2, 9, dtype=torch.bool)
    assert sheet(given, framed) == sheet(given, framed)
