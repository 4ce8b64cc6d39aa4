"""Every method on the handwritten digits, as the engine would run it, only smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import params, seed
from pipeline.catalogue import Entry
from pipeline.data.batches import Batches, Stream
from pipeline.data.images import Images
from pipeline.engine import optimiser
from pipeline.engine.checkpoint import Checkpoint
from pipeline.engine.fit import Record, fit
from pipeline.engine.signals import Stop
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder, build_encoder
from pipeline.nets.heads import Head
from pipeline.score.features import embed
from pipeline.views.normalise import Normalise
from pipeline.views.view import View

CPU = torch.device("cpu")
MEAN, STD = [0.3], [0.37]
VIT = {
    "patch_size": 2,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "class_token": False,
    "global_pool": "avg",
    "fc_norm": False,
}
TRANSFORMER = {"name": "vit_tiny_patch16_224", "args": VIT}
TOKENIZER = {"args": {"width": 8, "stem_stride": 1, "stages": 2}}
"""a map of 4x4, as the patches of the transformer"""
DISTILLED = {
    "name": "deit_tiny_distilled_patch16_224",
    "args": {"patch_size": 4, "embed_dim": 48, "depth": 1, "num_heads": 2},
}
NEEDS: dict[str, dict[str, Any]] = {
    "beit": TRANSFORMER,
    "deit": DISTILLED,
    "dvae": TOKENIZER,
    "mae": TRANSFORMER,
    "cmc": {"sees": ["L", "edges"]},
    "colorization": {"sees": ["L"]},
    "cpc_v2": {"norm": "layer"},
    "multitask": {"sees": ["L"]},
}
"""what `encoder` must say for a method that does not work with every encoder"""
COLOURED = ("colorization", "multitask")
"""methods that predict colours: they see the digits tinted"""
SMALL: dict[str, dict[str, Any]] = {
    "dvae": {"vocab": 32, "dim": 16, "hidden": 16, "beta": 0.1},
    "mae": {"dim": 16, "depth": 1, "heads": 2},
    "cpc_v2": {"patch": 6, "stride": 1, "skip": 0, "steps": 2, "dim": 16, "hidden": 16, "scale": 1.0},
    "barlow_twins": {"dim": 32, "redundancy": 0.1},
    "byol": {"hidden": 128, "dim": 32, "m": 0.97},
    "clusterfit": {"k": 30},
    "deepcluster": {"k": 30},
    "deepcluster_v2": {"hidden": 32, "dim": 16, "k": 100},
    "deit": {"mixup": 0.1, "cutmix": 0.1},
    "dino": {"hidden": 64, "dim": 256, "out": 256, "m": 0.99, "tau_t": 0.04},
    "inpainting": {"width": 8},
    "instdisc": {"negatives": 256},
    "mixmatch": {"weight": 10.0, "rise": 1.0},
    "moco": {"size": 512},
    "moco_v2": {"size": 512},
    "moco_v3": {"hidden": 64, "dim": 32},
    "jigsaw": {"grid": 2, "permutations": 24, "part": 128, "hidden": 128},
    "jigsaw_pp": {"grid": 2, "permutations": 24, "replaced": 1, "part": 128, "hidden": 128},
    "multitask": {"hidden": 64},
    "pirl": {"negatives": 256, "grid": 2},
    "relative_position": {"hidden": 64},
    "s4l": {"xi": 0.1, "eps": 1.0, "entropy": 0.06},
    "remixmatch": {"rise": 1.0},
    "simclr_v2": {"memory": 128},
    "simsiam": {"dim": 64, "hidden": 16},
    "swav": {"hidden": 32, "dim": 16, "prototypes": 30, "queue": 64},
    "vat": {"xi": 0.1, "eps": 2.0},
    "vicreg": {"dim": 64},
}
"""knobs where the paper's would not fit into 1,797 images and a CPU"""
VARIANTS: dict[str, dict[str, Any]] = {
    "fixmatch": {"strong": "ctaugment"},
    "deit": {"targets": "sidecar"},
    "hard_distillation": {"targets": "sidecar"},
    "kd": {"targets": "loop"},
    "remixmatch": {"strong": "ctaugment"},
}
"""knobs with which a method remembers, or asks for, what it does not by default"""
GENTLE = "affine(15, .125, .8, 1.2, 10)"
"""for 8 pixels: the recipes of the papers leave too little of a digit"""
LABELLED, VAL = slice(0, 200), slice(200, 600)
TRANSFORM = Normalise(MEAN, STD)
"""of grey digits, and of each channel of tinted ones"""


