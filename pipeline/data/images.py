"""Encoded bytes to pixels, and the two ways to hold the pixels of a split."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from pipeline.errors import BadData

if TYPE_CHECKING:
    from pipeline.data.shards import ShardSet

FORMATS = ("JPEG", "PNG", "WEBP")
THREADS = min(4, os.cpu_count() or 1)


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """uint8 (channels, size, size). The size is checked in the header, before a pixel is decoded. Raises BadData."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.size != (size, size):
                raise BadData(f"{image.width} x {image.height} pixels instead of {size} x {size}")
            image.load()  # so that damage is raised here, and not from inside numpy
            mode = "RGB" if channels == 3 else "L"
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))  # convert always copies
    except BadData:
        raise
    except Exception as error:  # Pillow's plugins raise a dozen unrelated types on damaged input
        raise BadData(f"cannot be decoded: {error or type(error).__name__}") from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decode_all(data: Sequence[bytes], size: int, channels: int) -> np.ndarray:
    """uint8 (n, channels, size, size) from n encoded images; Pillow lets go of the interpreter while it decodes."""
    pixels = np.empty((len(data), channels, size, size), np.uint8)

    def work(first: int) -> None:
        for i in range(first, len(data), THREADS):
            pixels[i] = decode(data[i], size, channels)

    with ThreadPoolExecutor(THREADS) as pool:  # made for each call, so that a fork in between does no harm
        list(pool.map(work, range(THREADS)))
    return pixels


class Images:
    """The images of a split, decoded, in one uint8 tensor (n, channels, size, size) on any device."""

    def __init__(self, pixels: torch.Tensor):
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, rows: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """uint8 (len(rows), channels, size, size): a copy of these rows, on the device of the images."""
        return self.pixels[torch.as_tensor(rows, dtype=torch.int64, device=self.pixels.device)]

    def to(self, device: torch.device | str) -> Images:
        return Images(self.pixels.to(device))


class OnDemand(Images):
    """The same for a split that does not fit: each call reads and decodes its rows, then moves them to the device."""

    def __init__(self, shards: ShardSet, device: torch.device | str = "cpu"):
        self.shards, self.device = shards, device

    def __len__(self) -> int:
        return len(self.shards)

    def at(self, rows: torch.Tensor | Sequence[int]) -> torch.Tensor:
        return self.shards.images(rows).to(self.device)

    def to(self, device: torch.device | str) -> OnDemand:
        return OnDemand(self.shards, device)
