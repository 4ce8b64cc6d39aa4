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
from pipeline.label.predict import predict
from pipeline.nets.model import load_model
from pipeline.params import Params
from pipeline.views.normalise import Normalise


def run(round: str, params: Params, root: Path) -> None:
    """Publish labels/<round>/ and times/label-<round>.json under `root`.

    Raises what `predict` raises, Locked, CannotWrite, Preempted, BadData where the teacher and the shards do not fit.
    """
    how, teacher = params.round_label(round), params.rounds[round].teacher
    device = choose(params.runtime.device)
    shards, model = ShardSet.open(root / "shards" / "unlabelled"), load_model(root / "models" / teacher)
    model.fits(shards.manifest)
    about = {"teacher": model.about["weights_sha256"], "classes_sha256": model.about["classes_sha256"]}
    mark = workspace.fingerprint(label=how.model_dump(), shards=shards.manifest.sha256, **about)
    started = time.monotonic()
    with (
        ranks.group(device),
        signals.listening() as stop,
        workspace.opened(root / "work", f"label-{round}", mark) as work,
        counter(f"label {round}", len(shards), stop) as report,
    ):
        predict(
            model.branch.to(device).to(memory_format=torch.channels_last),
            shards,
            work,
            about,
            Normalise(model.about["mean"], model.about["std"]),
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
            write_summary(work, shards, teacher, model.about["parameters"])
            with files.publish(root / "labels" / round) as folder:
                for path in (*work.glob("*.safetensors"), work / "summary.json"):
                    path.rename(folder / path.name)
            workspace.spent(work)
            seconds = time.monotonic() - started
            times = {"stage": f"label-{round}", "seconds": seconds, "images": len(shards)}
            times |= {"images_per_second": len(shards) / seconds, "machine": machine(device)}
            files.write_json(root / "times" / f"label-{round}.json", times)
