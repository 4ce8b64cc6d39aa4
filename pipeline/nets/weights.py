"""Tensors from a file into a network: all of them, or a reason."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from pipeline.errors import BadData
from pipeline.files import read_safetensors
from pipeline.nets.positions import fitted


def load_weights(net: nn.Module, path: Path, antialias: bool = False) -> None:
    """Every tensor of `net` from a safetensors file in timm's names; only the file's classifier is left out.

    Positions of a transformer for images of another size are interpolated.
    """
    tensors, _ = read_safetensors(path)
    names = (getattr(net, "pretrained_cfg", None) or {}).get("classifier") or "fc"
    for classifier in (names,) if isinstance(names, str) else names:
        for part in ("weight", "bias"):
            tensors.pop(f"{classifier}.{part}", None)
    load_exactly(net, fitted(tensors, net, antialias), path)


def load_exactly(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Raises BadData where a tensor is missing, left over, or of another shape or type; names ten of them at most."""
    wanted = module.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in tensors]
    wrong += [f"{name} is not known" for name in tensors if name not in wanted]
    for name, tensor in tensors.items():
        if name in wanted and (tensor.shape, tensor.dtype) != (wanted[name].shape, wanted[name].dtype):
            theirs, ours = (f"{tuple(t.shape)} {str(t.dtype)[6:]}" for t in (tensor, wanted[name]))
            wrong.append(f"{name} is {theirs}, the network has {ours}")
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise BadData(f"{path} is of another network: {'; '.join(wrong[:10])}{more}; check `encoder`")
    module.load_state_dict(tensors)
