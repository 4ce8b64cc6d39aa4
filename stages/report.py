"""ssl-pipe report"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, read


def report(
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of scores; write no page.")] = False,
) -> None:
    """Put everything that was measured on one page: data/report.html.

    ssl-pipe report --markdown
    """
    from pipeline import report as page

    p = read(params, sets)
    if markdown:
        typer.echo(page.markdown(ROOT, p))
    else:
        page.build(ROOT, p)
