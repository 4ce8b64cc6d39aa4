"""ssl-pipe prepare"""

from stages.command import PARAMS, ROOT, File, Sets, read


def prepare(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """Make the splits, and write them as webdataset shards.

    ssl-pipe prepare -S data.source=/path/to/folder
    """
    import time

    from pipeline import files
    from pipeline.data.prepare import prepare

    p, started = read(params, sets), time.monotonic()
    counts = prepare(p.data, ROOT, p.runtime.workers)
    files.write_json(
        ROOT / "times" / "prepare.json", {"stage": "prepare", "seconds": time.monotonic() - started, **counts}
    )
