"""ssl-pipe evaluate"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, read


def evaluate(
    name: Annotated[
        str, typer.Argument(help="A model: scratch, a pretraining run, baseline, finetune, student-1, ...")
    ],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Measure a model on the test images: a classifier as it is, an encoder by probes on its frozen features.

    ssl-pipe evaluate student-2
    """
    p = read(params, sets)

    import time
    from functools import partial

    import torch

    from pipeline import files
    from pipeline.data.shards import ShardSet
    from pipeline.engine.device import choose, machine
    from pipeline.nets.model import load_model, parameters
    from pipeline.score.classifier import score_classifier
    from pipeline.score.features import embed
    from pipeline.score.probe import score_probe
    from pipeline.views.normalise import normalise

    device, model = choose(p.runtime.device), load_model(ROOT / "models" / name)
    test = ShardSet.open(ROOT / "shards" / "test")
    model.fits(test.manifest)
    transform = partial(normalise, mean=model.about["mean"], std=model.about["std"])
    network = model.branch.to(device).to(memory_format=torch.channels_last)
    classifies = model.about["kind"] == "classifier"

    def see(shards: ShardSet) -> torch.Tensor:
        images = shards.decoded(int(p.runtime.memory * 2**30)).to(device)
        return embed(network if classifies else network.encoder, images, transform, p.label.batch, device)

    started = time.monotonic()
    seen, labels = see(test), torch.from_numpy(test.labels)
    seconds = time.monotonic() - started
    tables: dict[str, list] = {}
    if classifies:
        metrics, tables = score_classifier(seen, labels, test.manifest.classes)
        size = parameters(network)
    else:
        known = ShardSet.open(ROOT / "shards" / "labelled")
        truth = torch.from_numpy(known.labels)
        metrics = score_probe(see(known), truth, seen, labels, len(test.manifest.classes), seed=p.seed)
        size = parameters(network.encoder)
    with files.publish(ROOT / "scores" / name) as folder:
        files.write_json(folder / "metrics.json", {"parameters": size, **metrics})
        for table, rows in tables.items():
            files.write_csv(folder / f"{table}.csv", rows)
    times = {"stage": f"evaluate-{name}", "seconds": seconds, "images": len(test), "machine": machine(device)}
    files.write_json(ROOT / "times" / f"evaluate-{name}.json", times | {"images_per_second": len(test) / seconds})
