from collections.abc import Iterator
from math import log1p
from typing import Literal

from torch import Tensor, nn

from pipeline.losses import gather, nce_among, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.memory import MemoryBank, Turns
from pipeline.nets.tiles import tiles, turned
from pipeline.views.recipes import PIRL_IMAGE, PIRL_MOVED


class PIRL(Method):
    """Misra and van der Maaten 2019, arXiv:1912.01991, section 2.

    An image and its transformed copy both attract the image's row in a memory bank of the image embeddings alone, and
    repel `negatives` other rows. `transforms` jigsaw embeds the tiles of a `grid` x `grid` puzzle one by one and joins
    them in a random order, rotation turns the image by quarters, both turns each tile. `lam` is the weight of the copy.

    Use it where a transformation changes the pixels and not the class; the encoder must take tiles of any size.
    """

    unlabelled = dict(image=PIRL_IMAGE, moved=PIRL_MOVED)

    def __init__(
        self,
        encoder: Encoder,
        *,
        images: int,
        transforms: Literal["jigsaw", "rotation", "both"] = "jigsaw",
        grid: int = 3,
        dim: int = 128,
        negatives: int = 32000,
        m: float = 0.5,
        tau: float = 0.07,
        lam: float = 0.5,
    ):
        super().__init__()
        self.online, n = Branch(encoder, Head([encoder.dim, dim])), 1 if transforms == "rotation" else grid**2
        self.part, self.joined = nn.Linear(encoder.dim, dim), nn.Linear(n * dim, dim) if n > 1 else nn.Identity()
        self.bank, self.noise, self.luck = MemoryBank(images, dim), Turns(images, negatives), Luck()
        self.transforms, self.parts, self.m, self.tau, self.lam = transforms, n, m, tau, lam
        self.chance = log1p(self.noise.size) + self.noise.size * log1p(1 / self.noise.size)

    def transformed(self, x: Tensor) -> Tensor:
        luck = self.luck(x, self.parts, 4)
        parts = x[:, None] if self.transforms == "rotation" else tiles(x, luck[..., 0].argsort(1), luck[..., 1:3])
        flat = parts.flatten(0, 1)
        if self.transforms != "jigsaw":
            flat = turned(flat, (4 * luck[..., 3]).long().flatten())
        return self.joined(self.part(self.online.encoder(flat)).view(len(x), -1))

    def step(self, image: Tensor, moved: Tensor, index: Tensor) -> Iterator[Tensor]:
        f, g = unit(self.online(image)), unit(self.transformed(moved))
        rows = self.noise.rows()
        bank = self.bank.rows[index], self.bank.rows[rows], self.tau, index[:, None] == rows
        yield self.lam * nce_among(g, *bank) + (1 - self.lam) * nce_among(f, *bank)
        self.bank.update(gather(index), gather(f), self.m)
        self.noise.turn()
        self.luck.turn()
