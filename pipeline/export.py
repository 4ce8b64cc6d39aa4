"""A classifier for people who have timm and nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline import files
from pipeline.errors import BadData
from pipeline.nets.distilled import two_tokens
from pipeline.nets.encoder import arguments
from pipeline.nets.heads import Head, TokenHeads
from pipeline.nets.model import Model
from pipeline.nets.weights import load_exactly


def export(model: Model, folder: Path) -> None:
    """Write the layout of timm's hub: `timm.create_model("local-dir:FOLDER", pretrained=True)` gives the same logits.

    A network of ours needs `import pipeline.nets.registry` before. Raises BadData for what timm has no place for:
    `sees`, `norm: layer`, a neck, a head that is not one linear layer, a network whose classifier differs from ours.
    """
    import timm

    import pipeline.nets.registry  # noqa: F401

    about, encoder, head = model.about, model.branch.encoder, model.branch.head
    spec = encoder.spec
    if spec["sees"] or spec["norm"] != "batch":
        raise BadData("timm builds no encoder with `sees` or with `norm: layer`; it cannot be exported")
    if spec["neck"] or not isinstance(head, Head | TokenHeads) or len(head.dims) != 2:
        raise BadData("only an encoder without a neck, under one linear layer, can be exported to timm")
    network = timm.create_model(spec["name"], pretrained=False, num_classes=head.dims[-1], **arguments(spec)).eval()
    known: Any = network.pretrained_cfg
    names = [known["classifier"]] if isinstance(known["classifier"], str) else list(known["classifier"])
    if len(names) > 1 and not two_tokens(encoder.net):
        raise BadData(f"timm's {spec['name']} has {len(names)} classifiers, this model one; it cannot be exported")
    tensors = encoder.net.state_dict()
    for name, (weight, bias) in zip(names, _classifiers(head, len(names)), strict=True):
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}

    load_exactly(network, tensors, Path(folder))
    images = torch.linspace(-1, 1, 2 * spec["channels"] * spec["size"] ** 2)
    images = images.reshape(2, spec["channels"], spec["size"], spec["size"])
    with torch.no_grad():
        if not torch.allclose(network(images), model.branch.eval()(images), atol=1e-5):
            raise BadData(f"timm's {spec['name']} treats its features otherwise when it classifies; no export")

    config = {
        "architecture": spec["name"],
        "num_classes": head.dims[-1],
        "num_features": encoder.dim // len(names),
        "label_names": about["classes"],
        "model_args": arguments(spec),
        "pretrained_cfg": {
            "input_size": [spec["channels"], spec["size"], spec["size"]],
            "fixed_input_size": known.get("fixed_input_size", False),
            "mean": about["mean"],
            "std": about["std"],
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "classifier": known["classifier"],
            "first_conv": known.get("first_conv"),
        },
    }
    files.write_safetensors(Path(folder) / "model.safetensors", tensors, {})
    files.write_json(Path(folder) / "config.json", config)


def _classifiers(head: Head | TokenHeads, count: int) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of each classifier of a network that gives the mean of `count`; a sum is that of its terms."""
    given = head.state_dict()
    if isinstance(head, TokenHeads):
        return [(given[f"heads.{place}.weight"], given[f"heads.{place}.bias"]) for place in range(count)]
    return [(count * part, given["0.bias"].clone()) for part in given["0.weight"].chunk(count, 1)]
