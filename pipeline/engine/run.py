"""One trained stage, from its inputs on disk to its published model: what pretrain, finetune and distill share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import files, seed
from pipeline.catalogue import Entry
from pipeline.data.batches import Batches, Column
from pipeline.device import choose, machine
from pipeline.engine import optimiser, ranks, signals, workspace
from pipeline.engine.checkpoint import Checkpoint
from pipeline.engine.fit import Record, fit
from pipeline.engine.inputs import Inputs
from pipeline.engine.progress import progress
from pipeline.methods.method import Method
from pipeline.nets.encoder import build_encoder
from pipeline.nets.model import load_model, parameters, save_model
from pipeline.nets.start import start_encoder
from pipeline.params import Params, Training


@dataclass
class Task:
    """What a stage asks of the engine."""

    name: str
    """of the model that it makes"""
    entry: Entry
    training: Training
    start: str
    """the model whose encoder goes on, or teaches"""
    layer: int = 0
    frozen: bool = False
    teacher: str = ""
    """the model that teaches a method that asks for one, where `start` is to go on"""
    rows: Tensor | None = None
    """rows of the unlabelled images to learn from, with repeats; None means each of them once"""
    images: str = "unlabelled"
    """the shards that `rows` are of"""
    columns: Mapping[str, Column] = field(default_factory=dict)
    pseudo: Tensor | None = None
    """classes that a teacher gave the unlabelled images, -1 of those that are not to join the labelled ones"""
    defines: Mapping[str, Any] = field(default_factory=dict)
    """what else the result depends on, for the fingerprint"""
    teacher_size: int = 0
    """parameters of the teacher"""
    about: Mapping[str, Any] = field(default_factory=dict)
    """what else its model.json is to say"""


def run(task: Task, params: Params, root: Path) -> None:
    """Train, and publish models/<name>/, curves/<name>.csv and times/<name>.json under `root`.

    Raises what `fit` raises, Locked, CannotWrite, BadData for inputs that do not belong together.
    """
    device = choose(params.runtime.device)
    training = task.training
    with ranks.group(device), signals.listening() as stop:
        inputs = Inputs(root, params.runtime.memory, device, task.images, task.pseudo, training.size)
        task.entry.load()  # its code is part of the fingerprint
        mark = workspace.fingerprint(
            task={"name": task.name, "method": task.entry.name, "layer": task.layer, "frozen": task.frozen},
            training=training.model_dump(),
            encoder=params.encoder_of(training).model_dump(),
            seed=params.seed,
            start=files.read_json(root / "models" / task.start / "model.json"),
            shards=inputs.hashes,
            rows=None if task.rows is None else task.rows.tolist(),
            pseudo=None if task.pseudo is None else task.pseudo.tolist(),
            **task.defines,
        )
        with (
            workspace.opened(root / "work", task.name, mark) as folder,
            progress(task.name, training.steps) as report,
        ):
            method = _method(task, params, inputs, root).to(device).to(memory_format=torch.channels_last)
            if params.runtime.compile:
                for network in method.children():
                    network.compile()
            batches = inputs.batches(method, training, params.seed, task.rows, task.columns)
            record = fit(
                method,
                batches,
                optimiser.build(method, training.optimiser),
                training,
                Checkpoint(folder, params.runtime.checkpoint),
                run_seed=params.seed,
                embed=inputs.embed,
                monitor=inputs.monitor(classifies=bool(task.entry.labelled)),
                report=report,
                stop=stop,
            )
            if ranks.rank() == 0:
                _publish(task, params, method, batches, record, inputs, root)
                workspace.spent(folder)


def _method(task: Task, params: Params, inputs: Inputs, root: Path) -> Method:
    page = inputs.page
    seed.everything(params.seed, "init", task.name)
    chosen, images = params.encoder_of(task.training), (page.channels, page.size, page.mean, page.std)
    models, asks = root / "models", "teacher" in task.entry.given
    given: dict[str, Any] = {"classes": len(page.classes), "images": inputs.count}
    if "known" in task.entry.given:
        given["known"] = inputs.known()
    if asks:
        given["teacher"] = load_model(models / (task.teacher or task.start)).branch
    if asks and not task.teacher:
        encoder = build_encoder(chosen, *images)
    else:
        encoder = start_encoder(chosen, *images, models / task.start, task.layer)
    if task.frozen:
        encoder.freeze()
    method = task.entry.load()(encoder, **task.training.knobs, **{name: given[name] for name in task.entry.given})
    if ranks.world() > 1 and torch.cuda.is_available():  # on a CPU there is no synchronised BatchNorm
        method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
    size = parameters(method.learned)
    if method.grows and size < task.teacher_size and ranks.rank() == 0:
        print(f"warning: {task.name} has {size:,} parameters, its teacher {task.teacher_size:,}", file=sys.stderr)
    return method


def _publish(
    task: Task, params: Params, method: Method, batches: Batches, record: Record, inputs: Inputs, root: Path
) -> None:
    page, branch, labelled = inputs.page, method.learned, bool(task.entry.labelled)
    about = {
        "kind": "classifier" if labelled else "encoder",
        "stage": task.name,
        "method": task.entry.name,
        "from": task.start,
        "steps": task.training.steps,
        "seed": params.seed,
        "labels": page.samples if labelled else 0,
        "parameters": parameters(branch),
        "validation": record["history"][-1].get("val_top1"),
        **task.about,
        **page.about_images(),
    }
    with files.publish(root / "models" / task.name) as folder:
        save_model(folder, branch, about)
    first = ("step", "loss", "lr")  # then by name: rows that went through a checkpoint have lost their order
    rows = [{name: row[name] for name in (*first, *sorted(row.keys() - set(first)))} for row in record["history"]]
    files.write_csv(root / "curves" / f"{task.name}.csv", rows)
    images = task.training.steps * sum(stream.batch for stream in batches.streams.values())
    times = {"stage": task.name, "images": images, "seconds": record["seconds"], "machine": machine(batches.device)}
    files.write_json(root / "times" / f"{task.name}.json", times | {"images_per_second": images / record["seconds"]})
