from collections.abc import Iterator
from math import log
from typing import Literal

from torch import Tensor
from torch.nn.functional import instance_norm

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.patches import check_tiles
from pipeline.nets.permutations import Solver
from pipeline.nets.tiles import tiles
from pipeline.views.recipes import JIGSAW


class Jigsaw(Method):
    """Noroozi and Favaro 2016, arXiv:1603.09246, section 3 and Algorithm 1.

    The tiles of a `grid` x `grid` puzzle come in one of `permutations` orders, and the network says in which; it embeds
    each tile by itself, in `part` numbers. Tiles are cut with a gap between them and have mean 0 and deviation 1 each,
    so that neither their edges nor their light tell. `hidden` is the width of the layer that sees all tiles.

    Use it where images hold objects of many parts; the encoder must take tiles of any size. The more permutations, the
    harder the puzzle: 100 are easy, 10,000 are for large networks.
    """

    unlabelled = dict(x=JIGSAW)

    def __init__(
        self,
        encoder: Encoder,
        *,
        grid: Literal[2, 3] = 3,
        permutations: int = 1000,
        part: int = 512,
        hidden: int = 4096,
    ):
        super().__init__()
        check_tiles(encoder, grid)
        self.online = Branch(encoder, Head([encoder.dim, part]))
        self.solver, self.luck = Solver(grid**2, part, hidden, permutations), Luck()
        self.parts, self.chance = grid**2, log(permutations)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        luck = self.luck(x, self.parts + 1, 2)
        which = self.solver.pick(luck[:, 0, 0])
        puzzle = tiles(x, self.solver.table[which], luck[:, 1:])
        parts = self.online(instance_norm(puzzle.flatten(0, 1)))
        self.note(hamming_min=self.solver.spread[0], hamming_mean=self.solver.spread[1])
        yield cross_entropy(self.solver(parts), which).mean()
        self.luck.turn()
