"""Images as grids of codes: a tokenizer is an encoder with a linear head on each place of its last map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import gather
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.evaluating import evaluating


def code_logits(branch: Branch, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, h, w, vocab)."""
    return branch.head(branch.encoder.maps(x)[-1].movedim(1, -1))


@torch.no_grad()
def tokens(branch: Branch, x: Tensor) -> Tensor:
    """The likeliest code of each place, (B, h, w): in fp32, since lower precision makes ties."""
    with torch.autocast(x.device.type, enabled=False):
        return code_logits(branch, x.float()).argmax(-1)


@torch.no_grad()
def map_grid(encoder: Encoder) -> tuple[int, int]:
    """Height and width of the last map."""
    spec = encoder.spec
    with evaluating(encoder):
        last = encoder.maps(torch.zeros(2, spec["channels"], spec["size"], spec["size"]))[-1]
    return last.shape[2], last.shape[3]


def perplexity(codes: Tensor, vocab: int) -> Tensor:
    """exp of the entropy of how often each code is used, in all processes: how many codes carry something."""
    used = gather(codes.flatten()).bincount(minlength=vocab)
    return torch.special.entr(used / used.sum()).sum().exp()


def colours(encoder: Encoder, x: Tensor) -> Tensor:
    """What was normalised for an encoder, in [0, 1] again."""
    mean, std = (x.new_tensor(encoder.spec[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return x * std + mean


class PixelDecoder(nn.Module):
    """A grid of embeddings (B, h, w, dim) to the mean and log-scale of each pixel, twice (B, C, H, W).

    1x1 convolutions at both ends, as in DALL-E (arXiv:2102.12092, appendix A.1). Raises ParamsError unless the map of
    the encoder divides the image.
    """

    def __init__(self, encoder: Encoder, dim: int, hidden: int) -> None:
        super().__init__()
        channels, size, (h, w) = encoder.spec["channels"], encoder.spec["size"], map_grid(encoder)
        if h != w or size % h:
            raise ParamsError(f"a map of {h} x {w} does not divide an image of {size} pixels; choose another encoder")
        self.layers = nn.Sequential(
            nn.Conv2d(dim, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * channels * (size // h) ** 2, 1),
            nn.PixelShuffle(size // h),
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_b = self.layers(z.movedim(-1, 1)).chunk(2, 1)
        return mu, log_b
