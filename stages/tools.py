"""ssl-pipe methods, params, verify, export, choose, materialise, natural"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


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


def verify(
    folder: Annotated[Path, typer.Argument(help="A data folder, or a single folder of shards.")] = ROOT,
) -> None:
    """Check everything under data/ against its hashes. Exit code 65 where something is wrong."""
    from pipeline.errors import BadData
    from pipeline.verify import verify

    findings = list(verify(folder))
    if findings:
        raise BadData("\n".join(findings))
    typer.echo(f"all of {folder}/ is what it should be")


def export(
    name: Annotated[str, typer.Argument(help="A model, e.g. student-2.")],
    folder: Annotated[Path, typer.Argument(help="Where to.")],
) -> None:
    """Write a model as a folder that timm loads: timm.create_model("local-dir:FOLDER", pretrained=True)."""
    from pipeline.export import export
    from pipeline.nets.model import load_model

    export(load_model(ROOT / "models" / name), folder)


def choose(
    name: Annotated[str, typer.Argument(help="A model: a pretraining run, finetune, student-1, ...")],
    folder: Annotated[Path, typer.Argument(help="Where to: labels.csv, and the images.")],
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Images in all; none means one for each class.")
    ] = None,
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Choose the images that a person should label: the most typical of each cluster, or of each class guessed."""
    p = read(params, sets)

    from pipeline.label.choose import run

    for row in run(name, count, folder, p, ROOT):
        typer.echo(f"{row['picture']}  {row['distance']:.4f}  {row['cluster']}  {row['key']}")
    typer.echo(f"fill in the column `label` of {folder / 'labels.csv'}, and set data.labels to that file")


def materialise(
    round: Annotated[str, typer.Argument(help="A round of params.yaml.")],
    to: Annotated[Path | None, typer.Option("--to", help="Where to; none means data/materialised/ROUND.")] = None,
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Write the pseudo-labels that a round selects, with their images, as webdataset shards for other programs."""
    p = read(params, sets)
    named("round", round, list(p.rounds))

    from pipeline.errors import ParamsError
    from pipeline.label.chosen import chosen
    from pipeline.label.materialise import materialise
    from pipeline.label.stop import skipped

    if reason := skipped(ROOT / "labels" / round / p.rounds[round].teacher):
        raise ParamsError(f"round {round} is skipped and has no labels: {reason}; name another round")
    to = to or ROOT / "materialised" / round
    labels, selection = chosen(round, p, ROOT)
    materialise(labels, selection, to, p.data.shard)
    teachers = " and ".join(labels.teachers)
    typer.echo(f"{len(selection.rows)} of {len(labels)} images, labelled by {teachers}, are in {to}")


def natural(
    name: Annotated[str, typer.Argument(help="A classifier: baseline, finetune, student-1, ...")],
    folder: Annotated[Path, typer.Argument(help="Class folders, named as some of its classes.")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Measure a classifier on a folder of hard images, such as ImageNet-A. Guesses are among its classes alone."""
    p = read(params, sets)
    named("model", name, p.models)

    from pipeline.files import dumps
    from pipeline.robustness.natural import natural

    typer.echo(dumps(natural(name, folder, p, ROOT)), nl=False)
