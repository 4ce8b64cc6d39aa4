"""How fast is a teacher, and does its memory stay flat? ResNet-18 with a 3x3 stem, 32 px, on this machine.

python benchmarks/labelling.py [fp32|bf16]

forward     the network alone, on batches that are ready
ours        `label`: read, check, decode, normalise, forward, write sidecars
plain       what most code does: ImageFolder and DataLoader in two worker processes, fp32
memory      the peak of `label` over 5,000 and over 50,000 images (with `tiny`, so that it ends), each in a new process
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from pipeline import params, seed
from pipeline.data.prepare import prepare
from pipeline.data.shards import ShardSet
from pipeline.device import autocast, choose, machine
from pipeline.label.predict import predict
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.views.normalise import Normalise

BATCH, SIZE, IMAGES = 256, 32, 1536


def teacher(name: str, device: torch.device) -> Branch:
    seed.everything(0)
    encoder = build_encoder(params.Encoder(name=name), 3, SIZE, [0.5] * 3, [0.25] * 3)
    return Branch(encoder, Head([encoder.dim, 10])).to(device).to(memory_format=torch.channels_last).eval()


def folder(root: Path, count: int) -> Path:
    """Class folders of JPEG files, their pixels smooth enough to compress as photographs do."""
    rng = np.random.default_rng(0)
    for row in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = root / f"class{row % 10}" / f"{row:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def shards(root: Path, count: int) -> ShardSet:
    source = folder(root / "source", count)
    prepare(params.Data(source=str(source), size=SIZE, validation=0.0, test=1e-9, labels_per_class=1), root)
    return ShardSet.open(root / "shards" / "unlabelled")


def label(network: Branch, images: ShardSet, out: Path, device: torch.device, precision: str) -> float:
    """Images per second."""
    about = {"teacher": "0" * 64, "classes_sha256": images.manifest.classes_sha256}
    transform = Normalise(images.manifest.mean, images.manifest.std)
    started = time.perf_counter()
    predict(network, images, out, about, transform, batch=BATCH, device=device, precision=precision)
    return len(images) / (time.perf_counter() - started)


@torch.inference_mode()
def forward(network: Branch, device: torch.device, precision: str) -> float:
    ready = torch.randn(BATCH, 3, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    with autocast(device, precision):
        network(ready)
        started = time.perf_counter()
        for _ in range(IMAGES // BATCH):
            network(ready).cpu()
    return IMAGES / (time.perf_counter() - started)


@torch.inference_mode()
def plain(network: Branch, source: Path, device: torch.device) -> float:
    network = network.to(memory_format=torch.contiguous_format)
    view = T.Compose([T.Resize(SIZE), T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)])
    images = ImageFolder(str(source), view)
    started = time.perf_counter()
    for batch, _ in DataLoader(images, BATCH, num_workers=2):
        network(batch.to(device)).cpu()
    return len(images) / (time.perf_counter() - started)


def peak(count: int) -> float:
    """MiB, of a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        shards(Path(root), count)
        said = subprocess.run([sys.executable, __file__, "--peak", root], capture_output=True, text=True, check=True)
    return float(said.stdout)


def main() -> None:
    device, precision = choose("auto"), "bf16" if "bf16" in sys.argv else "fp32"
    if "--peak" in sys.argv:
        root = Path(sys.argv[-1])
        label(teacher("tiny", device), ShardSet.open(root / "shards/unlabelled"), root / "out", device, precision)
        status = Path("/proc/self/status").read_text()
        print(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024)
        return
    print(machine(device), f"resnet18_small, {SIZE} px, batch {BATCH}, {precision}")
    with tempfile.TemporaryDirectory() as root:
        images, network = shards(Path(root), IMAGES), teacher("resnet18_small", device)
        rates = {"forward": forward(network, device, precision)}
        rates["ours"] = label(network, images, Path(root) / "out", device, precision)
        rates["plain"] = plain(network, Path(root) / "source", device)
    for name, rate in rates.items():
        print(f"{name:8} {rate:8.1f} images/s")
    print(f"ours / forward {rates['ours'] / rates['forward']:.3f}   (claim: at least 0.9)")
    print(f"ours / plain   {rates['ours'] / rates['plain']:.2f}    (claim: at least 3 where bf16 is fast)")
    few, many = peak(5_000), peak(50_000)
    print(f"memory   5,000 images {few:.0f} MiB, 50,000 images {many:.0f} MiB, ratio {many / few:.3f}   (claim: 1.05)")


if __name__ == "__main__":
    main()
