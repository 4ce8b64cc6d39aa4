"""ssl-pipe compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.command import ROOT


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Scored classifiers: NAME, NAME@REVISION (a commit, or an experiment of DVC), or a folder."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a README.")] = False,
) -> None:
    """Set classifiers beside the first: top-1, the paired difference on the same test images, and how sure it is.

    ssl-pipe compare baseline finetune student-2 student-2@my-experiment
    """
    import json

    from pipeline import compare as page
    from pipeline.errors import ParamsError

    if len(models) < 2:
        raise ParamsError("compare wants two models or more: the first is what the others are compared with")
    rows = page.compare([page.Scored.parse(name, predictions(name)) for name in models])
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif as_markdown:
        typer.echo(page.markdown(rows))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for place, head in enumerate(page.HEAD):
            table.add_column(head, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            table.add_row(*page.cells(row))
        Console(width=1000).print(table)  # as wide as it needs: rich would cut numbers to fit a narrow terminal
        typer.echo(page.notes(rows))


def predictions(name: str) -> str:
    """The text of confusion.csv: of a folder, of data/scores, or of that at a revision of the project."""
    from pipeline.errors import BadData

    folder = Path(name) if (Path(name) / "confusion.csv").exists() else ROOT / "scores" / name
    model, at, revision = name.partition("@")
    if at and not folder.exists():
        return of_revision(model, revision)
    try:
        return (folder / "confusion.csv").read_text()
    except (OSError, UnicodeDecodeError):
        raise BadData(f"{folder / 'confusion.csv'}: no such file; it is written by `ssl-pipe evaluate`") from None


def of_revision(model: str, revision: str) -> str:
    """As DVC has it, from its cache or a remote. Raises BadData where there is no such revision, or no file in it."""
    import dvc.api
    from dvc.exceptions import DvcException

    from pipeline.errors import BadData

    path = (ROOT / "scores" / model / "confusion.csv").as_posix()
    try:
        return dvc.api.read(path, rev=revision)
    except (DvcException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadData(f"{path} at {revision!r}: {reason}; `dvc exp show` lists the experiments") from None
