"""Where an encoder starts: from what an earlier stage left, or fresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import Encoder, build_encoder, rebuild, shape
from pipeline.nets.model import load_model
from pipeline.nets.positions import fitted
from pipeline.nets.weights import load_exactly


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
    may start there, drawn from torch's global generator; another model with another encoder raises ParamsError. It may
    have learned from images of another size: the positions of a transformer are interpolated then.
    """
    model = load_model(folder)
    spec = model.branch.encoder.spec
    wanted = shape(chosen, channels, size)
    other = [key for key in wanted if spec[key] != wanted[key]]
    if other and folder.name == "scratch":
        return build_encoder(chosen, channels, size, mean, std)
    if other not in ([], ["size"]):
        differ = ", ".join(f"{key} {spec[key]!r} (here {wanted[key]!r})" for key in other)
        raise ParamsError(f"from: {folder.name}: its encoder has {differ}; ask for the same, or start from scratch")
    noise, normal = {"drop": chosen.drop, "drop_path": chosen.drop_path}, {"mean": list(mean), "std": list(std)}
    encoder = rebuild(spec | noise | normal | {"size": size})
    tensors = fitted(model.branch.encoder.state_dict(), encoder, chosen.antialias)
    load_exactly(encoder, tensors, folder / "model.safetensors")
    return encoder.keep(model.branch.head, layer) if layer else encoder
