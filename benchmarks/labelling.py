"""How fast is a teacher, and does its memory stay flat? Images of 32 pixels, on this machine.

python benchmarks/labelling.py FOLDER [--images 2000] [--network tiny] [--precision bf16]
python benchmarks/labelling.py --memory

FOLDER      class folders of images, such as the 50,000 of CIFAR-10; without it, JPEG files made for the purpose

forward     the network alone, on batches that are ready
ours        `label`: read, check, decode, normalise, forward, write sidecars
plain       what most code does: ImageFolder and DataLoader in two worker processes, fp32

The images are cut into six parts, and each part goes through all three in turn, so that what else the machine does
falls on all of them alike; the first only warms up. The ratios are of the same part, and their median counts. The start
of the workers and the sync of the sidecars are in the time. The smaller the network, the more the reading shows.

--memory    the peak of `label` over 5,000 and over 50,000 images (with `tiny`, so that it ends), each in a new process
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from pipeline import params, seed
from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.device import autocast, choose, machine
from pipeline.label.look import Look
from pipeline.label.predict import predict
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.nets.model import parameters
from pipeline.views.view import View

BATCH, SIZE, PARTS = 256, 32, 6


def teacher(name: str, device: torch.device, classes: int) -> Branch:
    seed.everything(0)
    encoder = build_encoder(params.Encoder(name=name), 3, SIZE, [0.5] * 3, [0.25] * 3)
    return Branch(encoder, Head([encoder.dim, classes])).to(device).eval()


def made(root: Path, count: int) -> Path:
    """Class folders of JPEG files, their pixels smooth enough to compress as photographs do."""
    rng = np.random.default_rng(0)
    for row in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = root / f"class{row % 10}" / f"{row:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def share(root: Path, folder: Path, count: int) -> Path:
    """The first images of each class, as many of each, without a copy."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for each in classes:
        (root / each.name).mkdir(parents=True)
        for path in islice(sorted(each.iterdir()), count // len(classes)):
            (root / each.name / path.name).symlink_to(path.resolve())
    return root


def shards(root: Path, source: Path, count: int) -> ShardSet:
    given = {"shard": min(1000, max(1, count // PARTS)), "validation": 0.0, "test": 1e-9, "labels_per_class": 1}
    prepare(params.Data(source=str(source), size=SIZE, **given), root)
    return ShardSet.open(root / "shards" / "unlabelled")


def label(
    network: Branch, images: ShardSet, out: Path, device: torch.device, precision: str, part: int = 0, parts: int = 1
) -> float:
    """Images per second."""
    about = {"teacher": "0" * 64, "classes_sha256": images.manifest.classes_sha256}
    how = {"batch": BATCH, "device": device, "precision": precision, "rank": part, "world": parts}
    look = Look([View("plain", SIZE, images.manifest.mean, images.manifest.std)], noise=False, seed=0)
    started = time.perf_counter()
    predict(network, images, out, about, look, **how)
    return sum(shard.samples for shard in images.shards[part::parts]) / (time.perf_counter() - started)


@torch.inference_mode()
def forward(network: Branch, count: int, device: torch.device, precision: str) -> float:
    ready = torch.randn(BATCH, 3, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    batches = -(-count // BATCH)
    with autocast(device, precision):
        network(ready).cpu()
        started = time.perf_counter()
        for _ in range(batches):
            network(ready).cpu()
    return batches * BATCH / (time.perf_counter() - started)


@torch.inference_mode()
def plain(network: Branch, images: Subset, device: torch.device) -> float:
    started = time.perf_counter()
    for batch, _ in DataLoader(images, BATCH, num_workers=2):
        network(batch.to(device)).cpu()
    return len(images) / (time.perf_counter() - started)


def compare(root: Path, source: Path, count: int, name: str, precision: str, device: torch.device) -> None:
    images = shards(root, source, count)
    view = T.Compose([T.Resize(SIZE), T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)])
    folder = ImageFolder(str(source), view)
    same = [teacher(name, device, len(folder.classes)) for _ in range(2)]
    network, contiguous = same[0].to(memory_format=torch.channels_last), same[1]
    about = f"{name} ({parameters(network) / 1e6:.2f} M parameters), {SIZE} px, batch {BATCH}, {precision}"
    print(machine(device), about, f"{len(images)} images in {len(images.shards)} shards", sep="\n")
    rates: dict[str, list[float]] = {"forward": [], "ours": [], "plain": []}
    for part in range(PARTS):
        mine = sum(shard.samples for shard in images.shards[part::PARTS])
        rates["forward"].append(forward(network, mine, device, precision))
        rates["ours"].append(label(network, images, root / "out", device, precision, part, PARTS))
        rates["plain"].append(plain(contiguous, Subset(folder, range(part, len(folder), PARTS)), device))
        print("  ".join(f"{name} {rate[-1]:.0f}" for name, rate in rates.items()), "images/s", flush=True)
    for other, claim in (("forward", "at least 0.9 where the network is large"), ("plain", "at least 3")):
        ratios = sorted(ours / theirs for ours, theirs in zip(rates["ours"][1:], rates[other][1:], strict=True))
        middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
        print(f"ours / {other:7} {middle:.2f} ({low:.2f} to {high:.2f})   claim: {claim}")


def peak(count: int) -> float:
    """MiB, of a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        shards(Path(root), made(Path(root) / "source", count), 10**6)
        said = subprocess.run([sys.executable, __file__, "--peak", root], capture_output=True, text=True, check=True)
    return float(said.stdout)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", nargs="?", type=Path)
    ask.add_argument("--images", type=int, help="a share of the folder; 2,000 where they are made")
    ask.add_argument("--network", default="resnet18_small")
    ask.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    ask.add_argument("--memory", action="store_true")
    ask.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    asked, device = ask.parse_args(), choose("auto")
    if asked.peak:
        label(
            teacher("tiny", device, 10),
            ShardSet.open(asked.peak / "shards/unlabelled"),
            asked.peak / "out",
            device,
            asked.precision,
        )
        status = Path("/proc/self/status").read_text()
        print(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024)
        return
    if asked.memory:
        print(machine(device))
        few, many = peak(5_000), peak(50_000)
        print(f"5,000 images {few:.0f} MiB, 50,000 images {many:.0f} MiB, ratio {many / few:.3f}   claim: at most 1.05")
        return
    with tempfile.TemporaryDirectory() as name:
        root, source, count = Path(name), asked.folder, asked.images or 2000
        if source is None:
            source = made(root / "source", count)
        elif asked.images:
            source = share(root / "source", source, count)
        else:
            count = sum(len(list(path.iterdir())) for path in source.iterdir() if path.is_dir())
        compare(root, source, count, asked.network, asked.precision, device)


if __name__ == "__main__":
    main()
