"""Images to pooled features: a network of ours or of timm, and perhaps the first layers of a projection head."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.depth import depths
from pipeline.nets.distilled import side_by_side
from pipeline.nets.heads import Head
from pipeline.nets.maps import feature_maps
from pipeline.nets.multiview import MultiView
from pipeline.nets.parts import layer_norms
from pipeline.nets.small import NETWORKS
from pipeline.nets.weights import load_weights

if TYPE_CHECKING:
    from pipeline import params

# Arguments of timm's factory that are decided elsewhere, or that would fetch or unpickle weights.
SET_HERE = ("num_classes", "in_chans", "drop_rate", "drop_path_rate", "features_only", "cache_dir",
            "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "device", "dtype")  # fmt: skip


class Encoder(nn.Module):
    """(B, C, H, W) -> (B, dim). `spec` is plain JSON, and enough for `rebuild`; dropout comes last, before any head."""

    def __init__(self, net: nn.Module, dim: int, spec: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.neck, self.drop = net, nn.Sequential(), nn.Dropout(spec["drop"])
        self.dim, self.spec, self.frozen = dim, spec, False

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.neck(self.net(x)))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What every stage gives, from the image up, (B, C, h, w) each; for a transformer every block is a stage.

        Raises ParamsError for a network of timm that does not show it.
        """
        return feature_maps(self.net, x)

    def keep(self, head: nn.Module, layers: int) -> Encoder:
        """Make the first `layers` hidden layers of a projection head part of this encoder, as SimCLRv2 does.

        Chen et al. 2020, arXiv:2006.10029, section 2. ParamsError where it has fewer, or some are kept already.
        """
        if not layers:
            return self
        hidden = len(head.dims) - 2 if isinstance(head, Head) else 0
        if not isinstance(head, Head) or layers > hidden or self.spec["neck"]:
            raise ParamsError(
                f"cannot keep {layers} layers of the head: of hidden ones that are not kept it has {hidden}"
            )
        self.neck, self.dim = head.first(layers), head.dims[layers]
        self.spec = self.spec | {"neck": head.spec | {"dims": head.dims[: layers + 1]}}
        return self

    def freeze(self) -> Encoder:
        """No gradient, and eval mode whatever a parent's train() says."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Encoder:
        return super().train(mode and not self.frozen)

    @cached_property
    def _depth(self) -> dict[str, int]:
        return depths(self.net, self.spec["name"])

    @property
    def depths(self) -> int:
        """How many depths there are: a head on this encoder stands at depth `depths`."""
        return max(self._depth.values()) + (2 if self.spec["neck"] else 1)

    def depth_of(self, parameter: str) -> int:
        """0 for the stem, then block by block; of a name as `named_parameters` gives it (for layer-wise rate decay)."""
        part, name = parameter.split(".", 1)
        return self.depths - 1 if part == "neck" else self._depth[name]


def arguments(spec: dict[str, Any]) -> dict[str, Any]:
    """What the constructor is called with besides classes and rates; a transformer of timm is told the image size."""
    given = {"in_chans": spec["channels"], **spec["args"]}
    if spec["name"] in NETWORKS:
        return given
    import timm

    import pipeline.nets.selective  # noqa: F401

    if not timm.is_model(spec["name"]):
        near = difflib.get_close_matches(spec["name"], [*NETWORKS, *timm.list_models()])
        raise ParamsError(
            f"encoder.name: neither we ({', '.join(NETWORKS)}) nor timm have {spec['name']!r}; near: {near}"
        )
    fixed = getattr(timm.get_pretrained_cfg(spec["name"]), "fixed_input_size", False)
    return {"img_size": spec["size"], **given} if fixed else given


def _network(spec: dict[str, Any]) -> nn.Module:
    if spec["sees"]:
        one = spec | {"sees": []}
        return MultiView(
            spec["sees"], lambda channels: _network(one | {"channels": channels}), spec["mean"], spec["std"]
        )
    given = arguments(spec)
    if spec["drop_path"]:  # not every network of timm knows it
        given["drop_path_rate"] = spec["drop_path"]
    if spec["name"] in NETWORKS:
        net = NETWORKS[spec["name"]](**given)
    else:
        import timm

        net = side_by_side(timm.create_model(spec["name"], pretrained=False, num_classes=0, **given))
    return layer_norms(net) if spec["norm"] == "layer" else net


def rebuild(spec: dict[str, Any]) -> Encoder:
    """An encoder of that shape, with weights from torch's global generator. Raises ParamsError where there is none."""
    name, images = spec["name"], (2, spec["channels"], spec["size"], spec["size"])
    if taken := sorted(set(spec["args"]) & set(SET_HERE)):
        raise ParamsError(f"encoder.args: {', '.join(taken)} cannot be set there; remove it")
    try:
        net = _network(spec)
        with torch.no_grad():
            features = net.eval()(torch.zeros(images))
    except ParamsError:
        raise
    except Exception as error:  # whatever a constructor of timm makes of arguments that are the user's
        raise ParamsError(
            f"encoder {name!r} with args {spec['args']} cannot see {images[1:]} images: {error}"
        ) from None
    if features.ndim != 2:
        raise ParamsError(f"encoder {name!r} gives features of {tuple(features.shape)}; set args that pool them")
    encoder = Encoder(net.train(), features.shape[1], spec | {"neck": None})
    if neck := spec["neck"]:
        encoder.keep(Head(**neck | {"dims": [*neck["dims"], 1]}), len(neck["dims"]) - 1)
    return encoder


def shape(params: params.Encoder, channels: int, size: int) -> dict[str, Any]:
    """The part of a spec that weights depend on."""
    asked = {"name": params.name, "args": dict(params.args), "sees": list(params.sees), "norm": params.norm}
    return asked | {"channels": channels, "size": size}


def build_encoder(
    params: params.Encoder,
    channels: int,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Encoder:
    """The encoder that params.yaml asks for: weights from torch's global generator, or from a local safetensors file.

    mean, std: how its images are normalised, for whoever wants their colours back. Raises ParamsError for a name or
    arguments that make no network, BadData for a weights file of another one.
    """
    spec = shape(params, channels, size) | {"mean": list(mean), "std": list(std)}
    encoder = rebuild(spec | {"drop": params.drop, "drop_path": params.drop_path, "neck": None})
    if params.weights:
        load_weights(encoder.net, Path(params.weights), params.antialias)
    return encoder
