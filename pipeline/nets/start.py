"""Where an encoder starts: from what an earlier stage left, or fresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import Encoder, build_encoder, rebuild, shape
from pipeline.nets.model import load_model


def start_encoder(
    chosen: params.Encoder,
    channels: int,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    folder: Path,
    layer: int = 0,
) -> Encoder:
    """The encoder of the model in `folder`, with the noise (`drop`, `drop_path`) that `chosen` asks for.

    `layer` > 0 keeps that many layers of its projection head. The model `scratch` promises nothing, so that any encoder
    may start there, drawn from torch's global generator; another model with another encoder raises ParamsError.
    """
    model = load_model(folder)
    spec = model.branch.encoder.spec
    wanted = shape(chosen, channels, size)
    if other := [key for key in wanted if spec[key] != wanted[key]]:
        if folder.name == "scratch":
            return build_encoder(chosen, channels, size, mean, std)
        differ = ", ".join(f"{key} {spec[key]!r} (here {wanted[key]!r})" for key in other)
        raise ParamsError(f"from: {folder.name}: its encoder has {differ}; ask for the same, or start from scratch")
    encoder = rebuild(spec | {"drop": chosen.drop, "drop_path": chosen.drop_path, "mean": list(mean), "std": list(std)})
    encoder.load_state_dict(model.branch.encoder.state_dict())
    return encoder.keep(model.branch.head, layer) if layer else encoder
