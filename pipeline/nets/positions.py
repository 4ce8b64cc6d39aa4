"""The positions of a transformer that is to see images of another size (arXiv:2012.12877, "across resolutions")."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def interpolated(positions: Tensor, old: tuple[int, int], new: tuple[int, int], antialias: bool) -> Tensor:
    """(1, prefix + h w, D) of a grid `old` -> (1, prefix + h' w', D) of a grid `new`, bicubic, without aligned corners.

    What stands before the patches, as a class token's, stays. `antialias` changes the result in both directions: it is
    another cubic kernel (a = -.5 in the place of -.75).
    """
    prefix, grid = positions.tensor_split([positions.shape[1] - old[0] * old[1]], 1)
    image = grid.float().unflatten(1, old).movedim(3, 1)
    resized = F.interpolate(image, new, mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat([prefix, resized.flatten(2).mT.to(positions.dtype)], 1)


def fitted(tensors: dict[str, Tensor], net: nn.Module, antialias: bool) -> dict[str, Tensor]:
    """The same tensors, but with positions for the grid of each transformer of timm in `net`.

    What does not look like positions of a square image is left as it is.
    """
    found = dict(tensors)
    for name, module in net.named_modules():
        key = f"{name}.pos_embed" if name else "pos_embed"
        mine: Any = getattr(module, "pos_embed", None)
        new = getattr(getattr(module, "patch_embed", None), "grid_size", None)
        if key not in found or new is None or found[key].shape == mine.shape or not found[key].ndim == mine.ndim == 3:
            continue
        patches = found[key].shape[1] - (mine.shape[1] - new[0] * new[1])
        rows = round(sqrt(max(0, patches) * new[0] / new[1]))  # images are square: only patches may be oblong
        if rows and patches % rows == 0 and patches // rows * new[0] == rows * new[1]:
            found[key] = interpolated(found[key], (rows, patches // rows), tuple(new), antialias)
    return found
