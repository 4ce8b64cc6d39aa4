"""The 1,797 handwritten digits that come with scikit-learn: 8 x 8 grey pixels, no download."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image

from pipeline.data.sources.source import Item, Source


def digits() -> Source:
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = np.round(loaded.images * (255 / 16)).astype(np.uint8)  # the set counts from 0 to 16
    items = [
        Item(f"digit-{i:04d}", f"digits: image {i}", None, int(label), partial(Image.fromarray, pixels[i]))
        for i, label in enumerate(loaded.target)
    ]
    return Source([str(digit) for digit in range(10)], items)
