"""ssl-pipe scan"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def scan(
    name: Annotated[str | None, typer.Argument(help="A name of `more` in params.yaml; none means `data`.")] = None,
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """List the source images (names, sizes, times), so that DVC notices new ones.

    ssl-pipe scan
    """
    from pipeline import files
    from pipeline.data.scan import scan
    from pipeline.label import strangers

    p = read(params, sets)
    if name is None:
        files.write_json(ROOT / "source.json", scan(p.data))
        strangers.sweep(ROOT / "labels", p)  # here, since DVC runs `scan` before all else, in every repro
    else:
        named("more", name, list(p.more))
        data = p.data.model_copy(update={"source": p.more[name], "csv": None, "labels": None})
        files.write_json(ROOT / f"source-{name}.json", scan(data))
