"""Lab, against scikit-image in float64, and its fixed ranges."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from skimage.color import rgb2lab

from pipeline.nets.lab import HIGH, LOW, edges, lab, scaled_lab


def colours(kind):
    """(1, 3, H, W): noise, a grid over all of sRGB with its corners, or the values around the knees of both curves."""
    if kind == "random":
        return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if kind == "grid":
        levels = torch.linspace(0, 1, 18)
    else:
        levels = torch.tensor([0, 1 / 255, 0.0404, 0.04045, 0.0405, 0.09, 0.0931, 0.0932, 0.0933, 1.0])
    return torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)


@pytest.mark.parametrize("kind", ["random", "grid", "knees"])
def test_lab_is_that_of_scikit_image(kind):
    rgb = colours(kind)
    expected = rgb2lab(rgb[0].permute(1, 2, 0).double().numpy())
    np.testing.assert_allclose(lab(rgb)[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_greys_have_no_colour():
    grey = torch.linspace(0, 1, 256).expand(1, 3, 1, 256)
    light, a, b = lab(grey)[0]
    assert light[0, 0] == 0 and light[0, -1].item() == pytest.approx(100, abs=1e-3)
    assert light.diff().gt(0).all() and a.abs().max() < 0.01 and b.abs().max() < 0.02


def test_srgb_fills_the_fixed_ranges():
    """The extremes lie on corners of the cube, which the grid has."""
    scaled = scaled_lab(colours("grid"))[0].flatten(1)
    torch.testing.assert_close(scaled.amin(1), torch.full((3,), -1.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.amax(1), torch.full((3,), 1.0), atol=1e-4, rtol=0)
    middle = (torch.tensor(LOW) + torch.tensor(HIGH)) / 2
    torch.testing.assert_close(middle, torch.tensor([50, 6.025, -6.6895]))


def test_an_image_looks_the_same_in_every_batch():
    dull, vivid = 0.5 + 0.01 * torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    together = scaled_lab(torch.cat([dull, vivid]))
    assert torch.equal(together[:1], scaled_lab(dull))
    assert together[:1].diff(dim=-1).abs().max() < 0.1  # not stretched to the range of its own


def test_the_gradient_is_finite_at_black_and_at_white():
    rgb = torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2).clone().requires_grad_()
    lab(rgb).sum().backward()
    assert rgb.grad.isfinite().all()


def test_edges_are_sobels():
    light = torch.rand(2, 1, 7, 9, generator=torch.Generator().manual_seed(0))
    for found, image in zip(edges(light), light, strict=True):
        plain = image[0].double().numpy()
        expected = np.stack([sobel(plain, axis, mode="nearest") / 8 for axis in (1, 0)])
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert edges(torch.full((1, 1, 4, 4), 0.7)).eq(0).all()  # no border of its own
