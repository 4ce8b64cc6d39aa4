"""When a round is not worth it: the last student was no better than its teacher, so it is not asked to teach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import ParamsError

SKIPPED = "skipped.json"


def no_gain(about: dict[str, Any], least: float) -> str | None:
    """Why the model of that `about` (model.json) is not to teach: its gain on the validation images is below `least`.

    None where it is, or where it is no student. What was itself handed on by a skipped round is skipped for the same
    reason. Raises ParamsError where nothing was measured on validation images.
    """
    if "skipped" in about or "teacher" not in about:
        return about.get("skipped")
    name, teacher, mine, before = (about[key] for key in ("stage", "teacher", "validation", "teacher_validation"))
    if mine is None or before is None:
        raise ParamsError(f"label.gain: {name} was not looked at on validation images; set data.validation, monitors")
    if mine - before >= least:
        return None
    told = f"{100 * mine:.1f} % of the validation images, its teacher {teacher} {100 * before:.1f} %"
    return f"{name} has {told}: a gain below {100 * least:g} points"


def skip(folder: Path, teacher: str, reason: str) -> None:
    """What the labels of a skipped round are: the reason."""
    files.write_json(folder / SKIPPED, {"version": 1, "teacher": teacher, "reason": reason})


def skipped(folder: Path) -> str | None:
    """The reason, where the labels in `folder` are those of a skipped round."""
    return files.read_json(folder / SKIPPED)["reason"] if (folder / SKIPPED).exists() else None
