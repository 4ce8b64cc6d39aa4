"""JPEG without its file, against Pillow with one."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.robustness.jpeg import jpeg


def pillow(image, quality):
    """uint8 (C, H, W) -> the same, through a JPEG file."""
    out = io.BytesIO()
    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(out, "JPEG", quality=quality)
    read = np.asarray(Image.open(out))
    return torch.from_numpy(read.copy()).view(*image.shape[1:], -1).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32, 45, 64])
@pytest.mark.parametrize("quality", [7, 40, 80])
def test_jpeg_is_pillows_but_for_the_rounding_of_its_integer_transform(draws, smooth, channels, size, quality):
    n = 1024 // size  # enough blocks that one coefficient does not decide
    images = smooth(n, channels, size)
    ours = (jpeg(images.float() / 255, draws(n), quality) * 255).round()
    theirs = torch.stack([pillow(image, quality) for image in images]).float()
    apart = (ours - theirs).abs()
    assert apart.mean() < 0.5 and (ours - theirs).mean().abs() < 0.1  # levels
    assert (apart > 3).float().mean() < 0.04  # where a coefficient lands on the other side of a tie
    assert (images - theirs).abs().mean() > 10 * apart.mean()  # what JPEG itself does
