"""Everything under data/ against the hashes that were written with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.data.shards import ShardSet
from pipeline.data.verify import verify as verify_shards
from pipeline.data.verify import verify_folder
from pipeline.errors import PipeError
from pipeline.label.labels import Opinion
from pipeline.label.stop import skipped
from pipeline.nets.model import load_model


def verify(root: Path) -> Iterator[str]:
    """One line for each thing that is wrong with the shards, models and labels under `root`; none means all is well.

    `root` may be a single folder of shards, such as `ssl-pipe materialise` makes.
    """
    if (root / "manifest.json").is_file():
        yield from map(str, verify_folder(root))
        return
    yield from map(str, verify_shards(root))
    for folder in sorted((root / "materialised").glob("*/")):
        yield from map(str, verify_folder(folder))

    def open_labels(folder: Path) -> Opinion | None:
        return None if skipped(folder) else Opinion.open(folder, ShardSet.open(root / "shards" / "unlabelled"))

    models, labels = sorted(root.glob("models/*/")), sorted(root.glob("labels/*/*/"))
    checks: list[Callable[[], object]] = [partial(load_model, folder) for folder in models]
    checks += [partial(open_labels, folder) for folder in labels]
    for check in checks:
        try:
            check()
        except PipeError as error:
            yield str(error)
