"""ssl-pipe label"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def label(
    name: Annotated[str, typer.Argument(help="A round of params.yaml, or a name of its `teachers`.")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Let the teacher of a round look at every unlabelled image: one sidecar of logits for each shard.

    ssl-pipe label 1 -S label.batch=512
    """
    p = read(params, sets)
    named("round", name, [*p.rounds, *p.teachers])

    from pipeline.label.run import run

    run(name, p, ROOT)
