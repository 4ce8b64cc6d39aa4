"""Colours of a batch (B, C, H, W) in [0, 1], C = 1 or 3, a parameter of its own for each sample. All work in place.

They agree with torchvision's functions on float images; `posterize` and `equalize` round to 8 bits first, as Pillow.
"""

from __future__ import annotations

import torch
from torch import Tensor

RED, GREEN, BLUE = 0.2989, 0.587, 0.114  # ITU-R 601, as Pillow
TINY = 1e-20  # below every difference of two colours, and not 0


def each(parameter: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return parameter.view(-1, 1, 1, 1)


def grey(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, 1)
    return (red * RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return images.mul_(each(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from, or towards, the mean of the grey image."""
    weights = images.new_tensor([RED, GREEN, BLUE] if images.shape[1] == 3 else [1])
    mean = (images.mean((2, 3)) * weights).sum(1)
    return images.mul_(each(factor)).add_(each(mean * (1 - factor))).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return images.lerp_(grey(images), each(1 - factor)).clamp_(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` of a circle; the largest and the smallest of R, G, B stay, so do value and saturation."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    most, least = torch.maximum(green, blue), torch.minimum(green, blue)
    high, low = torch.maximum(red, most), torch.minimum(red, least)
    chroma = high - low
    # the hue in sixths of the circle, 0 red, 2 green, 4 blue: 3 - 2 s + s t ((mid - least) / chroma - 1), with mid the
    # smaller of red and `most`. Signs, since `torch.where` takes 30 times as long as any other line here.
    s = (green - blue).add_(TINY).sign_()  # 1 where green >= blue, else -1
    t = (red - most).add_(TINY).sign_()  # 1 where red is the largest, else -1
    sixths = (torch.minimum(red, most) - least).div_(chroma.clamp(min=TINY)).sub_(1)
    sixths.mul_(t.mul_(s)).sub_(s, alpha=2).add_(6 * shift.view(-1, 1, 1) + 3)
    sixths.sub_(sixths.div(6).floor_(), alpha=6)
    # each channel is a trapezium over the circle, between `low` and `high`
    torch.addcmul(low, chroma, (sixths - 3).abs_().sub_(1).clamp_(0, 1), out=red)
    torch.addcmul(high, chroma, (sixths - 2).abs_().sub_(1).clamp_(0, 1), value=-1, out=green)
    torch.addcmul(high, chroma, sixths.sub_(4).abs_().sub_(1).clamp_(0, 1), value=-1, out=blue)
    return images


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """What is at or above the threshold is inverted."""
    return torch.where(images >= each(threshold), 1 - images, images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` highest of 8 bits."""
    step = each(256 / 2**bits)
    return images.mul_(255).round_().div_(step).floor_().mul_(step).div_(255)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to [0, 1]; a channel of one value stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high == low
    return images.sub_(low.masked_fill(flat, 0)).div_((high - low).masked_fill(flat, 1)).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Flatten the histogram (256 bins) of each channel, with Pillow's integer arithmetic."""
    levels = images.mul(255).round_().long().flatten(2)
    batch, channels, pixels = levels.shape
    first_bin = 256 * torch.arange(batch * channels, device=images.device).view(batch, channels, 1)
    histogram = (levels + first_bin).flatten().bincount(minlength=256 * batch * channels).view(batch, channels, 256)
    in_last_bin = histogram.gather(2, levels.amax(2, keepdim=True))
    step = (pixels - in_last_bin) // 255
    below = histogram.cumsum(2) - histogram
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    equal = table.gather(2, levels).div(255).view_as(images)
    return torch.where((step == 0).unsqueeze(3), images, equal)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from, or towards, a 3 x 3 smoothing; the outermost pixels stay."""
    if min(images.shape[2:]) < 3:
        return images
    kernel = images.new_ones(3, 3)
    kernel[1, 1] = 5
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 3, 3)
    smooth = torch.nn.functional.conv2d(images, kernel, groups=images.shape[1])
    images[..., 1:-1, 1:-1].lerp_(smooth, each(1 - factor))
    return images.clamp_(0, 1)
