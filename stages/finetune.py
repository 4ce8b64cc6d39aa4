"""ssl-pipe finetune"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, read


def finetune(
    baseline: Annotated[bool, typer.Option("--baseline", help="The same from scratch, as `baseline`.")] = False,
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Train a classifier on the labelled images, from a pretrained encoder: the first teacher.

    ssl-pipe finetune -S finetune.frozen=true
    """
    p = read(params, sets)

    from pipeline import catalogue
    from pipeline.engine.run import Task, run

    chosen, entry = p.finetune, catalogue.find(p.finetune.method, "semi")
    if baseline:
        run(Task("baseline", entry, chosen, "scratch"), p, ROOT)
    else:
        run(Task("finetune", entry, chosen, chosen.start, chosen.layer, chosen.frozen), p, ROOT)
