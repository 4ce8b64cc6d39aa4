"""ssl-pipe distill"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def distill(
    round: Annotated[str, typer.Argument(help="A round of params.yaml.")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Train the student of a round on the labels and the chosen pseudo-labels.

    ssl-pipe distill 1 -S distill.select.threshold=0.8
    """
    p = read(params, sets)
    named("round", round, list(p.rounds))

    from pipeline import catalogue, files
    from pipeline.engine.hand_on import hand_on
    from pipeline.engine.run import Task, run
    from pipeline.label.chosen import chosen
    from pipeline.label.stop import skipped

    turn, name = p.rounds[round], f"student-{round}"
    if reason := skipped(ROOT / "labels" / round / turn.teacher):
        typer.echo(f"round {round} is skipped: {reason}", err=True)
        return hand_on(turn.teacher, name, reason, ROOT)
    labels, selection = chosen(round, p, ROOT)
    own = labels.opinions[0]
    task = Task(
        name=name,
        entry=catalogue.find(turn.method, "distill"),
        training=p.round_distill(round),
        start=turn.start,
        defines={"labels": [opinion.summary for opinion in labels.opinions]},
        teacher_size=max(opinion.summary["teacher_parameters"] for opinion in labels.opinions),
        about={"teacher": turn.teacher, "teacher_validation": own.summary["teacher_validation"]},
    )
    if "teacher" in task.entry.given:
        task.teacher = turn.teacher
        own.is_of(files.read_json(ROOT / "models" / turn.teacher / "model.json")["weights_sha256"])
    if task.entry.columns:
        task.rows, task.columns = selection.rows.repeat_interleave(selection.weights), {"teacher": labels.logits}
    elif task.entry.unlabelled:
        task.pseudo = selection.pseudo(labels.guess())
    run(task, p, ROOT)
