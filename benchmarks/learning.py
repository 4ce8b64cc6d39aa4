"""Does it learn? Models over several seeds: mean and standard deviation of the test accuracy, last step.

python benchmarks/learning.py params.yaml 5                              digits, the demo itself: every model
python benchmarks/learning.py benchmarks/cifar5k.yaml 3 -S data.source=FOLDER
python benchmarks/learning.py benchmarks/methods_digits.yaml 3 -j 2      every pretext method, and no student
python benchmarks/learning.py benchmarks/methods_cifar5k.yaml 3 -j 2 -S data.source=FOLDER
python benchmarks/learning.py benchmarks/grids/semi_digits.yaml 5 -j 2   row by row of a grid (grid.py)

Each seed draws its own split, labels and weights. `-j`: seeds that run at the same time, one thread each. A model that
was measured is kept at once in benchmarks/measured/, with a hash of its settings, and not measured again while these
are the same: a table may take many evenings, and a changed run is the only one that is trained anew. (The hash is of
the parameters, not of the code: remove the file after a change of a method.) The table goes into docs/results.md and
README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import hashlib
import json
import multiprocessing
import re
import signal
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from grid import Grid
from pydantic import BaseModel

from pipeline import files
from pipeline.device import choose, machine
from pipeline.engine.signals import follow_parent
from pipeline.errors import Collapsed, Diverged
from pipeline.params import Params
from stages.command import read
from stages.distill import distill
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.label import label
from stages.prepare import prepare
from stages.pretrain import pretrain
from stages.scratch import scratch

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "results.md", ROOT / "README.md")
SHOWN = {"top1": "top-1, %", "linear": "linear probe, %", "knn": "kNN, %", "ece": "ECE, %"}


@dataclass
class Measured:
    """benchmarks/measured/<name>.json: {model: {seed: {"settings", metrics ...}}}; several processes may write it."""

    path: Path

    def rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        return files.read_json(self.path) if self.path.exists() else {}

    def has(self, model: str, seed: int, settings: str) -> bool:
        return self.rows().get(model, {}).get(str(seed), {}).get("settings") == settings

    def keep(self, model: str, seed: int, row: dict[str, Any]) -> None:
        print(f"seed {seed}: {model}", {key: row[key] for key in (*SHOWN, "stopped") if key in row}, flush=True)
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = self.rows()
            rows.setdefault(model, {})[str(seed)] = row
            files.write_json(self.path, rows)


@dataclass
class Case:
    """One line of the table: a model, and the parameters that make it."""

    label: str
    file: Path
    model: str


def cases(file: Path, sets: list[str], folder: Path) -> list[Case]:
    """The rows of a grid, whose parameters are written into `folder`; or the models of params.yaml."""
    if Grid.at(file):
        grid = Grid.load(file)
        written = {row: grid.write(row, folder) for row in grid.rows}
        return [Case(row, path, read(path, sets).final) for row, path in written.items()]
    p = read(file, sets)
    return [Case(model, file, model) for model in p.models if model != "finetune" or p.finetune.start != "scratch"]


def settings(p: Params, model: str) -> str:
    """A hash of what a model's numbers depend on: the images, and the sections of the models that it is made from.

    Of what is not the default: a key that comes later does not make older rows worth less.
    """
    about: Any = {key: _given(getattr(p, key)) for key in ("data", "encoder")} | {"more": p.more}
    about["data"] |= {"seed": None, "source": Path(p.data.source).name}
    about["made"] = [[each, *map(_given, _sections(p, each))] for each in builds_on(p, model)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _given(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(by_alias=True, exclude_defaults=True)


def _sections(p: Params, model: str) -> list[BaseModel]:
    if model in p.pretrain:
        return [p.pretrain[model]]
    if (name := model.removeprefix("student-")) in p.rounds and name != model:
        further = [each for each in p.teachers.values() if each.round == name]
        return [p.rounds[name], p.labelling(name)[2], p.round_distill(name), *further]
    return [] if model == "scratch" else [p.finetune]


def builds_on(p: Params, model: str) -> list[str]:
    """The models that it is made from, each behind its own, and itself."""
    before: list[str] = [] if model == "scratch" else ["scratch"]
    if model in p.pretrain:
        before = [p.pretrain[model].start]
    elif model == "finetune":
        before = [p.finetune.start]
    elif model.startswith("student-"):
        name = model.removeprefix("student-")
        before = [*p.round_teachers(name), p.rounds[name].start]
    return list(dict.fromkeys([*(name for parent in before for name in builds_on(p, parent)), model]))


def measure(seed: int, file: Path, sets: list[str], measured: Measured, threads: int) -> None:
    """Whatever is not measured yet of one seed: every stage in this process, in a folder that is thrown away."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as temporary:
        made: dict[tuple[Path, str], str] = {}
        for case in cases(file, sets, Path(temporary)):
            own = read(case.file, sets).data.model_fields_set
            ours = [*sets, f"seed={seed}", *([] if "seed" in own else [f"data.seed={seed}"])]
            p, common = read(case.file, ours), {"sets": ours, "params": case.file}
            row: dict[str, Any] = {"settings": settings(p, case.model)}
            if measured.has(case.label, seed, row["settings"]):
                continue
            folder = Path(temporary, hashlib.sha256(p.data.model_dump_json().encode()).hexdigest()[:16])
            folder.mkdir(exist_ok=True)
            with contextlib.chdir(folder):
                if not Path("data/shards").exists():
                    for name in (None, *p.more):
                        prepare(name, **common)
                try:
                    for model in builds_on(p, case.model):
                        if made.get((folder, model)) != (wanted := settings(p, model)):
                            train(p, model, common)
                            made[folder, model] = wanted
                    evaluate(case.model, **common)
                    row |= _scores(case.model)
                except (Collapsed, Diverged) as error:
                    row |= {"stopped": str(error)}
            measured.keep(case.label, seed, row)


