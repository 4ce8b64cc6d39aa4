"""Queries and their neighbours as one small picture."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE, FRAME, GAP, APART = 48, 4, 2, 12  # pixels: longest side of a picture, frame, between cells, behind the query
COLOURS, MARK, CLEAR = 254, 254, 255  # the palette: colours of the pictures, the frame, nothing
FRAME_COLOUR = (208, 74, 40)  # stands out on white and on black; what it says is said by its being there


def sheet(pictures: Tensor, framed: Tensor) -> bytes:
    """A PNG of at most 256 colours on a clear ground: a line for each query, which comes first, apart from the others.

    pictures (lines, columns, C, H, W) uint8; framed (lines, columns) bool: where a thick frame says "another class".
    """
    from PIL import Image
    from PIL.Image import Dither

    lines, columns, size = *pictures.shape[:2], pictures.shape[-1]
    flat = pictures.flatten(0, 1)
    if size > SIDE:
        flat = F.interpolate(flat.float(), (SIDE, SIDE), mode="area").round().to(torch.uint8)
    else:
        flat = flat.repeat_interleave(SIDE // size, 2).repeat_interleave(SIDE // size, 3)
    side = flat.shape[-1]
    tall = flat.permute(0, 2, 3, 1).reshape(-1, side, flat.shape[1]).numpy()  # below one another, for one palette
    packed = Image.fromarray(tall.squeeze(2) if tall.shape[2] == 1 else tall).quantize(COLOURS, dither=Dither.NONE)
    step = side + 2 * FRAME + GAP
    page = Image.new("P", (APART + columns * step - GAP, lines * step - GAP), CLEAR)
    colours = (packed.getpalette() or [])[: 3 * COLOURS]
    page.putpalette([*colours, *[0] * (3 * COLOURS - len(colours)), *FRAME_COLOUR, 0, 0, 0])
    for place in range(lines * columns):
        x, y = place % columns * step + APART * (place % columns > 0), place // columns * step
        if framed.flatten()[place]:
            page.paste(MARK, (x, y, x + step - GAP, y + step - GAP))
        picture = packed.crop((0, place * side, side, (place + 1) * side))
        page.paste(picture, (x + FRAME, y + FRAME))
    out = io.BytesIO()
    page.save(out, "png", optimize=True, transparency=CLEAR)
    return out.getvalue()
