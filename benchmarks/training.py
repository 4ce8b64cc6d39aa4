"""How much of a step is learning? SimCLR, ResNet-18 with a 3x3 stem, 32 px, batch 64, on this machine.

python benchmarks/training.py [fp32|bf16] [compile]

bare        forward, backward and optimiser on a batch that is ready: nothing that trains the same network is faster
ours        the engine's own loop: cached images, views on the device, schedule, finite check, record
plain       what most code does: fp32, PIL views of one image at a time in two worker processes
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
from pipeline.nets.encoder import build_encoder
from pipeline.views.recipes import SIMCLR
from pipeline.views.view import View

BATCH, SIZE, WARM, STEPS = 64, 32, 2, 6
PIXELS = torch.randint(0, 256, (2048, 3, SIZE, SIZE), dtype=torch.uint8, generator=seed.generator(0, "bench"))
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def network(device: torch.device) -> SimCLR:
    seed.everything(0)
    encoder = build_encoder(params.Encoder(name="resnet18_small"), 3, SIZE, [0.5] * 3, [0.25] * 3)
    return SimCLR(encoder).to(device, memory_format=torch.channels_last)


def batches(device: torch.device) -> Batches:
    views = {name: View(SIMCLR, SIZE, MEAN, STD) for name in ("a", "b")}
    stream = Stream(Images(PIXELS.to(device)), torch.arange(len(PIXELS)), BATCH, views)
    return Batches({"unlabelled": stream}, 0, device, {"unlabelled": slice(0, BATCH)})


def rate(marks: list[float]) -> float:
    """Images per second, median over the steps after the warm-up."""
    return BATCH / statistics.median(b - a for a, b in pairwise(marks[WARM:]))


def step(method: Method, optim: torch.optim.Optimizer, views: dict[str, torch.Tensor], precision: str) -> None:
    device = next(method.parameters()).device
    with autocast(device, precision):
        loss = method(**views)
    optim.zero_grad()
    loss.backward()
    optim.step()
    loss.item()  # every loop here knows its loss before it goes on


def bare(device: torch.device, precision: str, compiled: bool) -> float:
    method = network(device)
    if compiled:
        method.online.compile()
    optim, ready = optimiser.build(method, params.Optimiser()), batches(device).at(0)
    return timed(lambda: step(method, optim, ready, precision))


def timed(once: Callable[[], None]) -> float:
    marks = [time.perf_counter()]
    for _ in range(WARM + STEPS):
        once()
        marks.append(time.perf_counter())
    return rate(marks)


def ours(device: torch.device, precision: str, compiled: bool) -> float:
    method, marks = network(device), []
    if compiled:
        method.online.compile()
    training = params.Training(steps=WARM + STEPS + 1, batch=BATCH, precision=precision, monitors=0)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            method,
            batches(device),
            optimiser.build(method, training.optimiser),
            training,
            Checkpoint(Path(folder), every=3600),
            run_seed=0,
            embed=lambda net: torch.empty(0),
            monitor=lambda method: {},
            report=lambda done, text: marks.append(time.perf_counter()),
            stop=Stop(),
        )
    return rate(marks)


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
    method = network(device).to(memory_format=torch.contiguous_format)
    optim = torch.optim.SGD(method.parameters(), 0.05, momentum=0.9)
    loader: Iterator[list[torch.Tensor]] = iter(DataLoader(Pairs(), BATCH, shuffle=True, num_workers=2))

    def once() -> None:
        a, b = next(loader)
        step(method, optim, {"a": a.to(device), "b": b.to(device)}, "fp32")

    return timed(once)


def main() -> None:
    precision = "bf16" if "bf16" in sys.argv else "fp32"
    compiled = "compile" in sys.argv
    device = choose("auto")
    print(machine(device), f"SimCLR resnet18_small, {SIZE} px, batch {BATCH}, {precision}, compile={compiled}")
    rates = {}
    for name, measure in (
        ("bare", lambda: bare(device, precision, compiled)),
        ("ours", lambda: ours(device, precision, compiled)),
        ("plain", lambda: plain(device)),
    ):
        rates[name] = measure()
        print(f"{name:6} {rates[name]:8.1f} images/s", flush=True)
    print(f"ours / bare  {rates['ours'] / rates['bare']:.3f}   (claim: at least 0.9)")
    print(f"ours / plain {rates['ours'] / rates['plain']:.2f}    (claim: at least 2)")


if __name__ == "__main__":
    main()