def _scores(model: str) -> dict[str, Any]:
    """The metrics of the table, and of a classifier the accuracy of each class."""
    folder = Path("data/scores", model)
    metrics = files.read_json(folder / "metrics.json")
    row = {key: metrics[key] for key in ("n", *SHOWN) if key in metrics}
    if (per_class := folder / "per_class.csv").exists():
        row["classes"] = {each["class"]: each["accuracy"] for each in csv.DictReader(per_class.open())}
    return row


def train(p: Params, model: str, common: dict[str, Any]) -> None:
    if model == "scratch":
        scratch(**common)
    elif model in p.pretrain:
        pretrain(model, **common)
    elif model in ("baseline", "finetune"):
        finetune(baseline=model == "baseline", **common)
    else:
        name = model.removeprefix("student-")
        for each in (name, *(key for key, further in p.teachers.items() if further.round == name)):
            label(each, **common)
        distill(name, **common)


Found = dict[str, list[dict[str, Any]]]


def found(every: list[Case], sets: list[str], rows: dict[str, dict[str, dict[str, Any]]], seeds: int) -> Found:
    """Of each line, the seeds that were measured with its present settings."""
    wanted = {case.label: settings(read(case.file, sets), case.model) for case in every}
    each = {label: [rows.get(label, {}).get(str(seed), {}) for seed in range(seeds)] for label in wanted}
    return {label: [row for row in its if row.get("settings") == wanted[label]] for label, its in each.items()}


def table(measured: Found, seeds: int) -> str:
    """One line a model."""
    shown = {
        key: title for key, title in SHOWN.items() if any(key in row for each in measured.values() for row in each)
    }
    lines = [f"| model | {' | '.join(shown.values())} |", "|---" * (len(shown) + 1) + "|"]
    for line, each in measured.items():
        cells = [_spread([100 * row[key] for row in each if key in row]) for key in shown]
        stopped = [row["stopped"].split(":")[0] for row in each if "stopped" in row]
        note = f" ({len(each)} of {seeds} seeds)" if 0 < len(each) < seeds else ""
        note += f" (stopped on {len(stopped)}: {stopped[0]})" if stopped else ""
        if each:
            lines.append(f"| {line}{note} | {' | '.join(cells)} |")
    return "\n".join(lines)


def classes_table(measured: Found) -> str:
    """The accuracy of each class, as in Smith and Conovaloff's table 1: one line a model, one column a class."""
    names = list(next(row["classes"] for each in measured.values() for row in each if "classes" in row))
    lines = [f"| model | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for line, each in measured.items():
        cells = [_spread([100 * float(row["classes"][name]) for row in each if "classes" in row]) for name in names]
        lines.append(f"| {line} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"


def write(name: str, text: str) -> None:
    """Between the two comments that a page has for this data set, if it has them."""
    block = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.S)
    for page in PAGES:
        page.write_text(pattern.sub(lambda _: block, page.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("seeds", type=int)
    parser.add_argument("-S", dest="sets", action="append", default=[])
    parser.add_argument("-j", dest="jobs", type=int, default=1)
    asked = parser.parse_args()
    file, threads = asked.file.resolve(), 1 if asked.jobs > 1 else torch.get_num_threads()
    name = "digits" if file.name == "params.yaml" else file.stem
    measured = Measured(ROOT / "benchmarks" / "measured" / f"{name}.json")
    one = partial(measure, file=file, sets=asked.sets, measured=measured, threads=threads)
    alone = multiprocessing.get_context("spawn")
    # SIGKILL: after SIGTERM a run would save, and its worker wait for ever for a parent that asks for more
    with ProcessPoolExecutor(asked.jobs, alone, initializer=follow_parent, initargs=(signal.SIGKILL,)) as workers:
        list(workers.map(one, range(asked.seeds)))
    with tempfile.TemporaryDirectory() as folder:
        every = cases(file, asked.sets, Path(folder))
        rows = found(every, asked.sets, measured.rows(), asked.seeds)
    host, n = machine(choose("auto")), next(row["n"] for each in rows.values() for row in each if "n" in row)
    text = (
        f"{table(rows, asked.seeds)}\n\n{asked.seeds} seeds (split, labels, weights), mean ± "
        f"standard deviation, last step, n = {n} test images; {host['cpu']}, {threads} of {host['cores']} cores a "
        f"seed, {host['device']}, torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}."
    )
    if Grid.at(file) and Grid.load(file).classes:
        text += f"\n\nAccuracy of each class, %:\n\n{classes_table(rows)}"
    print(text)
    write(name, text)


if __name__ == "__main__":
    main()
