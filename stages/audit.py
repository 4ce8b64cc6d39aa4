"""ssl-pipe audit"""

from stages.command import PARAMS, ROOT, File, Sets, read


def audit(sets: Sets = [], params: File = PARAMS) -> None:  # noqa: B006 - Typer reads it, nobody writes it
    """Measure the pseudo-labels of every round, against the hidden truth where there is one. Nothing learns from it.

    ssl-pipe audit
    """
    p = read(params, sets)

    from pipeline import files
    from pipeline.label.audit import audit, write_audit
    from pipeline.label.chosen import chosen
    from pipeline.label.stop import skipped

    truth, previous = files.read_json(ROOT / "truth" / "unlabelled.json")["labels"], None
    with files.publish(ROOT / "audits") as folder:
        for name, each in p.rounds.items():
            if skipped(ROOT / "labels" / name / each.teacher):
                continue
            labels, selection = chosen(name, p, ROOT)
            write_audit(folder / name, audit(labels, selection, truth, previous, p.seed))
            previous = labels, selection
