"""The same run under several seeds: how far every classifier varies, and each class of the final one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pipeline.errors import BadData
from pipeline.params import Params
from pipeline.report import read
from pipeline.report.convergence import DRAWN, POINTS, lines
from pipeline.report.curves import Points, colour, thin
from pipeline.report.numbers import percent
from pipeline.report.run import Pairs, Run, predictions
from pipeline.report.svg import Plot, ticks


@dataclass(frozen=True)
class Repeat:
    """`seeds`: of training and of the splits. `files`: what the run wrote below data/, and where that is kept."""

    seeds: tuple[int, int]
    files: dict[Path, Path]


@dataclass(frozen=True)
class Learned:
    """One classifier under one seed: test accuracy, of all and by class; by the place of a class, how it got there."""

    top1: float
    classes: dict[str, float]
    lines: dict[int, Points]

    @classmethod
    def of(cls, pairs: Pairs, curve: dict[str, Points], classes: int) -> Learned:
        right = defaultdict(list)
        for actual, predicted in pairs:
            right[actual].append(actual == predicted)
        top1 = sum(actual == predicted for actual, predicted in pairs) / len(pairs)
        return cls(top1, {name: mean(each) for name, each in right.items()}, lines(curve, classes))


def seeds(params: Params) -> tuple[int, int]:
    return params.seed, params.data.seed


def same_but_for_seeds(one: Params, other: Params) -> bool:
    """Speed is no difference either."""
    left_out: Any = {"seed": True, "runtime": True, "data": {"seed"}}
    return one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def over(run: Run, repeats: Sequence[Repeat]) -> dict[str, Any] | None:
    """Rows and panels of the run itself and its repeats together; None without a repeat.

    A repeat counts where all classifiers of the run can be read of it. Of more than 20 classes, the weakest.
    """
    further = [found for repeat in repeats if (found := _read(run, repeat))]
    if not further:
        return None
    own = {name: Learned.of(model.pairs, run.curves[name], len(run.classes)) for name, model in run.models.items()}
    whole = [own, *further]
    final = [each[run.final.name] for each in whole]
    tested = [place for place, name in enumerate(run.classes) if all(name in each.classes for each in final)]
    drawn = sorted(tested, key=lambda place: mean(each.classes[run.classes[place]] for each in final))[:DRAWN]
    return {
        "count": len(whole),
        "rows": [_row(run, name, [each[name].top1 for each in whole]) for name in run.models],
        "panels": [_panel(run, place, final) for place in (drawn if len(tested) > DRAWN else tested)],
        "of": len(tested),
    }


def _read(run: Run, repeat: Repeat) -> dict[str, Learned] | None:
    try:
        return {
            name: Learned.of(
                predictions(repeat.files[Path("scores", name, "confusion.csv")]),
                read.curve(repeat.files[Path("curves", f"{name}.csv")]),
                len(run.classes),
            )
            for name in run.models
        }
    except (KeyError, BadData):  # it has other classifiers, or is no longer in the cache
        return None


def _row(run: Run, name: str, shares: list[float]) -> dict[str, Any]:
    spread = {"mean": mean(shares), "sd": stdev(shares), "low": min(shares), "high": max(shares)}
    return {"name": name, "title": run.models[name].title, "colour": colour(run, name)} | spread


def _panel(run: Run, place: int, final: list[Learned]) -> dict[str, Any]:
    """A thin line for each seed, on the validation images; a dot for each at the right, on the test images."""
    name, shares = run.classes[place], [each.classes[run.classes[place]] for each in final]
    last = max((points[-1][0] for each in final for points in each.lines.values()), default=1) or 1
    plot = Plot(160, 110, (0, last), (0, 1), left=28, right=20)
    plot.bottom = 90
    plot.axes("", "", ticks(0, last, 2), ticks(0, 1, 2), share="y")
    for each in final:
        if place in each.lines:
            plot.line(thin(each.lines[place], POINTS), colour(run, run.final.name))
        plot.line([(1.06 * last, each.classes[name])], colour(run, run.final.name))
    told = f"{percent(mean(shares))} ± {percent(stdev(shares))}"
    label = f"Accuracy on {name} against step, a line a seed; on the test images {told} %"
    return {"class": name, "told": told, "figure": plot.draw(label)}
