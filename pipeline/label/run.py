"""One `label` stage, from a teacher and the shards on disk to the published labels of a round."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from pipeline import files
from pipeline.data.shards import ShardSet
from pipeline.device import choose, machine
from pipeline.engine import ranks, signals, workspace
from pipeline.engine.progress import counter
from pipeline.label.labels import write_summary
from pipeline.label.look import Look
from pipeline.label.predict import predict
from pipeline.label.stop import no_gain, skip
from pipeline.nets.model import load_model
from pipeline.params import Params


def run(name: str, params: Params, root: Path) -> None:
    """Publish labels/<round>/<teacher>/ and times/label-<name>.json under `root`.

    `name` is a round, or one of `teachers`. Raises what `predict` raises, Locked, CannotWrite, Preempted, BadData where
    the teacher and the shards do not fit, ParamsError where `label.gain` cannot be judged.
    """
    round, teacher, how = params.labelling(name)
    device = choose(params.runtime.device)
    shards, model = ShardSet.open(root / "shards" / "unlabelled"), load_model(root / "models" / teacher)
    model.fits(shards.manifest)
    about = {"teacher": model.about["weights_sha256"], "classes_sha256": model.about["classes_sha256"]}
    look = Look.of(model.about, how, params.seed)
    mark = workspace.fingerprint(label=how.model_dump(), look=str(look), shards=shards.manifest.sha256, **about)
    folder, page = root / "labels" / round / teacher, root / "times" / f"label-{name}.json"
    if name == round and how.gain is not None and (reason := no_gain(model.about, how.gain)):
        if ranks.first():
            with files.publish(folder) as published:
                skip(published, teacher, reason)
            files.write_json(page, {"stage": f"label-{name}", "seconds": 0, "skipped": reason})
        return
    started = time.monotonic()
    with (
        ranks.group(device),
        signals.listening() as stop,
        workspace.opened(root / "work", f"label-{name}", mark) as work,
        counter(f"label {name}", len(shards), stop) as report,
    ):
        predict(
            model.branch.to(device).to(memory_format=torch.channels_last),
            shards,
            work,
            about,
            look,
            batch=how.batch,
            device=device,
            precision=how.precision,
            top=how.top,
            rank=ranks.rank(),
            world=ranks.world(),
            progress=report,
        )
        ranks.barrier()
        if ranks.rank() == 0:
            write_summary(work, shards, teacher, model.about)
            with files.publish(folder) as published:
                for path in (*work.glob("*.safetensors"), work / "summary.json"):
                    path.rename(published / path.name)
            workspace.spent(work)
            seconds = time.monotonic() - started
            times = {"stage": f"label-{name}", "seconds": seconds, "images": len(shards)}
            times |= {"images_per_second": len(shards) / seconds, "machine": machine(device)}
            files.write_json(page, times)