@cache
def digits(channels: int = 1) -> tuple[Tensor, Tensor]:
    """uint8 (1797, channels, 8, 8) and classes (1797,), in an order that mixes the writers; 3 channels: `tinted`."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    order = torch.randperm(len(loaded.target), generator=torch.Generator().manual_seed(0))
    pixels = (torch.from_numpy(loaded.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    shown = tinted(pixels[order]) if channels == 3 else pixels[order]
    return shown, torch.from_numpy(loaded.target).long()[order]


def tinted(pixels: Tensor) -> Tensor:
    """Grey digits (N, 1, 8, 8) in colours that their shapes tell, and nothing else.

    The more of the ink is to the right, the redder; below, the greener; along the falling diagonal, the bluer.
    """
    ink = pixels.float() / pixels.sum((2, 3), keepdim=True)
    x = torch.arange(8.0) - 3.5
    centred = torch.stack([x.expand(8, 8), x[:, None].expand(8, 8), x * x[:, None]])
    moments = (ink * centred).sum((2, 3))
    ranks = moments.argsort(0).argsort(0) / (len(pixels) - 1)
    return (pixels * ranks[:, :, None, None]).round().to(torch.uint8)


def columns(entry: Entry) -> tuple[str, ...]:
    """What it reads of the sidecars: nothing where its teacher is in the loop."""
    return () if entry.knobs.get("targets", (str, ""))[1] == "loop" else entry.columns


def channels(entry: Entry) -> int:
    return 3 if entry.name in COLOURED else 1


def encoder(width: int = 4, channels: int = 1, **fields: Any) -> Encoder:
    """`fields` of params.Encoder."""
    chosen = params.Encoder(**{"args": {"width": width}} | fields)
    return build_encoder(chosen, channels, 8, MEAN * channels, STD * channels)


def teacher(entry: Entry, said: Tensor) -> Branch:
    """What a run of another method would have left for it."""
    if entry.name == "beit":
        return tokenizer()
    if entry.family == "distill":
        return classifier(said)
    return Branch(encoder(), nn.Identity())


def classifier(said: Tensor) -> Branch:
    """Random features of all digits, and on them the classifier of least squares for what was said of them."""
    net = encoder(width=32).eval()
    head = Head([net.dim, 10])
    with torch.no_grad():
        features = net(TRANSFORM(digits()[0]))
        centred = features - features.mean(0)
        weight = torch.linalg.lstsq(centred, 12 * torch.eye(10)[said]).solution.T
        head[0].weight.copy_(weight)
        head[0].bias.copy_(-weight @ features.mean(0))
    return Branch(net, head)


def tokenizer() -> Branch:
    """A tokenizer that was not trained: the code of a place is the nearest of 32 places of some digits."""
    net = encoder(**TOKENIZER).eval()
    head = Head([net.dim, 32])
    with torch.no_grad():
        places = net.maps(TRANSFORM(digits()[0][:50]))[-1].movedim(1, -1).flatten(0, 2)
        head[0].weight.copy_(places[torch.randperm(len(places))[:32]])
        head[0].bias.copy_(-head[0].weight.square().sum(1) / 2)
    return Branch(net, head)


def known(labels: Tensor) -> Tensor:
    """Which of the digits are labelled, and as what; -1 of all others."""
    return torch.full_like(labels, -1).index_copy(0, torch.arange(len(labels))[LABELLED], labels[LABELLED])


def method(entry: Entry, init: int = 0, width: int = 4, said: Tensor | None = None, **knobs: Any) -> Method:
    """`said`: the labels of all digits, where they are not the true ones."""
    seed.everything(init, "init")
    labels = digits()[1] if said is None else said
    given: dict[str, Callable[[], Any]] = {
        "classes": lambda: 10,
        "images": lambda: 1797,
        "known": lambda: known(labels),
        "teacher": lambda: teacher(entry, labels),
    }
    asked = {name: given[name]() for name in entry.given}
    online = encoder(width, channels(entry), **NEEDS.get(entry.name, {}))
    chosen = {name: default for name, (_, default) in entry.knobs.items()} | SMALL.get(entry.name, {}) | knobs
    made = entry.load()(online, **asked, **chosen)
    made.t = 0.5
    return made.train()


def variants(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The methods of VARIANTS with other defaults, and with the views that they then ask for."""
    made = {}
    for entry in entries:
        if knobs := VARIANTS.get(entry.name):
            chosen = {name: (entry.knobs[name][0], value) for name, value in knobs.items()}
            other = replace(entry, knobs=entry.knobs | chosen)
            asks = method(other)
            name = "-".join((entry.name, *map(str, knobs.values())))
            made[name] = replace(other, labelled=asks.labelled, unlabelled=asks.unlabelled)
    return made


