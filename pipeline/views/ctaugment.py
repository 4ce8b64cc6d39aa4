"""CTAugment: strong views whose strengths follow what the classifier can still tell (Berthelot et al. 2019,
arXiv:1911.09785, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.views import colour
from pipeline.views.ops.op import in_turns, unchanged
from pipeline.views.ops.randaugment import OPS as MOVES
from pipeline.views.ops.randaugment import REACH
from pipeline.views.warp import resampling, separable

Apply = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _blended(adjust: Callable[[Tensor], Tensor]) -> Apply:
    return lambda images, level, y, x: images.lerp_(adjust(images.clone()), colour.each(level))


def _factor(adjust: Callable[[Tensor, Tensor], Tensor]) -> Apply:
    return lambda images, level, y, x: adjust(images, 0.1 + 1.9 * level)


def _move(name: str, reach: float) -> Apply:
    """RandAugment's, both ways: its level and sign are one number from -reach to reach."""
    return lambda images, level, y, x: MOVES[name](images, reach * (2 * level - 1).abs(), (2 * level - 1).sign())


def _blur(images: Tensor) -> Tensor:
    """The mean of the 16 pixels two away; the two outermost rows and columns stay (Pillow's BLUR)."""
    if min(images.shape[2:]) < 5:
        return images
    ring = images.new_ones(5, 5)
    ring[1:-1, 1:-1] = 0
    kernel = (ring / 16).expand(images.shape[1], 1, 5, 5)
    images[..., 2:-2, 2:-2] = nn.functional.conv2d(images, kernel, groups=images.shape[1])
    return images


def _cutout(images: Tensor, level: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """A grey square of up to half the side about the pixel at (y, x), shares of the sides; cut off at the border."""
    height, width = images.shape[2:]
    half = (1 + (level * min(height, width) * 0.499).floor()).div(2).floor()
    inside = []
    for full, place in ((height, y), (width, x)):
        offset = torch.arange(full, device=images.device) - (place * full).floor().view(-1, 1)
        inside.append((offset >= -half.view(-1, 1)) & (offset < half.view(-1, 1)))
    return images.masked_fill_(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0.5)


def _rescale(images: Tensor, level: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The middle, without up to a quarter of the side at each border, back to full size."""
    matrices = []
    for full in images.shape[2:]:
        start, end = (level / 4 * full).round(), (full - level / 4 * full).round()
        matrices.append(resampling(start, end - start, full, full))
    return separable(images, *matrices)


OPS: dict[str, tuple[int, Apply]] = {
    "autocontrast": (17, _blended(colour.autocontrast)),
    "blur": (17, _blended(_blur)),
    "brightness": (17, _factor(colour.brightness)),
    "color": (17, _factor(colour.saturation)),
    "contrast": (17, _factor(colour.contrast)),
    "cutout": (17, _cutout),
    "equalize": (17, _blended(colour.equalize)),
    "invert": (17, _blended(lambda images: 1 - images)),
    "identity": (1, unchanged),
    "posterize": (8, lambda images, level, y, x: colour.posterize(images, 1 + (7.999 * level).floor())),
    "rescale": (17, _rescale),
    "rotate": (17, _move("rotate", 45 / 30)),
    "sharpness": (17, _factor(colour.sharpness)),
    "shear_x": (17, _move("shear_x", 1.0)),
    "shear_y": (17, _move("shear_y", 1.0)),
    "smooth": (17, lambda images, level, y, x: colour.sharpness(images, 1 - level)),
    "solarize": (17, lambda images, level, y, x: colour.solarize(images, (255.999 * level).floor() / 255)),
    "translate_x": (17, _move("translate_x", 0.3 / REACH)),
    "translate_y": (17, _move("translate_y", 0.3 / REACH)),
}
"""name -> (bins of its level, (images, level in [0, 1), y, x) -> images); y, x: a place, in shares of the sides"""
NAMES = list(OPS)
BINS = torch.tensor([bins for bins, _ in OPS.values()])
MOST = int(BINS.max())


class CTAugment(nn.Module):
    """`depth` ops for each image, and with `cutout` one of half the side. `rates`, (ops, 17), 1 at first: its state.

    draw with `probe`: any level, and no cutout, for labelled images that are then shown to the classifier, and `update`
    for what it said of them. Without: a level whose bin has a rate of `threshold` of the op's best, or more.
    Rescaling is bilinear, without the choice among six filters of the authors' code; translations are shares of the
    side, as in the paper's table, where that code moves by less than a pixel.
    """

    rates: Tensor

    def __init__(self, depth: int = 2, decay: float = 0.99, threshold: float = 0.8, cutout: bool = True) -> None:
        super().__init__()
        self.register_buffer("rates", torch.ones(len(OPS), MOST))
        self.depth, self.decay, self.threshold, self.cutout = depth, decay, threshold, cutout
        self.numbers = (depth + 1, 5)

    def chances(self) -> Tensor:
        """Of each bin of each op, (ops, 17), rows of sum 1."""
        p = (self.rates.cpu() + 1 - self.decay) * (torch.arange(MOST) < BINS[:, None])
        p = p / p.amax(1, keepdim=True)
        p = p.masked_fill(p < self.threshold, 0)
        return p / p.sum(1, keepdim=True)

    def draw(self, numbers: Tensor, probe: bool = False) -> dict[str, Tensor]:
        """What is random for n images, (n, turns) each. numbers: uniform in [0, 1), (n, *self.numbers)."""
        turns = self.depth + (self.cutout and not probe)
        op, among, within, y, x = numbers[:, :turns].unbind(2)
        which, level = (op * len(OPS)).long(), within
        if not probe:
            up_to = self.chances().cumsum(1)
            up_to = (up_to / up_to[:, -1:]).to(numbers.device)  # exactly 1 at the last bin that may be drawn
            level = ((among[..., None] >= up_to[which]).sum(2) + within) / BINS.to(numbers.device)[which]
        if turns > self.depth:
            which[:, -1], level[:, -1] = NAMES.index("cutout"), 1
        return {"which": which, "level": level, "y": y, "x": x}

    def forward(self, images: Tensor, which: Tensor, level: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """(n, C, H, W) in [0, 1], which it may overwrite."""
        return in_turns(images, which, [function for _, function in OPS.values()], level, y, x)

    @torch.no_grad()
    def update(self, which: Tensor, level: Tensor, proximity: Tensor) -> None:
        """Of the probes of all processes: rate <- decay rate + (1 - decay) proximity, for each op that made a probe.

        proximity: (n,), 1 - |p - onehot(y)|_1 / 2 of what the classifier says, which is its p of the class y. The order
        of n probes of one bin does not count: it moves as by n of them that are all as near as their mean.
        """
        place = (which.cpu() * MOST + (level.cpu() * BINS[which.cpu()]).long()).flatten()
        hits = place.bincount(minlength=self.rates.numel()).view_as(self.rates)
        near = proximity.cpu().double().repeat_interleave(which.shape[1])
        mean = place.bincount(near, minlength=self.rates.numel()).view_as(hits) / hits.clamp_min(1)
        stays = self.decay ** hits.double()
        self.rates.copy_(stays * self.rates.cpu() + (1 - stays) * mean)
