"""ssl-pipe prepare"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def prepare(
    name: Annotated[str | None, typer.Argument(help="A name of `more` in params.yaml; none means `data`.")] = None,
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Make the splits, and write them as webdataset shards; or the shards of further images without labels.

    ssl-pipe prepare -S data.source=/path/to/folder
    """
    import time

    from pipeline import files
    from pipeline.data.prepare import prepare, prepare_more

    p, started = read(params, sets), time.monotonic()
    if name is None:
        stage, counts = "prepare", prepare(p.data, ROOT, p.runtime.workers)
    else:
        named("more", name, list(p.more))
        stage, counts = f"prepare-{name}", prepare_more(p.data, p.more[name], ROOT, name, p.runtime.workers)
    files.write_json(
        ROOT / "times" / f"{stage}.json", {"stage": stage, "seconds": time.monotonic() - started, **counts}
    )
