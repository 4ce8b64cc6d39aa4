from collections.abc import Callable, Iterable, Iterator
from math import log

import torch
from torch import Tensor, nn

from pipeline.losses import cross_entropy, gather, unit
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch, together
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.kmeans import kmeans, unassigned
from pipeline.views.recipes import MULTI_LARGE


class DeepClusterV2(Method):
    """Caron et al. 2020, arXiv:2006.09882, appendix on DeepCluster-v2.

    The centroids of spherical k-means are the classifier: a crop is to be nearest to the centroid of its image. Each of
    `heads` clusterings takes the features of one crop of every image, as they were when it was last seen.

    Use it instead of deepcluster where colours may be changed; it clusters without another pass over the images.
    """

    unlabelled = dict(a=MULTI_LARGE, b=MULTI_LARGE)
    prototypes: Tensor
    clusters: Tensor
    bank: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        images: int,
        hidden: int = 2048,
        dim: int = 128,
        k: int = 3000,
        heads: int = 3,
        iterations: int = 10,
        tau: float = 0.1,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, hidden, dim]))
        self.register_buffer("clusters", unassigned(images, k, heads))
        self.register_buffer("prototypes", torch.zeros(heads, k, dim))
        self.register_buffer("bank", torch.zeros(2, images, dim))
        self.iterations, self.tau, self.chance = iterations, tau, log(k)

    def before_epoch(self, embed: Callable[[nn.Module], Tensor]) -> Iterable[nn.Parameter]:
        if not self.bank.any():
            self.bank.copy_(unit(embed(self.online)))
        for head, (prototypes, clusters) in enumerate(zip(self.prototypes, self.clusters, strict=True)):
            centroids, nearest = kmeans(self.bank[head % 2], len(prototypes), self.iterations, spherical=True)
            prototypes.copy_(centroids)
            clusters.copy_(nearest)
        return ()

    def step(self, a: Tensor, b: Tensor, index: Tensor) -> Iterator[Tensor]:
        z = [unit(z) for z in together(self.online, a, b)]
        with torch.autocast(a.device.type, enabled=False):
            logits = torch.cat(z) @ self.prototypes.mT / self.tau
        yield cross_entropy(logits.flatten(0, 1), self.clusters[:, index].repeat(1, 2).flatten()).mean()
        self.bank[:, gather(index)] = torch.stack([gather(view) for view in z])
