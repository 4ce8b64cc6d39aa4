"""ssl-pipe label"""

from typing import Annotated

import typer

from stages.command import PARAMS, ROOT, File, Sets, named, read


def label(
    round: Annotated[str, typer.Argument(help="A round of params.yaml.")],
    sets: Sets = [],  # noqa: B006 - Typer reads it, nobody writes it
    params: File = PARAMS,
) -> None:
    """Let the teacher of a round look at every unlabelled image: one sidecar of logits for each shard.

    ssl-pipe label 1 -S label.batch=512
    """
    p = read(params, sets)
    named("round", round, list(p.rounds))

    import time

    import torch

    from pipeline import files
    from pipeline.data.shards import ShardSet
    from pipeline.engine import ranks, signals, workspace
    from pipeline.engine.device import choose, machine
    from pipeline.engine.progress import counter
    from pipeline.label.labels import write_summary
    from pipeline.label.predict import predict
    from pipeline.nets.model import load_model

    how, teacher, device = p.round_label(round), p.rounds[round].teacher, choose(p.runtime.device)
    shards, model = ShardSet.open(ROOT / "shards" / "unlabelled"), load_model(ROOT / "models" / teacher)
    model.fits(shards.manifest)
    about = {"teacher": model.about["weights_sha256"], "classes_sha256": model.about["classes_sha256"]}
    mark = workspace.fingerprint(label=how.model_dump(), shards=shards.manifest.sha256, **about)
    started = time.monotonic()
    with (
        ranks.group(device),
        signals.listening() as stop,
        workspace.opened(ROOT / "work", f"label-{round}", mark) as work,
        counter(f"label {round}", len(shards), stop) as report,
    ):
        predict(
            model.branch.to(device).to(memory_format=torch.channels_last),
            shards,
            work,
            about,
            batch=how.batch,
            device=device,
            precision=how.precision,
            mean=model.about["mean"],
            std=model.about["std"],
            top=how.top,
            rank=ranks.rank(),
            world=ranks.world(),
            progress=report,
        )
        ranks.barrier()
        if ranks.rank() == 0:
            write_summary(work, shards, teacher, model.about["parameters"])
            with files.publish(ROOT / "labels" / round) as folder:
                for path in (*work.glob("*.safetensors"), work / "summary.json"):
                    path.rename(folder / path.name)
            workspace.spent(work)
            seconds = time.monotonic() - started
            times = {"stage": f"label-{round}", "seconds": seconds, "images": len(shards)}
            times |= {"images_per_second": len(shards) / seconds, "machine": machine(device)}
            files.write_json(ROOT / "times" / f"label-{round}.json", times)
