"""What every command of `ssl-pipe` shares: its options, its parameters, its errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.params import Params

Sets = Annotated[
    list[str],
    typer.Option("--set", "-S", metavar="KEY=VALUE", help="Another value for one key of params.yaml, in this run."),
]
File = Annotated[Path, typer.Option("--params", metavar="FILE", help="The parameter file.", envvar="SSL_PIPE_PARAMS")]
PARAMS = Path("params.yaml")
ROOT = Path("data")


def read(file: Path, sets: Sequence[str]) -> Params:
    """The validated parameters. Raises ParamsError, also for -S inside DVC, which would not see the value."""
    from pipeline import yaml_file
    from pipeline.errors import ParamsError

    if sets and "DVC_STAGE" in os.environ:
        raise ParamsError("-S inside DVC would pass by params.yaml; use `dvc exp run -S ...`")
    return yaml_file.load(file, sets)


def parse(text: str, file: Path) -> Params:
    """The same of what a file holds at another revision."""
    from pipeline import yaml_file

    return yaml_file.parse(text, file)


def named(kind: str, name: str, known: Sequence[str]) -> None:
    """Raises ParamsError where params.yaml has no such name."""
    from pipeline.errors import ParamsError

    if name not in known:
        raise ParamsError(f"{kind} {name!r} is not in params.yaml; it has {', '.join(known) or 'none'}")
