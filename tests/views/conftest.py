import pytest
import torch


@pytest.fixture(params=[1, 3], ids=["grey", "rgb"])
def images(request):
    """24 smooth pictures with noise on one half, of different contrasts, two of them flat: uint8 (24, C, 32, 40)."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(24, request.param, 5, 6, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, (32, 40), mode="bicubic")
    pictures[..., :20] += 0.1 * torch.randn(pictures[..., :20].shape, generator=generator)
    pictures[8:16] = 0.2 + 0.5 * pictures[8:16]
    pictures[0], pictures[1] = 0.3, 0
    return pictures.mul(255).round().clamp(0, 255).to(torch.uint8)
