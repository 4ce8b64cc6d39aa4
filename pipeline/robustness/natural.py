"""A classifier on a folder of natural images that are hard for it, such as ImageNet-A (arXiv:1907.07174)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.data.images import Images
from pipeline.data.sources.folders import folders
from pipeline.data.sources.source import Item
from pipeline.data.standardise import standardise
from pipeline.device import choose
from pipeline.errors import BadData
from pipeline.params import Params
from pipeline.robustness.run import classifier_of
from pipeline.robustness.subset import guesses
from pipeline.score.accuracy import wilson
from pipeline.score.features import embed
from pipeline.views.plain import Plain


def natural(name: str, folder: Path, params: Params, root: Path) -> dict[str, Any]:
    """{n, classes, error, error_low, error_high, error_among_all}: class folders named as classes of model `name`.

    `error` counts guesses among the classes of the folder alone, `error_among_all` among all that the model knows.
    Raises BadData for a class that it does not know, or an image that cannot be read.
    """
    model, device = classifier_of(name, root), choose(params.runtime.device)
    source, known = folders(folder), list(model.about["classes"])
    if strange := [label for label in source.classes if label not in known]:
        raise BadData(f"{folder / strange[0]}: model {name!r} knows no such class; remove the folder")
    if not source.items:
        raise BadData(f"{folder}: no images in its class folders")
    pixels = np.stack([_pixels(item, model.about["size"], model.about["channels"]) for item in source.items])
    images = Images(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
    network = model.branch.to(device).to(memory_format=torch.channels_last)
    logits = embed(network, images, Plain.of(model.about), params.label.batch, device)
    classes = torch.tensor([known.index(label) for label in source.classes])
    labels = classes[[item.label for item in source.items]]
    error = (guesses(logits, classes) != labels).double().mean().item()
    low, high = wilson(error, len(labels))
    return {
        "n": len(labels),
        "classes": len(classes),
        "error": error,
        "error_low": low,
        "error_high": high,
        "error_among_all": (logits.argmax(1) != labels).double().mean().item(),
    }


def _pixels(item: Item, size: int, channels: int) -> np.ndarray:
    try:
        return standardise(item.read(), size, channels)
    except BadData as error:
        raise BadData(f"{item.origin}: {error}") from None
