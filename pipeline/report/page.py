"""Putting the page together."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.params import Params
from pipeline.report import (
    calibration,
    classes,
    convergence,
    corruptions,
    curves,
    graph,
    layers,
    maps,
    neighbours,
    numbers,
    risk,
    rounds,
    scores,
    seeds,
    since,
)
from pipeline.report.run import Run, load
from pipeline.report.seeds import Repeat
from pipeline.report.since import Past

PACKAGES = ("ssl-pipe", "torch", "torchvision", "timm", "numpy", "scikit-learn", "webdataset", "dvc")


def build(root: Path, params: Params, past: Past | None = None, repeats: Sequence[Repeat] = ()) -> None:
    """Write root/report.html from the files of a run: also what has changed since `past`, and how far seeds matter.

    Raises BadData naming a file that is missing or malformed.
    """
    import jinja2

    run = load(root, params)
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters |= {
        each.__name__: each
        for each in (
            numbers.clip,
            numbers.percent,
            numbers.points,
            numbers.decimal,
            numbers.count,
            numbers.short,
            numbers.duration,
        )
    }
    beside = {"since": since.changes(run, past), "seeds": seeds.over(run, repeats)}
    text = page.get_template("page.html.j2").render(_context(run, root) | beside)
    files.write_bytes(root / "report.html", text.encode())


def markdown(root: Path, params: Params) -> str:
    """The table of scores for a README or a terminal."""
    return scores.markdown(load(root, params))


def _context(run: Run, root: Path) -> dict[str, Any]:
    final = run.final
    dumbbell, shown, tested = classes.dumbbells(run.baseline, final)
    return {
        "run": run,
        "final": final,
        "source": Path(run.params.data.source).name or run.params.data.source,
        "spoken": scores.spoken(run, final.name),
        "gain": scores.row(run, final)["to_baseline"],
        "rows": [scores.row(run, model) for model in run.models.values()],
        "probes": scores.probes(run),
        "layers": layers.by_depth(run),
        "sheets": neighbours.sheets(run, root),
        "maps": maps.maps(run),
        "graph": graph.draw(run),
        "total": sum(page["seconds"] for page in run.times.values()) or None,
        "together": [
            curves.together(run, "val_top1", run.models, "Validation top-1 of the classifiers"),
            curves.together(run, "val_knn", run.params.pretrain, "Validation kNN of the encoders"),
        ],
        "panels": {
            "Pretraining": curves.panels(run, run.params.pretrain),
            "Classifiers": curves.panels(run, run.models),
        },
        "diagrams": [
            {"model": model, "figure": calibration.diagram(model.reliability, model.title, curves.colour(run, name))}
            for name, model in run.models.items()
        ],
        "risk": risk.curves(run),
        "matrix": classes.matrix(final, run.classes),
        "left_out": classes.left_out(final),
        "confusions": classes.confusions(final),
        "dumbbell": {"figure": dumbbell, "shown": shown, "of": tested},
        "convergence": convergence.by_class(run),
        "robustness": corruptions.heat(run),
        "rounds": rounds.every(run, root),
        "yaml": _yaml(run.params),
        "times": _times(run),
        "machines": _machines(run),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _yaml(params: Params) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.dump(params.model_dump(by_alias=True, exclude_unset=True, exclude={"runtime"}), text)
    return text.getvalue()


def _times(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """In the order of the graph; what is not drawn there comes last."""
    order = {name: place for place, name in enumerate(graph.stages(run))}
    return sorted(run.times.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))


def _machines(run: Run) -> list[dict[str, Any]]:
    """Each machine that a stage ran on, once."""
    found: list[dict[str, Any]] = []
    for page in run.times.values():
        machine = page.get("machine")
        if machine and machine not in found:
            found.append(machine)
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
