"""What does an image cost? Training time per image of every pretext method, over that of SimCLR. Wants an idle machine.

python benchmarks/cost.py -S data.source=FOLDER      with the settings of benchmarks/methods_cifar5k.yaml

Three epochs of each run, with whatever the method does between epochs. Writes a table into docs/results.md.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch
from learning import builds_on, write

from pipeline import files
from pipeline.device import choose, machine
from stages.command import read
from stages.prepare import prepare
from stages.pretrain import pretrain
from stages.scratch import scratch

FILE, STEPS = Path(__file__).with_name("methods_cifar5k.yaml"), 120


def main() -> None:
    sets = [value for flag, value in zip(sys.argv[1:], sys.argv[2:], strict=False) if flag == "-S"]
    runs = [name for name, run in read(FILE, sets).pretrain.items() if run.steps >= STEPS]
    sets += [f"pretrain.{name}.{key}" for name in runs for key in (f"steps={STEPS}", "monitors=0")]
    p, common = read(FILE, sets), {"sets": sets, "params": FILE}
    rates = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        prepare(**common)
        scratch(**common)
        for name in runs:
            assert {*builds_on(p, name)} <= {"scratch", name, *rates}, "runs stand in the order of what they build on"
            pretrain(name, **common)
            rates[name] = files.read_json(f"data/times/{name}.json")["images_per_second"]
            print(f"{name}: {rates[name]:.0f} images/s, {rates['simclr'] / rates[name]:.2f}", flush=True)
    host = machine(choose("auto"))
    lines = ["| run | images/s | cost |", "|---|---|---|"]
    lines += [f"| {name} | {rate:.0f} | {rates['simclr'] / rate:.2f} |" for name, rate in rates.items()]
    text = (
        "\n".join(lines) + f"\n\n{STEPS} steps of 128 images of 32 pixels, once; {host['cpu']}, {host['cores']} cores, "
        f"{host['device']}, torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}."
    )
    print(text)
    write("methods_cost", text)


if __name__ == "__main__":
    main()
