"""Which files of ours a file imports, at any depth, read from the source text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _file(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only the type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _run(node)


@cache
def _imports(file: Path) -> frozenset[Path]:
    found = set()
    package = file.parent.relative_to(ROOT).parts
    for node in _run(ast.parse(file.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join((*package[: len(package) - node.level + 1], node.module or "")).strip(".")
            base = base if node.level else node.module or ""
            modules = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for module in modules:
            parts = module.split(".")
            if parts[0] in ("pipeline", "stages"):
                found |= {_file(".".join(parts[:n])) for n in range(1, len(parts) + 1)}
    return frozenset(found - {None, file})


def closure(*entries: Path, without: Path | None = None) -> set[Path]:
    """The entries and all that they import, but not by way of `without`.

    Files without a statement (most `__init__.py`) are left out: they hold nothing that could change a result.
    """
    seen: set[Path] = set()
    todo = list(entries)
    while todo:
        file = todo.pop()
        if file not in seen and file != without:
            seen.add(file)
            todo += _imports(file)
    return {file.relative_to(ROOT) for file in seen if _says_something(file)}


def _says_something(file: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)
