"""Does it learn? The whole graph over several seeds: mean and standard deviation of the test accuracy, last step.

python benchmarks/learning.py params.yaml 5                              digits, the demo itself
python benchmarks/learning.py benchmarks/cifar5k.yaml 3 -S data.source=FOLDER
python benchmarks/learning.py benchmarks/methods_digits.yaml 3 -j 2      every pretext method, and no student
python benchmarks/learning.py benchmarks/methods_digits.yaml 3 -j 2 --only moco,dino

Each seed draws its own split, labels and weights. What was measured is kept in benchmarks/measured/, model by model and
seed by seed, so that `--only` (with what these runs build on) can renew some rows; the table goes into docs/results.md
and README.md. `--keep FOLDER` keeps what the stages make, and a call that finds it there goes on from it: for tables
that take longer than the machine is free. `-j`: seeds that run at the same time, one thread each. The cost of a run is
its training time per image over that of the run `simclr` of the same seed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
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
SHOWN = {"top1": ("top-1, %", 100), "linear": ("linear probe, %", 100), "knn": ("kNN, %", 100), "ece": ("ECE, %", 100),
         "cost": ("cost", 1)}  # fmt: skip
Scores = dict[str, dict[str, Any]]


def run(seed: int, file: Path, sets: list[str], only: list[str], keep: Path | None, threads: int) -> Scores:
    """Every stage in this process, in a folder of its own; the metrics of each model, or why it has none."""
    torch.set_num_threads(threads)
    sets = [*sets, f"seed={seed}", f"data.seed={seed}"]
    p, common, scores = read(file, sets), {"sets": sets, "params": file}, {}
    with contextlib.ExitStack() as stack:
        folder = keep / str(seed) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(folder))
        made = Path("data/models")
        if not (made / "scratch").exists():
            prepare(**common)
            scratch(**common)
        for name in needed(p, only):
            try:
                if not (made / name).exists():
                    pretrain(name, **common)
            except (Collapsed, Diverged) as error:
                scores[name] = {"stopped": str(error)}
        if not only:
            for name, baseline in {"baseline": True, "finetune": False}.items():
                if not (made / name).exists() and (baseline or p.finetune.start != "scratch"):
                    finetune(baseline=baseline, **common)
            for name in p.rounds:
                if not (made / f"student-{name}").exists():
                    label(name, **common)
                    distill(name, **common)
        for name in [name for name in p.models if (made / name).exists()]:
            if not Path("data/scores", name).exists():
                evaluate(name, **common)
            metrics = files.read_json(f"data/scores/{name}/metrics.json")
            scores[name] = {key: metrics[key] for key in ("n", *SHOWN) if key in metrics}
        for name in scores.keys() & p.pretrain.keys():
            if "simclr" in scores and "stopped" not in scores[name]:
                scores[name]["cost"] = seconds(name) / seconds("simclr")
    return scores


def needed(p: Params, only: list[str]) -> list[str]:
    """The pretraining runs to train, in order: `only` those, what they build on, and simclr for the cost."""
    wanted = {*only, "simclr"} if only else {*p.pretrain}
    for name in reversed(p.pretrain):
        if name in wanted:
            wanted.add(p.pretrain[name].start)
    return [name for name in p.pretrain if name in wanted]


def seconds(run: str) -> float:
    """Per image."""
    return 1 / files.read_json(f"data/times/{run}.json")["images_per_second"]


def table(measured: dict[str, Scores], models: list[str]) -> str:
    """One line a model, over its seeds: {model: {seed: metrics}} -> Markdown."""
    models = [name for name in models if name in measured]
    shown = {
        key: how for key, how in SHOWN.items() if any(key in s for name in models for s in measured[name].values())
    }
    lines = [f"| model | {' | '.join(title for title, _ in shown.values())} |", "|---" * (len(shown) + 1) + "|"]
    for name in models:
        seeds = measured[name].values()
        cells = [_spread([by * s[key] for s in seeds if key in s]) for key, (_, by) in shown.items()]
        stopped = [s["stopped"].split(":")[0] for s in seeds if "stopped" in s]
        note = f" (stopped on {len(stopped)} of {len(seeds)} seeds: {stopped[0]})" if stopped else ""
        lines.append(f"| {name}{note} | {' | '.join(cells)} |")
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
    parser.add_argument("--keep", type=lambda text: Path(text).resolve())
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    asked = parser.parse_args()
    file, threads = asked.file.resolve(), 1 if asked.jobs > 1 else torch.get_num_threads()
    name = "digits" if file.name == "params.yaml" else file.stem
    kept = ROOT / "benchmarks" / "measured" / f"{name}.json"
    measured = files.read_json(kept)["models"] if kept.exists() else {}
    one = partial(run, file=file, sets=asked.sets, only=asked.only, keep=asked.keep, threads=threads)
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as workers:
        for seed, scores in enumerate(workers.map(one, range(asked.seeds))):
            for model, metrics in scores.items():
                measured.setdefault(model, {})[str(seed)] = metrics
            print(f"seed {seed}:", {model: m.get("top1", m.get("linear")) for model, m in scores.items()}, flush=True)
    host = machine(choose("auto"))
    n = next(iter(measured["scratch"].values()))["n"]
    text = (
        f"{table(measured, read(file, asked.sets).models)}\n\n{asked.seeds} seeds (split, labels, weights), mean ± "
        f"standard deviation, last step, n = {n} test images; {host['cpu']}, {threads} of {host['cores']} cores a "
        f"seed, {host['device']}, torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}."
    )
    print(text)
    if not os.environ.get("DRY"):
        files.write_json(kept, {"machine": host, "models": measured})
        write(name, text)


if __name__ == "__main__":
    main()
