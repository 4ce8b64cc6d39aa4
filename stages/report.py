"""ssl-pipe report"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, read
from stages.past import head, repeats


def report(
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of scores; write no page.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Put everything that was measured on one page: data/report.html.

    ssl-pipe report --markdown
    """
    from pipeline import report as page
    from pipeline.errors import ParamsError

    if markdown and show:
        raise ParamsError("--markdown writes no page to open; leave one of the two out")
    p = read(params, sets)
    if markdown:
        typer.echo(page.markdown(ROOT, p))
        return
    page.build(ROOT, p, head(ROOT / "scores"), repeats(ROOT, params, p))
    if show:
        import webbrowser

        webbrowser.open((ROOT / "report.html").resolve().as_uri())
