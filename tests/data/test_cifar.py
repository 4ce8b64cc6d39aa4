"""Real photographs, where they are at hand."""

import tarfile
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.data.verify import verify
from pipeline.params import Data

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "cifar10-test.tar.gz"
PER_CLASS = 12

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not ARCHIVE.exists(), reason="CIFAR-10 is not at hand")]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The first images of each class, as class folders."""
    folder = tmp_path_factory.mktemp("cifar")
    with tarfile.open(ARCHIVE) as tar:
        images = (member for member in tar if member.isfile())
        for name, members in groupby(images, key=lambda member: Path(member.name).parent.name):
            (folder / name).mkdir()
            for member in islice(members, PER_CLASS):
                (folder / name / Path(member.name).name).write_bytes(tar.extractfile(member).read())
    return folder


def test_class_folders_of_jpeg_become_shards(source, tmp_path):
    counts = prepare(Data(source=str(source), size=32, labels_per_class=3, test=0.25, validation=0.25), tmp_path)
    assert counts == {"labelled": 30, "unlabelled": 60, "val": 30, "test": 30, "skipped": 0}
    assert verify(tmp_path) == []
    test = ShardSet.open(tmp_path / "shards" / "test")
    assert test.manifest.classes == sorted(folder.name for folder in source.iterdir())
    assert np.bincount(test.labels).tolist() == [3] * 10
    for row, key in enumerate(test.keys):
        file = next(source.glob(f"{key}.jpg"))
        assert file.parent.name == test.manifest.classes[test.labels[row]]
        with Image.open(file) as image:
            assert (test.images([row])[0].numpy().transpose(1, 2, 0) == np.asarray(image.convert("RGB"))).all()
