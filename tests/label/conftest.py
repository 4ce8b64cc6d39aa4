"""Small real shards, and a teacher that is tiny but depends on every pixel."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.data.shards import ShardSet
from pipeline.data.write import write_split
from pipeline.label.labels import write_summary
from pipeline.label.look import Look
from pipeline.label.predict import predict
from pipeline.views.view import View

ABOUT = {"parameters": 1, "validation": 0.5}
CLASSES = ["ant", "bee", "cat", "dog"]


def make_shards(folder: Path, n=23, per_shard=5, classes=CLASSES, size=8, seed=0, start=0) -> ShardSet:
    draw = np.random.default_rng(seed)

    def samples():
        for i in range(n):
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (size, size, 3), np.uint8)).save(file, "PNG")
            yield f"k{start + i:05d}", file.getvalue(), -1

    write_split(folder, "unlabelled", samples(), classes=classes, size=size, per_shard=per_shard)
    return ShardSet.open(folder)


class Teacher(nn.Module):
    """BatchNorm and dropout, so that a forward in training mode is noticed."""

    def __init__(self, classes=4, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(6),
                nn.Flatten(),
                nn.Dropout(0.5),
                nn.Linear(288, classes),
            )

    def forward(self, x):
        return self.layers(x)


def look(mean=0.5, std=0.25, size=8, views=("plain",), noise=False) -> Look:
    return Look([View(text, size, [mean] * 3, [std] * 3) for text in views], noise, 0)


def label(shards: ShardSet, out: Path, network=None, teacher="a" * 64, **change):
    """`predict` with everything that the tests do not care about."""
    given = {"batch": 2, "device": "cpu", "precision": "fp32", "look": look()} | change
    network = network or Teacher(len(shards.manifest.classes))
    about = {"teacher": teacher, "classes_sha256": shards.manifest.classes_sha256}
    return predict(network, shards, out, about, **given)


def digests(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def shards(tmp_path):
    return make_shards(tmp_path / "unlabelled")


@pytest.fixture
def folder(tmp_path, shards):
    """Finished labels of `shards`."""
    label(shards, tmp_path / "labels")
    write_summary(tmp_path / "labels", shards, "finetune", ABOUT)
    return tmp_path / "labels"
