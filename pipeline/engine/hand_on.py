"""The student of a skipped round: its teacher under its own name."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline import files
from pipeline.engine import ranks


def hand_on(teacher: str, name: str, reason: str, root: Path) -> None:
    """Publish models/<name>/, with the reason in its model.json, an empty curve, and times that say 0."""
    if not ranks.first():
        return
    source = root / "models" / teacher
    with files.publish(root / "models" / name) as folder:
        shutil.copyfile(source / "model.safetensors", folder / "model.safetensors")
        page = files.read_json(source / "model.json") | {"stage": name, "skipped": reason}
        files.write_json(folder / "model.json", page)
    files.write_csv(root / "curves" / f"{name}.csv", [{"step": 0, "loss": None, "lr": None}])
    files.write_json(root / "times" / f"{name}.json", {"stage": name, "seconds": 0, "skipped": reason})
