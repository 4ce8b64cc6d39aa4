"""One network for each group of channels of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.lab import edges, scaled_lab

WIDTHS = {"L": 1, "ab": 2, "edges": 2}
"""channels of each group"""


class MultiView(nn.Module):
    """The features of all networks side by side, (B, C, H, W) -> (B, sum of their widths), in the order of `groups`.

    Sees what every network sees, images minus `mean` over `std`, and takes its groups from the colours below: `L`, `ab`
    (each on its fixed range), `edges` (the slopes of L). Tian et al. 2019, arXiv:1906.05849, section 4.1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, groups: Sequence[str], build: Callable[[int], nn.Module], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """`build(channels)` makes a network. Raises ParamsError where the images have no such group."""
        super().__init__()
        if len({*groups}) < len(groups):
            raise ParamsError(f"encoder.sees: {', '.join(groups)} names a group twice")
        if len(mean) == 1 and "ab" in groups:
            raise ParamsError("encoder.sees: grey images have no 'ab'; they have L, edges")
        self.nets = nn.ModuleDict({group: build(WIDTHS[group]) for group in groups})
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups(x)
        return torch.cat([net(groups[group]) for group, net in self.nets.items()], 1)

    def groups(self, x: Tensor) -> Mapping[str, Tensor]:
        """What each network sees, (B, 1 or 2, H, W), in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            colours = x.float() * self.std + self.mean
            light_and_colour = scaled_lab(colours.expand(-1, 3, -1, -1))
            lightness = light_and_colour[:, :1]
            return {"L": lightness, "ab": light_and_colour[:, 1:], "edges": edges(lightness)}
