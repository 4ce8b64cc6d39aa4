"""ssl-pipe methods, params, verify, export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, read


def methods(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List every method: family, paper, views, knobs with their defaults."""
    import json

    from pipeline import catalogue

    if as_json:
        typer.echo(json.dumps([entry.describe() for entry in catalogue.entries()], indent=1))
        return
    for entry in catalogue.entries():
        typer.secho(f"{entry.name}", bold=True, nl=False)
        typer.echo(f" ({entry.family}): {entry.paper}\n    {entry.summary} {entry.use}".rstrip())
        for view, recipe in (entry.labelled | entry.unlabelled).items():
            typer.echo(f"    view  {view}: {recipe}")
        for knob, (kind, default) in entry.knobs.items():
            typer.echo(f"    knob  {knob}: {catalogue.type_name(kind)} = {default!r}")


def params(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """Check params.yaml, and print the values that the stages will see."""
    import json

    typer.echo(json.dumps(read(params, sets).model_dump(by_alias=True), indent=2))


def verify() -> None:
    """Check everything under data/ against its hashes. Exit code 65 where something is wrong."""
    from pipeline.errors import BadData
    from pipeline.verify import verify

    findings = list(verify(ROOT))
    if findings:
        raise BadData("\n".join(findings))
    typer.echo("all of data/ is what it should be")


def export(
    name: Annotated[str, typer.Argument(help="A model, e.g. student-2.")],
    folder: Annotated[Path, typer.Argument(help="Where to.")],
) -> None:
    """Write a model as a folder that timm loads: timm.create_model("local-dir:FOLDER", pretrained=True)."""
    from pipeline.export import export
    from pipeline.nets.model import load_model

    export(load_model(ROOT / "models" / name), folder)
