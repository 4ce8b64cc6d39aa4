"""Labels of teachers that params.yaml no longer names: DVC leaves them on the disk, where a student depends on them."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.params import Params


def sweep(labels: Path, params: Params) -> None:
    """Make the folder `labels`; remove what lies at labels/<round>/<teacher>/ and is of no teacher of that round."""
    labels.mkdir(exist_ok=True)
    known = {labels / name / teacher for name in params.rounds for teacher in params.round_teachers(name)}
    for folder in set(labels.glob("*/*/")) - known:
        shutil.rmtree(folder)
