"""ssl-pipe pretrain"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def pretrain(
    run: Annotated[str, typer.Argument(help="A run of `pretrain` in params.yaml.")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Train an encoder on the unlabelled images (self-supervised).

    ssl-pipe pretrain simclr -S pretrain.simclr.steps=500
    """
    p = read(params, sets)
    named("pretrain", run, list(p.pretrain))

    from pipeline import catalogue
    from pipeline.engine.run import Task
    from pipeline.engine.run import run as train

    chosen = p.pretrain[run]
    train(Task(run, catalogue.find(chosen.method, "pretext"), chosen, chosen.start, images=chosen.images), p, ROOT)
