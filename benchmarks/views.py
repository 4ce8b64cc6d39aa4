"""Views per second: ours, a batch at a time, against torchvision on PIL images, one at a time in worker processes.

    python benchmarks/views.py

Both make the SimCLR view of 32-pixel RGB images and end with a normalised float32 batch. Ours runs in this process on
WORKERS threads; torchvision in WORKERS processes of a DataLoader, which are started before the clock is. The two take
turns, and the median of RUNS is printed, with the slowest and the fastest.
"""

import platform
import statistics
import time
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from pipeline import seed
from pipeline.views.recipes import SIMCLR
from pipeline.views.view import View

SIZE, BATCH, BATCHES, RUNS, WORKERS = 32, 256, 16, 7, 2
MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]


class PilViews(Dataset):
    """The same recipe, as torchvision's examples write it."""

    def __init__(self, images: torch.Tensor):
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, scale=(0.08, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                transforms.RandomGrayscale(p=0.2),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.images[index])


def one_thread(_: int) -> None:
    torch.set_num_threads(1)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.partition(": ")[2] for line in lines if line.startswith("model name")}
    cpu = ", ".join(sorted(names)) or platform.processor()
    cores = sum(line.startswith("processor") for line in lines)
    return f"{cpu}, {cores} cores; torch {torch.__version__}, torchvision {torchvision.__version__}"


def rate(batches) -> float:
    start = time.perf_counter()
    views = sum(len(batch) for batch in batches)
    return views / (time.perf_counter() - start)


def ours(view: View, images: torch.Tensor):
    generator = seed.generator(0, "benchmark")
    for batch in images.split(BATCH):
        yield view(batch, view.draw(len(batch), tuple(batch.shape[1:]), generator))


def report(name: str, rates: list[float]) -> float:
    median = statistics.median(rates)
    print(f"{name:34}{median:10,.0f} views/s   ({min(rates):,.0f} to {max(rates):,.0f})")
    return median


def main() -> None:
    torch.set_num_threads(WORKERS)
    images = torch.randint(0, 256, (BATCH * BATCHES, 3, SIZE, SIZE), dtype=torch.uint8, generator=seed.generator(0))
    view = View(SIMCLR, SIZE, MEAN, STD)
    loader = DataLoader(
        PilViews(images), BATCH, num_workers=WORKERS, persistent_workers=True, worker_init_fn=one_thread
    )
    rate(loader), rate(ours(view, images))  # start the workers, warm the caches
    theirs_rates, our_rates = [], []
    for _ in range(RUNS):
        theirs_rates.append(rate(loader))
        our_rates.append(rate(ours(view, images)))
    print(machine())
    print(f"{SIMCLR}, {SIZE} x {SIZE} RGB, batch {BATCH}, median of {RUNS} runs of {len(images):,} views")
    theirs = report(f"torchvision, PIL, {WORKERS} processes", theirs_rates)
    mine = report(f"ours, {WORKERS} threads", our_rates)
    print(f"ratio {mine / theirs:.1f}")


if __name__ == "__main__":
    main()
