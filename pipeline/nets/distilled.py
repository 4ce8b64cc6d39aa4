"""Transformers of timm with a distillation token beside the class token (DeiT, arXiv:2012.12877)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.heads import TokenHeads

if TYPE_CHECKING:
    from pipeline.nets.branch import Branch
    from pipeline.nets.encoder import Encoder


def two_tokens(net: nn.Module) -> bool:
    return hasattr(net, "dist_token")


def side_by_side(net: Any) -> nn.Module:
    """The same network, whose features are those of both tokens, (B, 2 D), where timm gives their mean."""
    if two_tokens(net):
        net.forward_head = _both  # a function of no network, so that a copy has it too
    return net


def _both(x: Tensor, pre_logits: bool = False) -> Tensor:
    """(B, 2 + N, D) -> (B, 2 D), class token first."""
    return x[:, :2].flatten(1)


def by_token(branch: Branch, x: Tensor) -> list[Tensor]:
    """What the head of the class token says of x, and what that of the distillation token says: (B, classes) each."""
    heads: Any = branch.head
    return heads.apart(branch.encoder(x))


def token_heads(encoder: Encoder, classes: int) -> TokenHeads:
    """A classifier for each of the two tokens. Raises ParamsError for an encoder without a distillation token."""
    if not two_tokens(encoder.net) or encoder.spec["neck"]:
        raise ParamsError(
            f"encoder {encoder.spec['name']!r} has no distillation token; ask for one that has, such as "
            "encoder: {name: deit_tiny_distilled_patch16_224, args: {patch_size: 4}}"
        )
    return TokenHeads([encoder.dim, classes])
