"""ssl-pipe robustness"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def robustness(
    name: Annotated[str, typer.Argument(help="A classifier: baseline, finetune, student-1, ...")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Measure a classifier on test images that are corrupted, perturbed or attacked.

    ssl-pipe robustness student-2
    """
    p = read(params, sets)
    named("model", name, p.models)

    from pipeline.robustness.run import run

    run(name, p, ROOT)
