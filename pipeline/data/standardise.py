"""Any JPEG, PNG or WebP to one square uint8 image, and that to the bytes a shard keeps."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import BadData

FORMATS = ("JPEG", "PNG", "WEBP")
PIXEL_LIMIT = 50_000_000  # 150 MB decoded; larger than any camera's photo that is meant to be 224 pixels wide


def standardise(image: bytes | Image.Image, size: int, channels: int) -> np.ndarray:
    """uint8 (size, size, channels): upright, the shorter side resized to `size` with antialias, the centre kept.

    Any mode is taken: palette, grey, 16 bits, CMYK; alpha is dropped; of an animation the first frame counts.
    Raises BadData without a name (the caller knows it) on another format, damage, or too many pixels in the header.
    """
    try:
        if not isinstance(image, bytes):
            return _square(image, size, channels)
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXEL_LIMIT:
                raise BadData(f"{opened.width} x {opened.height} pixels; at most {PIXEL_LIMIT:,} are allowed")
            return _square(ImageOps.exif_transpose(opened), size, channels)
    except BadData:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadData(f"too many pixels in the header; at most {PIXEL_LIMIT:,} are allowed") from None
    except Exception as error:  # Pillow's plugins raise a dozen unrelated types on damaged input
        what = "not a JPEG, PNG or WebP image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise BadData(f"cannot be decoded: {what or type(error).__name__}") from None


def _square(image: Image.Image, size: int, channels: int) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a pixel: keep the upper 8, where Pillow would clip to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")
    image = image.convert("RGB" if channels == 3 else "L")
    if image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(image).reshape(size, size, channels)


def encode(pixels: np.ndarray, extension: str) -> bytes:
    """`png`: lossless. `jpg`: quality 95 without chroma subsampling. The same pixels give the same bytes."""
    image, out = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels), io.BytesIO()
    if extension == "png":
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
