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
    from pipeline.data.shards import ShardSet
    from pipeline.engine.hand_on import hand_on
    from pipeline.engine.run import Task, run
    from pipeline.label.labels import Labels
    from pipeline.label.select import select
    from pipeline.label.stop import skipped

    chosen, training, name = p.rounds[round], p.round_distill(round), f"student-{round}"
    if reason := skipped(ROOT / "labels" / round / chosen.teacher):
        typer.echo(f"round {round} is skipped: {reason}", err=True)
        return hand_on(chosen.teacher, name, reason, ROOT)
    shards = ShardSet.open(ROOT / "shards" / "unlabelled")
    labels = Labels.open(ROOT / "labels" / round, shards, p.round_teachers(round))
    own, classes = labels.opinions[0], len(shards.manifest.classes)
    selection = select(labels.confidence(), labels.guess(), shards.keys, training.select, p.seed, classes)
    task = Task(
        name=name,
        entry=catalogue.find(chosen.method, "distill"),
        training=training,
        start=chosen.start,
        defines={"labels": [opinion.summary for opinion in labels.opinions]},
        teacher_size=max(opinion.summary["teacher_parameters"] for opinion in labels.opinions),
        about={"teacher": chosen.teacher, "teacher_validation": own.summary["teacher_validation"]},
    )
    if "teacher" in task.entry.given:
        task.teacher = chosen.teacher
        own.is_of(files.read_json(ROOT / "models" / chosen.teacher / "model.json")["weights_sha256"])
    if task.entry.columns:
        task.rows, task.columns = selection.rows.repeat_interleave(selection.weights), {"teacher": labels.logits}
    elif task.entry.unlabelled:
        task.pseudo = selection.pseudo(labels.guess())
    run(task, p, ROOT)
