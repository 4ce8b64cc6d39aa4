"""What is left of the final classifier on corrupted and attacked images, beside the baseline."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from pipeline.report.read import Row
from pipeline.report.run import Run


def heat(run: Run) -> dict[str, Any] | None:
    """Rows of errors by severity, the means of both models, and their errors under attack; None without any."""
    final, before = (run.robustness.get(name) for name in (run.final.name, "baseline"))
    if final is None:
        return None
    errors, theirs = _by_name(final["corruptions"]), _by_name(before["corruptions"] if before else [])
    severities = sorted({severity for of in errors.values() for severity in of})
    rows = [
        {
            "name": name.replace("_", " "),
            "cells": [of.get(severity) for severity in severities],
            "mean": fmean(of.values()),
            "before": fmean(theirs[name].values()) if name in theirs else None,
        }
        for name, of in errors.items()
    ]
    known = {row["epsilon"]: row for row in (before["attacks"] if before else [])}
    attacks = [{**row, "before": known.get(row["epsilon"])} for row in final["attacks"]]
    return {
        "metrics": final["metrics"],
        "before": before["metrics"] if before else None,
        "severities": severities,
        "rows": rows,
        "attacks": attacks,
    }


def _by_name(rows: list[Row]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["corruption"], {})[int(row["severity"])] = row["error"]
    return found
