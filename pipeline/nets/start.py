"""Where an encoder starts: from what an earlier stage left, or fresh."""

from __future__ import annotations

from pathlib import Path

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import Encoder, build_encoder, rebuild
from pipeline.nets.model import load_model

SHAPE = ("name", "args", "channels", "size")


def start_encoder(chosen: params.Encoder, channels: int, size: int, folder: Path, layer: int = 0) -> Encoder:
    """The encoder of the model in `folder`, with the noise (`drop`, `drop_path`) that `chosen` asks for.

    `layer` > 0 keeps that many layers of its projection head. The model `scratch` promises nothing, so that any encoder
    may start there, drawn from torch's global generator; another model with another encoder raises ParamsError.
    """
    model = load_model(folder)
    spec = model.branch.encoder.spec
    wanted = {"name": chosen.name, "args": dict(chosen.args), "channels": channels, "size": size}
    if {key: spec[key] for key in SHAPE} != wanted:
        if folder.name == "scratch":
            return build_encoder(chosen, channels, size)
        raise ParamsError(
            f"from: {folder.name}: its encoder is {spec['name']} {spec['args']}, here {chosen.name} {chosen.args} "
            "is asked for; ask for the same, or start from scratch"
        )
    encoder = rebuild(spec | {"drop": chosen.drop, "drop_path": chosen.drop_path})
    encoder.load_state_dict(model.branch.encoder.state_dict())
    return encoder.keep(model.branch.head, layer) if layer else encoder
