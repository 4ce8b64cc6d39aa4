"""The ops and their arguments, read from the source of `ops/` without importing it.

The fields of an op's class are its arguments: they are declared once, beside the code that uses them. Reading them with
`ast` keeps torch out of everything that only has to know whether a recipe is right (params.yaml, `--help`).
"""

from __future__ import annotations

import ast
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

from pipeline.views import ranges

Value = float | int | None


class Argument(NamedTuple):
    name: str
    range: ranges.Range
    optional: bool  # None is allowed
    default: str | None  # as the source spells it; None: the argument must be given

    @property
    def value(self) -> Value:
        """The default. `Fraction` reads both `.08` and `4 / 3`."""
        return None if self.default in (None, "None") else float(Fraction(self.default.replace(" ", "")))

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default.replace(' ', '')}"


class Signature(NamedTuple):
    arguments: dict[str, Argument]
    about: str  # the docstring

    def __str__(self) -> str:
        return ", ".join(map(str, self.arguments.values())) or "no arguments"


def _argument(field: ast.AnnAssign) -> Argument:
    kind, _, optional = ast.unparse(field.annotation).partition(" | ")
    _, allowed = get_args(getattr(ranges, kind))
    default = number(ast.literal_eval(field.value)) if isinstance(field.value, ast.Constant) else None
    if field.value is not None and default is None:
        default = ast.unparse(field.value)
    return Argument(ast.unparse(field.target), allowed, optional == "None", default)


@cache
def signatures() -> dict[str, Signature]:
    """Name of the op -> its signature, for every subclass of Op in `ops/`, by name."""
    found = {}
    for path in (Path(__file__).parent / "ops").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "Op" in map(ast.unparse, node.bases):
                fields = [_argument(f) for f in node.body if isinstance(f, ast.AnnAssign)]
                found[node.name.lower()] = Signature({f.name: f for f in fields}, ast.get_docstring(node) or "")
    return dict(sorted(found.items()))


def number(value: Value) -> str:
    """The shortest text of a value, as recipes write it: .2, 1, 16, None."""
    text = repr(value).removesuffix(".0")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
