"""What do 75 corruptions cost beside the 75 forward passes that they are made for? At 32 px.

python benchmarks/robustness.py [images] [batch] [network]      10,000 images in batches of 500, resnet18_small

forward     the network alone over the images as they are: 15 passes, times 5
ops         each corruption at its five severities, without the network
ours        what `robustness` does: 75 conditions and the images as they are, through the network
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from pipeline import params, seed
from pipeline.data.images import Images
from pipeline.device import choose, machine
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.heads import Head
from pipeline.robustness.corruptions import corrupt
from pipeline.robustness.draws import Draws
from pipeline.robustness.measure import Classifier, Sample, corruption_errors
from pipeline.robustness.severities import CORRUPTIONS, SEVERITIES
from pipeline.views.plain import Plain

SIZE = 32


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    name = sys.argv[3] if len(sys.argv) > 3 else "resnet18_small"
    device = choose("auto")
    seed.everything(0)
    encoder = build_encoder(params.Encoder(name=name), 3, SIZE, [0.5] * 3, [0.25] * 3)
    network = Branch(encoder, Head([encoder.dim, 10])).to(device).to(memory_format=torch.channels_last).eval()
    classifier = Classifier(network, Plain(SIZE, [0.5] * 3, [0.25] * 3))
    coarse = torch.rand(count, 3, 8, 8)
    pixels = F.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 1).mul(255).to(torch.uint8).to(device)
    draws = Draws.of([f"image-{row}" for row in range(count)], 0, device)
    sample = Sample(Images(pixels), torch.arange(count), torch.zeros(count, dtype=torch.int64, device=device), draws)
    print(machine(device), f"{name}, {SIZE} px, {count:,} images, batch {batch}, fp32")

    def seconds(work: Callable[[], object]) -> float:
        """On a GPU to the end of what it has started there; on a CPU of this process alone, whatever else runs."""
        clock, wait = (time.perf_counter, torch.cuda.synchronize) if device.type == "cuda" else (time.process_time, int)
        wait()
        started = clock()
        work()
        wait()
        return clock() - started

    @torch.inference_mode()
    def forward() -> None:
        for images, _, _ in sample.batches(batch):
            classifier(images).argmax(1)

    def ops(kind: str) -> None:
        for images, _, some in sample.batches(batch):
            for severity in SEVERITIES:
                corrupt(images, kind, severity, some)

    few = Sample(Images(pixels), sample.rows[:8], sample.labels[:8], draws[:8])
    corruption_errors(classifier, few, CORRUPTIONS, SEVERITIES, batch)  # kernels and tables are made once
    alone, costs = 0.0, {}
    for kind in CORRUPTIONS:  # in turns, so that a machine that slows down slows down both
        alone += len(SEVERITIES) * seconds(forward)
        costs[kind] = seconds(lambda kind=kind: ops(kind))
    whole = seconds(lambda: corruption_errors(classifier, sample, CORRUPTIONS, SEVERITIES, batch))
    for kind, cost in sorted(costs.items(), key=lambda item: -item[1]):
        print(f"   {kind:18} {cost:7.2f} s, {100 * cost / alone:5.2f} % of the forward passes")
    print(f"forward {alone:8.2f} s, 75 passes")
    print(f"ops     {sum(costs.values()):8.2f} s, ratio to the passes {sum(costs.values()) / alone:.3f}")
    print(f"ours    {whole:8.2f} s, 76 passes and the ops; ratio {whole / alone:.3f}   (claim: little more than 1)")


if __name__ == "__main__":
    main()
