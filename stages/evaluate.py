"""ssl-pipe evaluate"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def evaluate(
    name: Annotated[
        str, typer.Argument(help="A model: scratch, a pretraining run, baseline, finetune, student-1, ...")
    ],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Measure a model on the test images: a classifier as it is, an encoder by probes on its frozen features.

    ssl-pipe evaluate student-2
    """
    p = read(params, sets)
    named("model", name, p.models)

    from pipeline.score.run import run

    run(name, p, ROOT)
