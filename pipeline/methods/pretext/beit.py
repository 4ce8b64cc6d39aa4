from collections.abc import Iterator
from math import log

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.masks import TRIES, blockwise
from pipeline.nets.memory import Frozen
from pipeline.nets.tokens import map_grid, perplexity, tokens
from pipeline.nets.vit import embed_patches, transform, transformer
from pipeline.views.recipes import BEIT


class BEiT(Method):
    """Bao et al. 2021, arXiv:2106.08254, section 2 and Algorithm 1.

    Patches are hidden from a transformer, block by block, and it tells which codes the tokenizer (`from`: a run of
    dvae) gives them, which sees the whole image. `share` of the patches are hidden: .383 is the paper's 75 of 196.
    `block` is the least size of a block, but no more than a third of what is hidden. `codes` in the curves is how many
    codes the tokenizer uses: few are too easily told.

    Use it for transformers that are to be fine-tuned; features as they are gain little from it.
    """

    unlabelled = dict(x=BEIT)

    def __init__(self, encoder: Encoder, *, teacher: Branch, share: float = 0.383, block: int = 16):
        super().__init__()
        if not isinstance(teacher.head, Head):
            raise ParamsError("beit learns the codes of a tokenizer, and this run left none: set from to a run of dvae")
        self.grid, theirs = transformer(encoder).patch_embed.grid_size, map_grid(teacher.encoder)
        if self.grid != theirs:
            raise ParamsError(
                f"{self.grid} patches, but {theirs} codes of the tokenizer: change encoder.args of either"
            )
        self.online, self.teacher, vocab = Branch(encoder, nn.Identity()), Frozen(teacher), teacher.head.dims[-1]
        self.classifier, self.hidden = nn.Linear(encoder.dim, vocab), nn.Parameter(0.02 * torch.randn(encoder.dim))
        self.count = max(1, int(share * self.grid[0] * self.grid[1]))
        self.luck, self.least, self.chance = Luck(), max(1, min(block, self.count // 3)), log(vocab)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        net = transformer(self.online.encoder)
        hidden = blockwise(self.luck(x, TRIES, 4), self.grid, self.count, self.least)
        patches = torch.where(hidden[..., None], self.hidden, embed_patches(net, x))
        features = transform(net, patches)[:, net.num_prefix_tokens :]
        codes = tokens(self.teacher.net, x).flatten(1)
        self.note(codes=perplexity(codes, self.classifier.out_features))
        yield cross_entropy(self.classifier(features[hidden]), codes[hidden]).mean()
        self.luck.turn()
