"""Small images and small splits, the same in every run."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from pipeline.data.write import write_split


def encoded(pixels: np.ndarray, kind: str = "PNG", **how) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **how)
    return out.getvalue()


@pytest.fixture
def picture():
    """seed -> the bytes of an image of noise"""

    def make(seed: int, height: int = 12, width: int = 12, kind: str = "PNG", **how) -> bytes:
        return encoded(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), kind, **how)

    return make


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (25, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, pixels):
    """data/shards/labelled: 25 images of 8 x 8 pixels and 3 classes, in shards of 10, 10 and 5."""
    samples = [(f"{'abc'[i % 3]}/{i:02d}", encoded(pixels[i]), i % 3) for i in range(25)]
    path = tmp_path / "data" / "shards" / "labelled"
    write_split(path, "labelled", samples, classes=["a", "b", "c"], size=8, per_shard=10)
    return path


@pytest.fixture
def make_tar():
    """(path, [(member name, content)]) -> a plain tar"""

    def make(path, members):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for name, content in members:
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def class_folders(tmp_path, picture):
    """A source of 3 class folders of 20 images each, kept apart from what the tests write."""
    root = tmp_path / "source"
    for c, name in enumerate(("ant", "bee", "cat")):
        (root / name).mkdir(parents=True)
        for i in range(20):
            (root / name / f"{i:02d}.png").write_bytes(picture(100 * c + i, 12, 16))
    return root
