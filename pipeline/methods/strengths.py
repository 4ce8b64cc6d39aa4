"""How strong the strong views are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.losses import gather
from pipeline.nets.encoder import Encoder
from pipeline.nets.evaluating import evaluating
from pipeline.nets.luck import Luck
from pipeline.views.ctaugment import CTAugment


class Given(nn.Module):
    """As strong as their recipes have made them."""

    def forward(self, *views: Tensor) -> list[Tensor]:
        return list(views)

    def learn(self, network: nn.Module, x: Tensor, y: Tensor) -> None:
        """Nothing."""


class Learned(Given):
    """CTAugment of weak views, images as a network sees them: as strong as the network can bear, op by op.

    What it has learned is in its state. Strong views, which `cutout` ends with a cutout, before the yield; `learn`
    after it, once.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, cutout: bool) -> None:
        super().__init__()
        self.augment, self.luck = CTAugment(cutout=cutout), Luck()
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(encoder.spec[name]).view(-1, 1, 1), persistent=False)

    @torch.compiler.disable  # how many images an op has differs from step to step
    def forward(self, *weak: Tensor) -> list[Tensor]:
        """Strong views of weak ones (B, C, H, W), each image with draws of its own."""
        numbers = self.luck.each(self.augment.numbers, *weak)
        return [self._made(view, self.augment.draw(own)) for view, own in zip(weak, numbers, strict=True)]

    @torch.no_grad()
    def learn(self, network: nn.Module, x: Tensor, y: Tensor) -> None:
        """Rates follow what `network`, in eval mode, says of probes of weak views x (B, C, H, W) of classes y (B,).

        The authors' code asks the average network, and makes the probe from the view that the trained one sees.
        """
        drawn = self.augment.draw(self.luck(x, *self.augment.numbers), probe=True)
        with evaluating(network):
            p = network(self._made(x, drawn)).float().softmax(1)
        near = p.gather(1, y[:, None]).squeeze(1)
        self.augment.update(gather(drawn["which"]), gather(drawn["level"]), gather(near))
        self.luck.turn()

    def _made(self, view: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        with torch.no_grad(), torch.autocast(view.device.type, enabled=False):  # an op may be a matrix product
            images = view.float() * self.std + self.mean
            images = images.mul(255).round().clamp(0, 255).div(255)  # thresholds are met by whole numbers only
            strong = (self.augment(images.contiguous(), **drawn) - self.mean) / self.std
            return strong.to(memory_format=torch.channels_last)
