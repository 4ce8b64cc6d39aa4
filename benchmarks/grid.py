"""An experiment of many rows: one params.yaml, and what each row changes in it.

python benchmarks/grid.py benchmarks/grids/fixmatch.yaml             the commands, to look at
python benchmarks/grid.py benchmarks/grids/fixmatch.yaml --queue     for `dvc queue start` and `dvc exp show`
python benchmarks/learning.py benchmarks/grids/fixmatch.yaml 3       the same over seeds, in one process, as a table

A grid is YAML: `params` (the file that all rows start from, beside the grid or above it), `common` (what all rows
change), `rows` (name -> what it changes), and `classes: true` where the table is to show each class. What is measured
is `final`, the model that the parameters are for. Any data set does: `-S data.source=FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.params import Params

Tree = dict[str, Any]


@dataclass
class Grid:
    """`common` and `rows` are overlays: nested, and the last value wins."""

    path: Path
    params: str
    rows: dict[str, Tree]
    common: Tree = field(default_factory=dict)
    classes: bool = False

    @staticmethod
    def at(path: Path) -> bool:
        return "rows" in YAML(typ="safe").load(path)

    @classmethod
    def load(cls, path: Path) -> Grid:
        return cls(path, **YAML(typ="safe").load(path))

    def changes(self, row: str) -> Tree:
        return overlay(self.common, self.rows[row] or {})

    @property
    def base(self) -> Tree:
        return YAML(typ="safe").load(self.path.parent / self.params)

    def whole(self, row: str) -> Tree:
        return overlay(self.base, self.changes(row))

    def write(self, row: str, folder: Path) -> Path:
        """The whole params.yaml of a row."""
        path = folder / f"{slug(row)}.yaml"
        YAML().dump(self.whole(row), path)
        return path

    def command(self, row: str, sets: list[str]) -> list[str]:
        """`++` sets a key whether params.yaml has it or not; sections of another file come in its place, whole."""
        base = (self.path.parent / self.params).resolve()
        other = {} if base == Path("params.yaml").resolve() else self.base
        values = [f"~{section}" for section in other]
        values += [f"++{key}={quoted(value)}" for key, value in leaves(overlay(other, self.changes(row)))]
        values += [f"++{each}" for each in sets]
        words = [word for value in values for word in ("-S", value)]
        name = f"{self.path.stem.replace('_', '-')}-{slug(row)}"
        stage = measuring(Params.model_validate(self.whole(row)).final)
        return ["dvc", "exp", "run", "--queue", "-n", name, *words, stage]


def measuring(model: str) -> str:
    """The stage that measures a model."""
    if model.startswith("student-"):
        return f"evaluate-student@{model.removeprefix('student-')}"
    if model in ("baseline", "finetune"):
        return f"evaluate@{model}"
    return "probe-scratch" if model == "scratch" else f"probe@{model}"


def overlay(below: Tree, above: Tree) -> Tree:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def leaves(tree: Tree, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def quoted(value: Any) -> str:
    """As Hydra's grammar of overrides has it, which `dvc exp run -S` reads: strings in quotes, all else as in JSON."""
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    return json.dumps(value)


def slug(row: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path)
    parser.add_argument("-S", dest="sets", action="append", default=[])
    parser.add_argument("--queue", action="store_true")
    asked = parser.parse_args()
    grid = Grid.load(asked.grid)
    for row in grid.rows:
        command = grid.command(row, asked.sets)
        print(shlex.join(command), flush=True)
        if asked.queue:
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
