"""A VisionTransformer of timm that is shown a part of its patches, or others in their places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.nets.encoder import Encoder


def transformer(encoder: Encoder) -> Any:
    """The network of an encoder from which patches can be hidden. Raises ParamsError for any other."""
    from timm.layers import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    net: Any = encoder.net
    plain = type(net) is VisionTransformer and type(net.patch_embed) is PatchEmbed
    if not plain or net.pos_embed is None or net.attn_pool is not None or len({*net.patch_embed.patch_size}) > 1:
        raise ParamsError(
            f"encoder {encoder.spec['name']!r}: patches can be hidden only from a plain VisionTransformer of timm, "
            "with square patches, positions and no attention in its pooling; "
            "ask for one such as encoder: {name: vit_tiny_patch16_224, args: {patch_size: 4}}"
        )
    return net


def embed_patches(net: Any, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, N, D), each patch by itself and without its position, row by row."""
    return net.patch_embed(x).flatten(1, -2)


def take(x: Tensor, places: Tensor) -> Tensor:
    """Rows `places` (B, n) of x (B, N, D), of each image its own: (B, n, D)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def transform(net: Any, patches: Tensor, seen: Tensor | None = None) -> Tensor:
    """What all blocks and the last norm make of (B, N, D) from `embed_patches`: (B, prefix + N, D), class token first.

    seen: (B, n), the only places that the blocks are shown; (B, prefix + n, D) then. Where the network norms after it
    has pooled, each patch is normed here, so that all weights learn.
    """
    positions, prefix = net.pos_embed[:, -patches.shape[1] :], net.num_prefix_tokens
    x = patches + positions
    if seen is not None:
        x = take(x, seen)
    if prefix:
        first = torch.cat([token for token in (net.cls_token, net.reg_token) if token is not None], 1)
        if not net.no_embed_class:
            first = first + net.pos_embed[:, :prefix]
        x = torch.cat([first.expand(len(x), -1, -1), x], 1)
    return net.fc_norm(net.norm(net.blocks(net.norm_pre(net.pos_drop(x)))))


def grid_positions(grid: tuple[int, int], dim: int) -> Tensor:
    """Sines and cosines of row and column, (h * w, dim), a quarter each (arXiv:1706.03762, section 3.5, in 2-D)."""
    places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float32) for side in grid))
    angles = places[..., None] / 10_000 ** (torch.arange(dim // 4) / (dim // 4))
    return torch.cat([angles.sin(), angles.cos()], 2).flatten(1)


class PatchDecoder(nn.Module):
    """From tokens of the visible patches to `out` numbers for each patch of the grid (arXiv:2111.06377, section 3).

    Raises ParamsError unless `dim` is divisible by `heads` and by 4.
    """

    positions: Tensor

    def __init__(self, net: Any, dim: int, depth: int, heads: int, out: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        if dim % heads or dim % 4:
            raise ParamsError(f"a decoder of dim {dim} cannot have {heads} heads: dim is a multiple of heads, and of 4")
        self.prefix = net.num_prefix_tokens
        self.enter, self.hidden = nn.Linear(net.embed_dim, dim), nn.Parameter(0.02 * torch.randn(dim))
        self.register_buffer("positions", grid_positions(net.patch_embed.grid_size, dim), persistent=False)
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True) for _ in range(depth)))
        self.leave = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, out))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """(B, prefix + n, D) of places `seen` (B, n) -> (B, N, out)."""
        first, there = self.enter(tokens).tensor_split([self.prefix], 1)
        whole = self.hidden.to(there.dtype).expand(len(seen), len(self.positions), -1)
        whole = whole.scatter(1, seen[..., None].expand_as(there), there) + self.positions
        return self.leave(self.blocks(torch.cat([first, whole], 1)))[:, self.prefix :]
