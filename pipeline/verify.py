"""Everything under data/ against the hashes that were written with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.data.shards import ShardSet
from pipeline.data.verify import verify as verify_shards
from pipeline.errors import PipeError
from pipeline.label.labels import Opinion
from pipeline.label.stop import skipped
from pipeline.nets.model import load_model


def verify(root: Path) -> Iterator[str]:
    """One line for each thing that is wrong with the shards, models and labels under `root`; none means all is well."""
    yield from map(str, verify_shards(root))

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
