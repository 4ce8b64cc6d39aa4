"""The recipe language: `crop(.2)|flip|jitter(.4)|grey(.2)`, ops from left to right. No torch, no eval."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from pipeline.errors import ParamsError
from pipeline.views.signatures import Signature, Value, number, signatures

LONGEST = 1000  # characters; bounds the depth of what `ast` is given


class Step(NamedTuple):
    """One op and the arguments that were given, by name, in the order of their declaration."""

    name: str
    arguments: dict[str, Value]

    def __str__(self) -> str:
        declared = list(signatures()[self.name].arguments)
        given = [
            number(value) if declared[i] == name else f"{name}={number(value)}"  # positional while none is left out
            for i, (name, value) in enumerate(self.arguments.items())
        ]
        return f"{self.name}({', '.join(given)})" if given else self.name


@dataclass(frozen=True)
class Recipe:
    """How a view is made. `str(recipe)` is its canonical text, and `parse(str(recipe)) == recipe`."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "|".join(map(str, self.steps))


class _Bad(Exception):
    """A problem and where it starts in the text that was looked at, counted from 0."""

    def __init__(self, start: int, problem: str):
        self.start, self.problem = start, problem


def parse(text: str) -> Recipe:
    """Raises ParamsError with the column (from 1) and what is known there: op names, or an op's arguments."""
    if len(text) > LONGEST:
        raise ParamsError(f"recipe of {len(text):,} characters; at most {LONGEST:,} are allowed")
    steps, start = [], 0
    try:
        if strange := re.search(r"[^ -~]", text):
            raise _Bad(strange.start(), f"{strange[0]!a} has no meaning here; use letters, digits and | ( ) , = .")
        for piece in text.split("|"):
            indent = len(piece) - len(piece.lstrip())
            start += indent
            steps.append(_step(piece.strip()))
            start += len(piece) - indent + 1
    except _Bad as bad:
        column = bad.start + start + 1
        raise ParamsError(f"recipe {text!r}: column {column}: {bad.problem}") from None
    return Recipe(tuple(steps))


def _step(text: str) -> Step:
    if not text:
        raise _Bad(0, f"an op is missing; known: {', '.join(signatures())}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows says more
            node = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise _Bad(max((error.offset or 1) - 1, 0), f"{error.msg}; an op is a name or name(arguments)") from None
    except (ValueError, RecursionError, MemoryError):
        raise _Bad(0, "too deep; an op is a name or name(arguments)") from None
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name):
        raise _Bad(0, "an op is a name or name(arguments)")
    if name.id not in signatures():
        _unknown(name.id, 0, list(signatures()), f"no op {name.id!r}; known: {', '.join(signatures())}")
    return Step(name.id, _arguments(name.id, node, text) if isinstance(node, ast.Call) else _complete(name.id, {}))


def _unknown(name: str, start: int, known: list[str], problem: str) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    raise _Bad(start, problem + (f"; did you mean {near[0]!r}?" if near else ""))


def _arguments(op: str, call: ast.Call, text: str) -> dict[str, Value]:
    signature = signatures()[op]
    names = list(signature.arguments)
    if len(call.args) > len(names):
        raise _Bad(call.args[len(names)].col_offset, f"{op} takes at most {len(names)} arguments: {signature}")
    given = {name: _value(op, name, node, text) for name, node in zip(names, call.args, strict=False)}
    for keyword in call.keywords:
        if keyword.arg not in signature.arguments:
            name = keyword.arg or "**"
            _unknown(name, keyword.col_offset, names, f"{op} has no argument {name!r}; it takes {signature}")
        if keyword.arg in given:
            raise _Bad(keyword.col_offset, f"{op} gets {keyword.arg!r} twice")
        given[keyword.arg] = _value(op, keyword.arg, keyword.value, text)
    return _complete(op, {name: given[name] for name in names if name in given})


def _value(op: str, name: str, node: ast.expr, text: str) -> Value:
    argument = signatures()[op].arguments[name]
    allowed, found = f"{argument.range}{' or None' * argument.optional}", text[node.col_offset : node.end_col_offset]
    wrong = _Bad(node.col_offset, f"{name} of {op} must be {allowed}, not {found}")
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise wrong from None
    if value is None and argument.optional:
        return None
    if type(value) not in ((int,) if argument.range.whole else (int, float)):
        raise wrong
    if not argument.range.low <= value <= argument.range.high:
        raise wrong
    return value if argument.range.whole else float(value)


def _complete(op: str, given: dict[str, Value]) -> dict[str, Value]:
    """Every argument without a default is there, and no `x_min` is above `x_max` (or `x`)."""
    signature: Signature = signatures()[op]
    for name, argument in signature.arguments.items():
        if argument.default is None and name not in given:
            raise _Bad(0, f"{op} needs {name}; it takes {signature}")
    value = {name: argument.value for name, argument in signature.arguments.items()} | given
    for name, low in value.items():
        stem = name.removesuffix("min")
        top = stem + "max" if stem + "max" in value else stem.rstrip("_")
        high = value[top]
        if name.endswith("min") and low is not None and high is not None and low > high:
            raise _Bad(0, f"{op} has {name}={number(low)} above {top}={number(high)}")
    return given
