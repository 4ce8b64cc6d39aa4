"""One pass of a network over images, as it is used: eval mode, no gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.nets.evaluating import evaluating


class Images(Protocol):
    """Anything with a length whose `at(rows)` gives uint8 images (len(rows), C, H, W)."""

    def __len__(self) -> int: ...

    def at(self, rows: Sequence[int]) -> Any: ...


@torch.no_grad()
def embed(
    network: nn.Module, images: Images, transform: Callable[[Tensor], Tensor], batch: int, device: str | torch.device
) -> Tensor:
    """What `network` gives for each image, fp32 on the CPU, (N, D), rows in the order of `images`.

    `transform` turns uint8 images on `device` into the network's input. Each module is left in the mode it was in.
    """
    out = torch.empty(0)
    with evaluating(network):
        for start in range(0, len(images), batch):
            rows = range(start, min(start + batch, len(images)))
            features = network(transform(torch.as_tensor(images.at(list(rows))).to(device)))
            if start == 0:
                out = torch.empty(len(images), features.shape[1])
            out[start : rows.stop] = features
    return out
