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
from pipeline.nets.tiles import beside, occluded, tiles
from pipeline.views.recipes import JIGSAW_PP


class JigsawPP(Method):
    """Noroozi et al. 2018, arXiv:1805.00385, section 4 (Jigsaw++).

    A puzzle as in Jigsaw, where up to `replaced` tiles are those of the image beside it in the batch: the network must
    see which do not belong, and solve the puzzle from the others. Any two of the `permutations` differ in more than
    `replaced` places, so that there is one answer; images are grey more often than not, so that colours do not tell.

    Use it for a puzzle that is harder than Jigsaw, in a large network, whose knowledge ClusterFit then gives to a small
    one (section 3 of the paper).
    """

    unlabelled = dict(x=JIGSAW_PP)

    def __init__(
        self,
        encoder: Encoder,
        *,
        grid: Literal[2, 3] = 3,
        permutations: int = 701,
        replaced: int = 2,
        part: int = 512,
        hidden: int = 4096,
    ):
        super().__init__()
        check_tiles(encoder, grid)
        self.online = Branch(encoder, Head([encoder.dim, part]))
        self.solver, self.luck = Solver(grid**2, part, hidden, permutations, replaced + 1), Luck()
        self.parts, self.replaced, self.chance = grid**2, replaced, log(permutations)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        luck = self.luck(x, self.parts + 1, 6)
        which, count = self.solver.pick(luck[:, 0, 0]), ((self.replaced + 1) * luck[:, 0, 1]).long()
        hide, their_order, moves, their_moves = luck[:, 1:].split([1, 1, 2, 2], 2)
        mine = tiles(x, self.solver.table[which], moves)
        others = tiles(beside(x), their_order[..., 0].argsort(1), their_moves)
        puzzle = occluded(mine, others, hide[..., 0], count)
        parts = self.online(instance_norm(puzzle.flatten(0, 1)))
        self.note(hamming_min=self.solver.spread[0], hamming_mean=self.solver.spread[1])
        yield cross_entropy(self.solver(parts), which).mean()
        self.luck.turn()
