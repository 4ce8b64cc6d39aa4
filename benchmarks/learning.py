"""Does it learn? The whole graph over several seeds: mean and standard deviation of the test accuracy, last step.

python benchmarks/learning.py params.yaml 5                              digits, the demo itself
python benchmarks/learning.py benchmarks/cifar5k.yaml 3 -S data.source=FOLDER
python benchmarks/learning.py benchmarks/methods_digits.yaml 3           every pretext method, and no student
python benchmarks/learning.py benchmarks/methods_cifar5k.yaml 3 -S data.source=FOLDER

Each seed draws its own split, labels and weights. Prints a table, and writes it into docs/results.md and README.md. The
cost of a run is its training time per image over that of the run `simclr`.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from pipeline import files
from pipeline.device import choose, machine
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


def run(file: Path, sets: list[str]) -> dict[str, dict[str, float]]:
    """Every stage in this process, in an empty folder; the metrics of each model."""
    p = read(file, sets)
    common = {"sets": sets, "params": file}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        prepare(**common)
        scratch(**common)
        for name in p.pretrain:
            pretrain(name, **common)
        finetune(baseline=True, **common)
        if p.finetune.start != "scratch":
            finetune(baseline=False, **common)
        for name in p.rounds:
            label(name, **common)
            distill(name, **common)
        models = [name for name in p.models if Path("data/models", name).exists()]
        for name in models:
            evaluate(name, **common)
        scores = {name: files.read_json(f"data/scores/{name}/metrics.json") for name in models}
        for name in p.pretrain:
            scores[name]["cost"] = cost(name) / cost("simclr")
        return scores


def cost(run: str) -> float:
    """Seconds per image."""
    return 1 / files.read_json(f"data/times/{run}.json")["images_per_second"]


def table(scores: list[dict[str, dict[str, float]]]) -> str:
    lines = ["| model | top-1, % | linear probe, % | kNN, % | ECE, % | cost |", "|---|---|---|---|---|---|"]
    shown = {"top1": 100, "linear": 100, "knn": 100, "ece": 100, "cost": 1}
    for name in scores[0]:
        columns = ([by * s[name][key] for s in scores if key in s[name]] for key, by in shown.items())
        cells = [_spread(column) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
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
    file, seeds = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    extra = [value for flag, value in zip(sys.argv[3:], sys.argv[4:], strict=False) if flag == "-S"]
    started, scores = time.monotonic(), []
    for seed in range(seeds):
        scores.append(run(file, [*extra, f"seed={seed}", f"data.seed={seed}"]))
        shares = {name: m.get("top1", m.get("linear", 0)) for name, m in scores[-1].items()}
        print(f"seed {seed}:", {name: f"{share:.1%}" for name, share in shares.items()}, flush=True)
    host = machine(choose("auto"))
    minutes = (time.monotonic() - started) / 60 / seeds
    text = (
        f"{table(scores)}\n\n{seeds} seeds (split, labels, weights), mean ± standard deviation, last step, "
        f"n = {scores[0]['baseline']['n']} test images; {minutes:.1f} minutes a seed on {host['cpu']}, "
        f"{host['cores']} cores, {host['device']}, torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}."
    )
    print(text)
    if not os.environ.get("DRY"):
        write("digits" if file.name == "params.yaml" else file.stem, text)


if __name__ == "__main__":
    main()
