from collections.abc import Callable, Iterable, Iterator
from math import log

import torch
from torch import Tensor, nn

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.kmeans import evenly, kmeans, unassigned, whitened
from pipeline.views.recipes import INCEPTION


class DeepCluster(Method):
    """Caron et al. 2018, arXiv:1807.05520, equations 1 and 2.

    Before each epoch the images are clustered by their features; in it, a new classifier and the encoder learn which
    cluster an image is in. `every`: epochs from one clustering to the next, more where an epoch is short; `pca`: how
    many principal components are clustered. For Sobel input the encoder `sees: [edges]`.

    Use it where views would do harm, as one gentle view is enough; hold the learning rate constant, as the paper does:
    every new classifier must be learned.
    """

    unlabelled = dict(x=INCEPTION)
    clusters: Tensor
    drawn: Tensor
    epoch: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        images: int,
        k: int = 10_000,
        every: int = 1,
        pca: int = 256,
        iterations: int = 20,
    ):
        super().__init__()
        self.online = Branch(encoder, nn.Identity())
        self.register_buffer("clusters", unassigned(images, k))
        self.register_buffer("drawn", torch.arange(images))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.classifier = nn.Linear(encoder.dim, k)
        self.k, self.every, self.pca, self.iterations, self.chance = k, every, pca, iterations, log(k)

    @property
    def rows(self) -> Tensor:
        return self.drawn

    def before_epoch(self, embed: Callable[[nn.Module], Tensor]) -> Iterable[nn.Parameter]:
        due = int(self.epoch) % max(self.every, 1) == 0
        if due:
            features = embed(self.online.encoder).to(self.clusters.device)
            self.clusters.copy_(kmeans(whitened(features, self.pca), self.k, self.iterations)[1])
            nn.init.normal_(self.classifier.weight, std=0.01)
            nn.init.zeros_(self.classifier.bias)
        self.drawn.copy_(evenly(self.clusters))
        self.epoch += 1
        return self.classifier.parameters() if due else ()

    def step(self, x: Tensor, index: Tensor) -> Iterator[Tensor]:
        yield cross_entropy(self.classifier(self.online(x)), self.clusters[index]).mean()