def batches(
    entry: Entry,
    batch: int = 16,
    ratio: int = 2,
    *,
    rank: int = 0,
    world: int = 1,
    gentle: bool = False,
    **targets: Any,
) -> Batches:
    """The first 200 digits are the labelled ones. `targets`: `labels` (of all), `sure` (of the teacher)."""
    pixels, truth = digits(channels(entry))
    labels, sure = targets.get("labels", truth), targets.get("sure", 2.0)
    noise = torch.randn(len(labels), 10, generator=torch.Generator().manual_seed(1))
    sidecars = {"teacher": (sure * torch.eye(10)[labels] + noise).__getitem__}
    streams = {}
    for name, recipes, size, rows, extra in (
        ("labelled", entry.labelled, batch, LABELLED, {"y": labels[LABELLED].__getitem__}),
        ("unlabelled", entry.unlabelled, batch * ratio, slice(None), {key: sidecars[key] for key in columns(entry)}),
    ):
        if recipes:
            images = Images(pixels[rows])
            coarse = gentle and {view: GENTLE for view, text in recipes.items() if "(" in text}
            views = {
                view: View(text, 8, MEAN * channels(entry), STD * channels(entry))
                for view, text in (recipes | (coarse or {})).items()
            }
            streams[name] = Stream(images, torch.arange(len(images)), size, views, extra)
    parts = {
        name: slice(rank * each.batch // world, (rank + 1) * each.batch // world) for name, each in streams.items()
    }
    return Batches(streams, 0, CPU, parts, index="index" in entry.load().asks())


def see(some: Batches, encoder: nn.Module) -> Tensor:
    return embed(encoder, some.streams["unlabelled"].images, TRANSFORM, 256, CPU)


def loss_at(step: int, network: nn.Module, some: Batches) -> Tensor:
    """The forward pass of that step of the engine; `network` is the method, or DDP around it."""
    learner = getattr(network, "module", network)
    if some.starts_epoch(step):
        seed.everything(0, "epoch", step)
        learner.before_epoch(partial(see, some))
    batch = some.at(step, learner.rows)
    seed.everything(0, "step", step)
    return network(**batch)


def train(
    learner: Method,
    some: Batches,
    folder: Path,
    steps: int,
    lr: float = 0.05,
    stop_at: int | None = None,
    name: str = "sgd",
) -> Record:
    """The real loop, and the real checkpoints; `stop_at` asks for a stop after so many steps; `name`: the optimiser."""
    training = params.Training(steps=steps, optimiser=params.Optimiser(name=name, lr=lr), monitors=0)
    stop = Stop()

    def report(done: int, text: str) -> None:
        stop.asked = done == stop_at

    return fit(
        learner,
        some,
        optimiser.build(learner, training.optimiser),
        training,
        Checkpoint(folder, every=1e9),
        run_seed=0,
        embed=partial(see, some),
        monitor=lambda method: {},
        report=report,
        stop=stop,
    )


def without_batch_statistics(module: nn.Module) -> nn.Module:
    """Each BatchNorm as a norm of one sample. In two processes a BatchNorm sees half a batch; on GPUs the engine makes
    it a SyncBatchNorm, which has no CPU form."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            norm = nn.GroupNorm(1, child.num_features, affine=child.affine)
            norm.requires_grad_(all(parameter.requires_grad for parameter in child.parameters()))
            setattr(module, name, norm)
        else:
            without_batch_statistics(child)
    return module
