"""A data set that a small network learns in a few steps."""

import pytest
import torch

from pipeline import params
from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.nets.encoder import build_encoder
from pipeline.views.view import View


@pytest.fixture
def pixels():
    """(images, labels): 48 of 8 x 8 grey pixels; three classes, told apart by where they are bright."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(48) % 3
    images = torch.randint(0, 60, (48, 1, 8, 8), generator=draw, dtype=torch.uint8)
    for row, label in enumerate(labels.tolist()):
        images[row, :, :, 2 * label : 2 * label + 3] += 150
    return images, labels


@pytest.fixture
def batches(pixels):
    """batches(batch=, recipe=, part=, repeats=) of the labelled images."""

    def make(batch=12, recipe="flip", part=slice(None), seed=0, repeats=1) -> Batches:
        images, labels = pixels
        view = View(recipe, 8, [0.3], [0.25])
        stream = Stream(Images(images), torch.arange(48), batch, {"x": view}, {"y": labels.__getitem__}, repeats)
        return Batches({"labelled": stream}, seed, torch.device("cpu"), {"labelled": part})

    return make


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder(params.Encoder(args={"width": 4}, drop=0.1), 1, 8, [0.5], [0.25])
