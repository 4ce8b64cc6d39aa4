"""The 15 common corruptions by name (Hendrycks and Dietterich 2019, arXiv:1903.12261)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.robustness import blur, digital, noise, weather
from pipeline.robustness.draws import Draws
from pipeline.robustness.jpeg import jpeg
from pipeline.robustness.severities import CORRUPTIONS, constants

ROUNDING = 1e-3  # of a level of 8 bits: a value that fp32 has moved below its own level is not cut to the next

OPS: dict[str, Callable[..., Tensor]] = {
    "gaussian_noise": noise.gaussian,
    "shot_noise": noise.shot,
    "impulse_noise": noise.impulse,
    "defocus_blur": blur.defocus,
    "glass_blur": blur.glass,
    "motion_blur": blur.motion,
    "zoom_blur": blur.zoom,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic,
    "pixelate": digital.pixelate,
    "jpeg_compression": jpeg,
}
assert tuple(OPS) == CORRUPTIONS


@torch.no_grad()
def corrupt(images: Tensor, name: str, severity: int, draws: Draws) -> Tensor:
    """uint8 (B, C, H, W) -> the same, corrupted at `severity`, 1 to 5; C is 1 or 3, `draws` one stream for each image.

    What is drawn depends on the stream, the corruption and the severity. An op is a function from images in [0, 1] and
    draws; here they are cut to [0, 1] and then, as the published sets are, to bytes by truncation.
    """
    amounts = constants(name, severity, min(images.shape[2:]))
    return to_bytes(OPS[name](images.float() / 255, draws.purpose(name, severity), *amounts))


def to_bytes(images: Tensor) -> Tensor:
    """[0, 1] -> uint8, by truncation."""
    return images.mul(255).add_(ROUNDING).clamp_(0, 255).to(torch.uint8)
