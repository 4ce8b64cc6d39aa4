"""How much of a step is learning? Images of 32 pixels, on this machine.

python benchmarks/training.py [simclr|fixmatch] [fp32|bf16] [compile]

simclr      ResNet-18 with a 3x3 stem, batch 64
fixmatch    WRN-28-2, 16 labelled and 112 unlabelled images

bare        forward, backward and optimiser on a batch that is ready: nothing that trains the same network is faster
ours        the engine's own loop: cached images, views on the device, schedule, finite check, record
plain       what most code does (simclr): fp32, PIL views of one image at a time in two worker processes
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from pipeline import params, seed
from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.device import autocast, choose, machine
from pipeline.engine import optimiser
from pipeline.engine.checkpoint import Checkpoint
from pipeline.engine.fit import fit
from pipeline.engine.signals import Stop
from pipeline.methods.method import Method
from pipeline.methods.pretext.simclr import SimCLR
from pipeline.methods.semi.fixmatch import FixMatch
from pipeline.nets.encoder import Encoder, build_encoder
from pipeline.views.view import View

BATCH, SIZE, WARM, STEPS = 64, 32, 2, 6
PIXELS = torch.randint(0, 256, (2048, 3, SIZE, SIZE), dtype=torch.uint8, generator=seed.generator(0, "bench"))
LABELS = torch.randint(0, 10, (len(PIXELS),), generator=seed.generator(0, "labels"))
MEAN, STD = (0.5,) * 3, (0.25,) * 3
Task = Callable[[torch.device], tuple[Method, Batches]]


def simclr(device: torch.device) -> tuple[Method, Batches]:
    return SimCLR(encoder("resnet18_small")), batches(device, unlabelled=(BATCH, SimCLR.unlabelled))


def fixmatch(device: torch.device) -> tuple[Method, Batches]:
    streams = batches(device, labelled=(16, FixMatch.labelled), unlabelled=(112, FixMatch.unlabelled))
    return FixMatch(encoder("wrn_28_2"), classes=10), streams


def encoder(name: str) -> Encoder:
    seed.everything(0)
    return build_encoder(params.Encoder(name=name), 3, SIZE, list(MEAN), list(STD))


def batches(device: torch.device, **asked: tuple[int, dict[str, str]]) -> Batches:
    """name of the stream -> images per step and the recipes of its views."""
    streams = {}
    for name, (size, recipes) in asked.items():
        views = {view: View(recipe, SIZE, MEAN, STD) for view, recipe in recipes.items()}
        columns = {"y": lambda rows: LABELS[rows]} if name == "labelled" else {}
        streams[name] = Stream(Images(PIXELS.to(device)), torch.arange(len(PIXELS)), size, views, columns)
    return Batches(streams, 0, device, {name: slice(0, stream.batch) for name, stream in streams.items()})


def rate(marks: list[float], images: int) -> float:
    """Images per second, median over the steps after the warm-up."""
    return images / statistics.median(b - a for a, b in pairwise(marks[WARM:]))


def step(method: Method, optim: torch.optim.Optimizer, views: dict[str, torch.Tensor], precision: str) -> None:
    device = next(method.parameters()).device
    with autocast(device, precision):
        loss = method(**views)
    optim.zero_grad()
    loss.backward()
    optim.step()
    method.remember()
    loss.item()  # every loop here knows its loss before it goes on


def ready(task: Task, device: torch.device, compiled: bool) -> tuple[Method, Batches, int]:
    """The method on its device, its batches, and images per step."""
    method, streams = task(device)
    method = method.to(device, memory_format=torch.channels_last)
    if compiled:
        method.online.compile()
    return method, streams, sum(stream.batch for stream in streams.streams.values())


def bare(task: Task, device: torch.device, precision: str, compiled: bool) -> float:
    method, streams, images = ready(task, device, compiled)
    optim, batch = optimiser.build(method, params.Optimiser()), streams.at(0)
    return timed(lambda: step(method, optim, batch, precision), images)


def timed(once: Callable[[], None], images: int) -> float:
    marks = [time.perf_counter()]
    for _ in range(WARM + STEPS):
        once()
        marks.append(time.perf_counter())
    return rate(marks, images)


def ours(task: Task, device: torch.device, precision: str, compiled: bool) -> float:
    (method, streams, images), marks = ready(task, device, compiled), []
    training = params.Training(steps=WARM + STEPS + 1, precision=precision, monitors=0)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            method,
            streams,
            optimiser.build(method, training.optimiser),
            training,
            Checkpoint(Path(folder), every=3600),
            run_seed=0,
            embed=lambda net: torch.empty(0),
            monitor=lambda method: {},
            report=lambda done, text: marks.append(time.perf_counter()),
            stop=Stop(),
        )
    return rate(marks, images)


class Pairs(Dataset):
    """Two views of an image, made by PIL one image at a time: arXiv:2002.05709, appendix B.9."""

    view = T.Compose(
        [
            T.RandomResizedCrop(SIZE),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.ToTensor(),
            T.Normalize(MEAN, STD),
        ]
    )

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.fromarray(PIXELS[row].permute(1, 2, 0).numpy())
        return self.view(image), self.view(image)


def plain(device: torch.device) -> float:
    method = simclr(device)[0].to(device)
    optim = torch.optim.SGD(method.parameters(), 0.05, momentum=0.9)
    loader: Iterator[list[torch.Tensor]] = iter(DataLoader(Pairs(), BATCH, shuffle=True, num_workers=2))

    def once() -> None:
        a, b = next(loader)
        step(method, optim, {"a": a.to(device), "b": b.to(device)}, "fp32")

    return timed(once, BATCH)


def main() -> None:
    task = fixmatch if "fixmatch" in sys.argv else simclr
    precision = "bf16" if "bf16" in sys.argv else "fp32"
    compiled = "compile" in sys.argv
    device = choose("auto")
    print(machine(device), f"{task.__name__}, {SIZE} px, {precision}, compile={compiled}")
    measures = {"bare": lambda: bare(task, device, precision, compiled)}
    measures["ours"] = lambda: ours(task, device, precision, compiled)
    if task is simclr:
        measures["plain"] = lambda: plain(device)
    rates = {}
    for name, measure in measures.items():
        rates[name] = measure()
        print(f"{name:6} {rates[name]:8.1f} images/s", flush=True)
    print(f"ours / bare  {rates['ours'] / rates['bare']:.3f}   (claim: at least 0.9)")
    if "plain" in rates:
        print(f"ours / plain {rates['ours'] / rates['plain']:.2f}    (claim: at least 2)")


if __name__ == "__main__":
    main()
