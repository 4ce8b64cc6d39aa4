"""What methods there are, read from their source text: nothing is imported, so that `ssl-pipe methods` answers at once.

A method is the one class in `methods/<family>/<name>.py`. Its knobs are the keyword arguments of `__init__` that have a
default; keyword arguments without one (`classes`, ...) are given by the stage.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from pipeline.errors import ParamsError
from pipeline.views import recipes

if TYPE_CHECKING:
    from pipeline.methods.method import Method

HERE = Path(__file__).parent / "methods"
FAMILIES = ("pretext", "semi", "distill")
TYPES: dict[str | None, Any] = {"int": int, "float": float, "bool": bool, "str": str, None: None}


@dataclass(frozen=True)
class Entry:
    """One method as its source declares it."""

    name: str
    family: str
    paper: str
    summary: str
    """The idea, in a sentence or two, and what a knob's name does not say."""
    use: str
    """When to choose it: the paragraph of the docstring that begins with `Use it`."""
    labelled: dict[str, str]
    unlabelled: dict[str, str]
    columns: tuple[str, ...]
    knobs: dict[str, tuple[Any, Any]] = field(hash=False)
    """knob -> (type, default)"""
    given: tuple[str, ...] = ()
    """What the stage hands over beside the encoder."""

    def describe(self) -> dict[str, Any]:
        """Plain JSON."""
        knobs = {knob: {"type": type_name(kind), "default": default} for knob, (kind, default) in self.knobs.items()}
        views = {"labelled": self.labelled, "unlabelled": self.unlabelled}
        about = {
            "name": self.name,
            "family": self.family,
            "paper": self.paper,
            "summary": self.summary,
            "use": self.use,
        }
        return {**about, "views": views, "columns": self.columns, "knobs": knobs}

    def load(self) -> type[Method]:
        module = importlib.import_module(f"pipeline.methods.{self.family}.{self.name}")
        return next(c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__)


@cache
def entries() -> tuple[Entry, ...]:
    return tuple(
        _read(path) for family in FAMILIES for path in sorted((HERE / family).glob("*.py")) if path.stem != "__init__"
    )


def find(name: str, family: str) -> Entry:
    """Raises ParamsError naming the methods of the family."""
    of_family = {entry.name: entry for entry in entries() if entry.family == family}
    if name not in of_family:
        raise ParamsError(f"{name!r} is no method of the family {family}; choose one of {', '.join(of_family)}")
    return of_family[name]


def _read(path: Path) -> Entry:
    body = next(node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
    says = dict(pair for node in body.body if isinstance(node, ast.Assign) for pair in _assigned(node))
    init = next(node for node in body.body if isinstance(node, ast.FunctionDef) and node.name == "__init__").args
    paper, *paragraphs = (" ".join(part.split()) for part in (ast.get_docstring(body) or "").split("\n\n"))
    arguments = list(zip(init.kwonlyargs, init.kw_defaults, strict=True))
    return Entry(
        name=path.stem,
        family=path.parent.name,
        paper=paper,
        summary=" ".join(part for part in paragraphs if not part.startswith("Use it")),
        use=next((part for part in paragraphs if part.startswith("Use it")), ""),
        labelled=says.get("labelled", {}),
        unlabelled=says.get("unlabelled", {}),
        columns=says.get("columns", ()),
        knobs={a.arg: (_type(a.annotation), ast.literal_eval(d)) for a, d in arguments if d is not None},
        given=tuple(a.arg for a, d in arguments if d is None),
    )


def _assigned(node: ast.Assign) -> Iterator[tuple[str, Any]]:
    """`a = x` and `a, b = x, y`."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=True)
    else:
        pairs = zip([target], [value], strict=True)
    return ((name.id, _value(says)) for name, says in pairs if isinstance(name, ast.Name))


def _value(node: ast.expr) -> Any:
    """`dict(a=SIMCLR)` or a tuple of words; names are recipes."""
    if isinstance(node, ast.Call):
        return {word.arg: _value(word.value) for word in node.keywords}
    if isinstance(node, ast.Name):
        return getattr(recipes, node.id)
    return ast.literal_eval(node)


def _type(node: ast.AST | None) -> Any:
    match node:
        case ast.Name(id=name):
            return TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_type(left), _type(right)]  # noqa: UP007 - the types are known at run time only
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            values = ast.literal_eval(choices)
            return Literal[values if isinstance(values, tuple) else (values,)]
    raise TypeError(
        f"a knob's annotation must be a plain type, a Literal or a union of them: {node and ast.unparse(node)}"
    )


def type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
