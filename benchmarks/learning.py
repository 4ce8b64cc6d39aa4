"""Does it learn? The whole graph over several seeds: mean and standard deviation of the test accuracy, last step.

python benchmarks/learning.py params.yaml 5                              digits, the demo itself
python benchmarks/learning.py benchmarks/cifar5k.yaml 3 -S data.source=FOLDER
python benchmarks/learning.py benchmarks/methods_digits.yaml 3 -j 2      every pretext method, and no student
python benchmarks/learning.py benchmarks/methods_cifar5k.yaml 3 -j 2 -S data.source=FOLDER

Each seed draws its own split, labels and weights. `-j`: seeds that run at the same time, one thread each. A model that
was measured is kept at once in benchmarks/measured/, with a hash of its settings, and not measured again while these
are the same: a table may take many evenings, and a changed run is the only one that is trained anew. (The hash is of
params.yaml, not of the code: remove the file after a change of a method.) The table goes into docs/results.md and
README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline import files
from pipeline.device import choose, machine
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
        if os.environ.get("DRY"):
            return
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path.parent / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = self.rows()
            rows.setdefault(model, {})[str(seed)] = row
            files.write_json(self.path, rows)


def settings(p: Params, model: str) -> str:
    """A hash of what a model's numbers depend on: of a pretraining run the runs that it builds on, of others all."""
    about: Any = p.model_dump(by_alias=True, exclude={"seed", "runtime", "final"})
    about["data"] |= {"seed": None, "source": Path(p.data.source).name}
    if p.data.labels is None:
        del about["data"]["labels"]  # it came later than the first rows, which are as good as before
    if model in ("scratch", *p.pretrain):
        about = {key: about[key] for key in ("data", "more", "encoder")}
        about["chain"] = [p.pretrain[run].model_dump(by_alias=True) for run in chain(p, model)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def chain(p: Params, run: str) -> list[str]:
    """The pretraining runs that `run` builds on, the first one first, and itself."""
    return [*chain(p, p.pretrain[run].start), run] if run in p.pretrain else []


def measure(seed: int, file: Path, sets: list[str], measured: Measured, threads: int) -> None:
    """Whatever is not measured yet of one seed: every stage in this process, in a folder that is thrown away."""
    torch.set_num_threads(threads)
    sets = [*sets, f"seed={seed}", f"data.seed={seed}"]
    p, common = read(file, sets), {"sets": sets, "params": file}
    missing = [model for model in models(p) if not measured.has(model, seed, settings(p, model))]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if missing:
            prepare(**common)
            scratch(**common)
        for model in missing:
            row = {"settings": settings(p, model)}
            try:
                for needed in builds_on(p, model):
                    if not Path("data/models", needed).exists():
                        train(p, needed, common)
                evaluate(model, **common)
                metrics = files.read_json(f"data/scores/{model}/metrics.json")
                row |= {key: metrics[key] for key in ("n", *SHOWN) if key in metrics}
            except (Collapsed, Diverged) as error:
                row |= {"stopped": str(error)}
            measured.keep(model, seed, row)


def models(p: Params) -> list[str]:
    return [model for model in p.models if model != "finetune" or p.finetune.start != "scratch"]


def builds_on(p: Params, model: str) -> Iterator[str]:
    """The models to train for it, the first one first, and itself."""
    if model in p.pretrain:
        yield from chain(p, model)
    elif model != "scratch":
        for each in models(p)[: models(p).index(model) + 1]:
            if each not in p.pretrain or each in chain(p, p.finetune.start):
                yield each


def train(p: Params, model: str, common: dict[str, Any]) -> None:
    if model in p.pretrain:
        pretrain(model, **common)
    elif model in ("baseline", "finetune"):
        finetune(baseline=model == "baseline", **common)
    else:
        label(model.removeprefix("student-"), **common)
        distill(model.removeprefix("student-"), **common)


def table(p: Params, rows: dict[str, dict[str, dict[str, Any]]], seeds: int) -> str:
    """One line a model, over the seeds that were measured with its present settings."""
    found = {m: [rows.get(m, {}).get(str(s), {}) for s in range(seeds)] for m in models(p)}
    found = {m: [row for row in each if row.get("settings") == settings(p, m)] for m, each in found.items()}
    shown = {key: title for key, title in SHOWN.items() if any(key in row for each in found.values() for row in each)}
    lines = [f"| model | {' | '.join(shown.values())} |", "|---" * (len(shown) + 1) + "|"]
    for model, each in found.items():
        cells = [_spread([100 * row[key] for row in each if key in row]) for key in shown]
        stopped = [row["stopped"].split(":")[0] for row in each if "stopped" in row]
        note = f" ({len(each)} of {seeds} seeds)" if 0 < len(each) < seeds else ""
        note += f" (stopped on {len(stopped)}: {stopped[0]})" if stopped else ""
        if each:
            lines.append(f"| {model}{note} | {' | '.join(cells)} |")
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
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as workers:
        list(workers.map(one, range(asked.seeds)))
    host, rows = machine(choose("auto")), measured.rows()
    n = next(iter(rows["scratch"].values()))["n"]
    text = (
        f"{table(read(file, asked.sets), rows, asked.seeds)}\n\n{asked.seeds} seeds (split, labels, weights), mean ± "
        f"standard deviation, last step, n = {n} test images; {host['cpu']}, {threads} of {host['cores']} cores a "
        f"seed, {host['device']}, torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}."
    )
    print(text)
    if not os.environ.get("DRY"):
        write(name, text)


if __name__ == "__main__":
    main()
