"""ssl-pipe audit"""

from stages.command import PARAMS, ROOT, File, Sets, read


def audit(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """Measure the pseudo-labels of every round, against the hidden truth where there is one. Nothing learns from it.

    ssl-pipe audit
    """
    p = read(params, sets)

    from pipeline import catalogue, files
    from pipeline.data.shards import ShardSet
    from pipeline.label.audit import audit, write_audit
    from pipeline.label.labels import Labels
    from pipeline.label.select import select
    from pipeline.label.stop import skipped

    shards, previous = ShardSet.open(ROOT / "shards" / "unlabelled"), None
    truth, classes = files.read_json(ROOT / "truth" / "unlabelled.json")["labels"], shards.manifest.classes
    with files.publish(ROOT / "audits") as folder:
        for name, each in p.rounds.items():
            if skipped(ROOT / "labels" / name / each.teacher):
                continue
            labels = Labels.open(ROOT / "labels" / name, shards, p.round_teachers(name))
            rules = p.round_distill(name).select
            selection = select(labels.confidence(), labels.guess(), shards.keys, rules, p.seed, len(classes))
            if not catalogue.find(each.method, "distill").columns:
                selection = selection.once()
            write_audit(folder / name, audit(labels, shards, selection, truth, previous, classes, p.seed))
            previous = labels, selection
