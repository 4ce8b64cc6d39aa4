from collections.abc import Iterator
from math import log

import torch
from torch import Tensor, nn

from pipeline.losses import gather, info_nce_among, own
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.patches import PatchNoise, RowPredictor, check_patches, cut
from pipeline.views.recipes import CPC


class CPCv2(Method):
    """Henaff et al. 2019, arXiv:1905.09272, section 3.1 and appendix A.2.

    From the patches above, and in turn from those of the other three sides, the patches `skip` + 1 to `skip` + `steps`
    rows further are told from all patches of the batch. `stride` below `patch` lets patches overlap, which `skip` takes
    out of the predictions; `scale` is on the logits; `flip`, `drop` and `jitter` are the noise of single patches.

    Use it where the parts of an image tell of one another: textures and scenes, large images before small ones.
    """

    unlabelled = dict(x=CPC)

    def __init__(
        self,
        encoder: Encoder,
        *,
        patch: int = 8,
        stride: int = 4,
        skip: int = 2,
        steps: int = 3,
        dim: int = 64,
        hidden: int = 256,
        scale: float = 0.1,
        flip: float = 0.5,
        drop: float = 0.25,
        jitter: float = 0.4,
    ):
        super().__init__()
        check_patches(encoder, patch, stride, skip + steps)
        self.online, self.target = Branch(encoder, nn.Identity()), nn.Linear(encoder.dim, dim)
        self.predictors = nn.ModuleList(RowPredictor(encoder.dim, hidden, steps, dim) for _ in range(4))
        self.noise = PatchNoise(flip, drop, jitter)
        self.patch, self.stride, self.skip, self.steps, self.scale = patch, stride, skip, steps, scale

    def step(self, x: Tensor) -> Iterator[Tensor]:
        patches = self.noise(cut(x, self.patch, self.stride))
        z = self.online(patches.flatten(0, 2)).unflatten(0, patches.shape[:3])
        targets = gather(self.target(z))
        which = own(torch.arange(targets[..., 0].numel(), device=x.device).view(targets.shape[:3]))
        losses = []
        for turn, predictor in enumerate(self.predictors):
            predicted, there = self.scale * predictor(z.rot90(turn, (1, 2))), which.rot90(turn, (1, 2))
            for step in range(self.steps):
                k = self.skip + step + 1
                above, below = predicted[:, :-k, :, step], there[:, k:]
                losses.append(info_nce_among(above.flatten(0, 2), targets.flatten(0, 2), below.flatten()))
        self.chance = log(targets[..., 0].numel())
        yield torch.stack(losses).mean()
        self.noise.turn()
