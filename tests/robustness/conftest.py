"""Images and draws of the tests of robustness."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.robustness.draws import Draws


def smooth(n, channels, size, seed=0):
    """uint8 (n, channels, size, size), about as smooth as photographs."""
    coarse = torch.rand(
        n, channels, max(3, size // 4), max(3, size // 4), generator=torch.Generator().manual_seed(seed)
    )
    return F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).mul(255).to(torch.uint8)


@pytest.fixture(name="smooth")
def smooth_images():
    return smooth


@pytest.fixture
def draws():
    return lambda n, seed=0: Draws.of([f"key-{i}" for i in range(n)], seed)
