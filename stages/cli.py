"""ssl-pipe: every stage of dvc.yaml as a command, and the tools around them. Nothing here imports torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from pipeline.engine.signals import end_with_parent
from pipeline.errors import PipeError
from stages import (
    audit,
    compare,
    distill,
    evaluate,
    finetune,
    label,
    prepare,
    pretrain,
    report,
    robustness,
    scan,
    scratch,
    tools,
)


class Panels(TyperGroup):
    """`--help` in plain text: importing rich would double its time. Panels, and whole sentences, as rich has them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands: Mapping[str, Any] = self.commands
        for panel in ("Stages", "Tools"):
            members = {name: each for name, each in commands.items() if each.rich_help_panel == panel}
            with formatter.section(panel):
                formatter.write_dl([(name, each.help.partition("\n\n")[0]) for name, each in members.items()])


app = typer.Typer(
    name="ssl-pipe",
    cls=Panels,
    help="A few labels and many unlabelled images in; a small, well-measured classifier out.",
    epilog="Everything at once: dvc repro",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for stage in (
    scan.scan,
    prepare.prepare,
    scratch.scratch,
    pretrain.pretrain,
    finetune.finetune,
    label.label,
    audit.audit,
    distill.distill,
    evaluate.evaluate,
    robustness.robustness,
    report.report,
):
    app.command(rich_help_panel="Stages")(stage)
for tool in (
    tools.methods,
    tools.params,
    tools.verify,
    tools.export,
    tools.choose,
    tools.materialise,
    tools.natural,
    compare.compare,
):
    app.command(rich_help_panel="Tools")(tool)


def main() -> None:
    """Errors that a user can act on are one line each, and an exit code that says of which kind."""
    end_with_parent()
    try:
        app()
    except PipeError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
