"""The tables of scores, for the page and for a terminal."""

from __future__ import annotations

from typing import Any

from pipeline.report.calibration import whisker
from pipeline.report.curves import colour
from pipeline.report.numbers import decimal, percent, points
from pipeline.report.run import PROBES, Model, Run, gain
from pipeline.report.table import aligned
from pipeline.score.accuracy import wilson


def source(run: Run, model: Model) -> str:
    """What a model learned from, in words."""
    if model.skipped:
        return f"round skipped, its teacher goes on: {model.skipped}"
    begins = "" if model.start == "scratch" else f", from {model.start}"
    if model.role != "student":
        return f"{run.labels:,} labels{begins}"
    return f"{run.labels:,} labels + pseudo-labels of {spoken(run, model.teacher or '')}{begins}"


def spoken(run: Run, name: str) -> str:
    """A model inside a sentence: the teacher, student 1."""
    if name not in run.models:
        return name
    title = run.models[name].title
    return f"{'' if run.models[name].role == 'student' else 'the '}{title[0].lower()}{title[1:]}"


def row(run: Run, model: Model) -> dict[str, Any]:
    """One line of the score table. Differences are (difference, half of its paired 95 % interval or None)."""
    teacher = run.models.get(model.teacher or "")
    low, high = model.interval
    span = min(m.interval[0] for m in run.models.values()), max(m.interval[1] for m in run.models.values())
    return {
        "model": model,
        "source": source(run, model),
        "low": low,
        "high": high,
        "whisker": whisker(low, model.metrics["top1"], high, span, colour(run, model.name)),
        "to_baseline": None if model.role == "baseline" else gain(model, run.baseline),
        "to_teacher": gain(model, teacher) if teacher and model.role == "student" else None,
        "colour": colour(run, model.name),
    }


def about(run: Run, name: str) -> str:
    """What made an encoder."""
    return "random weights" if name == "scratch" else run.params.pretrain[name].method


def probes(run: Run) -> list[dict[str, Any]]:
    """Frozen features: a random encoder first, then each pretraining run with its difference to random."""
    found = []
    for name, metrics in run.probes.items():
        cells = {
            probe: {
                "share": metrics[probe],
                "interval": wilson(metrics[probe], metrics["n"]),
                "gain": None if name == "scratch" else metrics[probe] - run.probes["scratch"][probe],
            }
            for probe in PROBES
        }
        found.append({"name": name, "about": about(run, name), "metrics": metrics} | cells)
    return found


def markdown(run: Run) -> str:
    head = ["model", "learned from", "top-1, %", "95 % interval", "to baseline", "to teacher", "NLL", "Brier", "ECE, %"]
    lines = []
    for each in (row(run, model) for model in run.models.values()):
        metrics = each["model"].metrics
        lines.append(
            [
                each["model"].title,
                each["source"],
                percent(metrics["top1"]),
                f"{percent(each['low'])} to {percent(each['high'])}",
                points(each["to_baseline"][0] if each["to_baseline"] else None),
                points(each["to_teacher"][0] if each["to_teacher"] else None),
                decimal(metrics["nll"]),
                decimal(metrics["brier"]),
                percent(metrics["ece"]),
            ]
        )
    n = run.final.metrics["n"]
    return (
        f"{aligned(head, lines, 2)}\n\n{n:,} test images; intervals: Wilson, 95 %; differences in percentage points.\n"
    )
