from collections.abc import Callable, Iterable, Iterator
from math import log

from torch import Tensor, nn

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.kmeans import kmeans, unassigned
from pipeline.nets.memory import Frozen
from pipeline.views.recipes import INCEPTION


class ClusterFit(Method):
    """Yan et al. 2019, arXiv:1912.03330, section 3.

    A new network, of any shape, learns from random weights in which cluster of the features of another run (`from`) an
    image is; the clusters are made once. What the features say beyond their clusters is forgotten.

    Use it after a pretext task whose last layers are too much its own, such as rotation, or to give what a large
    network learned to a small one (Noroozi et al. 2018, arXiv:1805.00385).
    """

    unlabelled = dict(x=INCEPTION)
    clusters: Tensor

    def __init__(self, encoder: Encoder, *, teacher: Branch, images: int, k: int = 16_000, iterations: int = 50):
        super().__init__()
        self.teacher = Frozen(teacher.encoder)
        self.online = Branch(encoder, nn.Identity())
        self.classifier = nn.Linear(encoder.dim, k)
        self.register_buffer("clusters", unassigned(images, k))
        self.k, self.iterations, self.chance = k, iterations, log(k)

    def before_epoch(self, embed: Callable[[nn.Module], Tensor]) -> Iterable[nn.Parameter]:
        if not self.clusters.any():
            features = embed(self.teacher).to(self.clusters.device)
            self.clusters.copy_(kmeans(features, self.k, self.iterations)[1])
        return ()

    def step(self, x: Tensor, index: Tensor) -> Iterator[Tensor]:
        yield cross_entropy(self.classifier(self.online(x)), self.clusters[index]).mean()
