"""ssl-pipe scan"""

from stages.command import PARAMS, ROOT, File, Sets, read


def scan(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """List the source images (names, sizes, times), so that DVC notices new ones.

    ssl-pipe scan
    """
    from pipeline import files
    from pipeline.data.scan import scan

    files.write_json(ROOT / "source.json", scan(read(params, sets).data))
