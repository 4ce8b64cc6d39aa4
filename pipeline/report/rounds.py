"""What the page shows of the pseudo-labels of each round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.data.shards import ShardSet
from pipeline.report import audits, balance, calibration, pictures, scores
from pipeline.report.run import Run


def every(run: Run, root: Path) -> list[dict[str, Any]]:
    """In the order of params.yaml, those that were skipped left out."""
    if not run.audits:
        return []
    shards, found = ShardSet.open(root / "shards" / "unlabelled"), []
    for name, audit in run.audits.items():
        found.append(
            {
                "name": name,
                "audit": audit,
                "teacher": " and ".join(scores.spoken(run, name) for name in audit["teachers"]),
                "coverage": audits.coverage(audit),
                "diagrams": _diagrams(audit, name),
                "balance": balance.balance(audit),
                "rejection": audits.rejection(audit),
                "classes": audits.classes(audit, len(run.audits)),
                "galleries": pictures.galleries(audit, shards, len(run.audits)),
            }
        )
    return found


def _diagrams(audit: dict[str, Any], name: str) -> list[Markup]:
    """Of the half that T was not fitted on, before and after; of all images that are known where there is no T."""
    said, title = audit["temperature"], f"the pseudo-labels of round {name}"
    if not said:
        return [calibration.diagram(audit["reliability"], title, "accent")] if audit["truth"] else []
    pairs = ((said["before"], title), (said["after"], f"{title}, after temperature scaling"))
    return [calibration.diagram(each["reliability"], about, "accent") for each, about in pairs]
