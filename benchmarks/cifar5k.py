"""Make the folder that cifar5k.yaml trains on: the first 500 files by name of each class, and all test images.

python benchmarks/cifar5k.py cifar10-train.tar.gz cifar10-test.tar.gz FOLDER

Each archive holds class folders of images.
"""

from __future__ import annotations

import sys
import tarfile
from collections import defaultdict
from pathlib import Path

PER_CLASS = 500


def unpack(archive: str, folder: Path, limit: int | None) -> int:
    """The number of images written as folder/<class>/<name>."""
    with tarfile.open(archive) as tar:
        by_class = defaultdict(list)
        for member in tar:
            if member.isfile():
                by_class[Path(member.name).parent.name].append(member)
        chosen = [m for members in by_class.values() for m in sorted(members, key=lambda m: m.name)[:limit]]
        for member in sorted(chosen, key=lambda m: m.offset):  # in the order of the archive: it is compressed
            path = folder / Path(member.name).parent.name / Path(member.name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            file = tar.extractfile(member)
            assert file is not None
            path.write_bytes(file.read())
    return len(chosen)


if __name__ == "__main__":
    train, test, target = sys.argv[1:]
    print(
        unpack(train, Path(target) / "train", PER_CLASS),
        "to learn from,",
        unpack(test, Path(target) / "test", None),
        "to test",
    )
