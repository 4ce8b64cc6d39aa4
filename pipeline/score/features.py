"""One pass of a network over images, as it is used: eval mode, no gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.nets.evaluating import evaluating


class Images(Protocol):
    """Anything with a length whose `at(rows)` gives uint8 images (len(rows), C, H, W)."""

    def __len__(self) -> int: ...

    def at(self, rows: Sequence[int]) -> Any: ...


def embed(
    network: nn.Module, images: Images, transform: Callable[[Tensor], Tensor], batch: int, device: str | torch.device
) -> Tensor:
    """What `network` gives for each image, fp32 on the CPU, (N, D), rows in the order of `images`.

    `transform` turns uint8 images on `device` into the network's input. Each module is left in the mode it was in.
    """
    out, start = torch.empty(0), 0
    for features in passes(network, images, transform, batch, device):
        if start == 0:
            out = torch.empty(len(images), features.shape[1])
        out[start : start + len(features)] = features
        start += len(features)
    return out


@torch.no_grad()
def passes(
    network: nn.Module, images: Images, transform: Callable[[Tensor], Tensor], batch: int, device: str | torch.device
) -> Iterator[Tensor]:
    """The rows of `embed` as they come, (batch, D) on `device`: for what need not hold all of them at once."""
    with evaluating(network):
        for start in range(0, len(images), batch):
            rows = range(start, min(start + batch, len(images)))
            yield network(transform(torch.as_tensor(images.at(list(rows))).to(device)))
