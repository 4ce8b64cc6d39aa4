from collections.abc import Iterator

from torch import Tensor, nn

from pipeline.losses import cross_entropy
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.colours import Palette, check_lightness
from pipeline.nets.encoder import Encoder
from pipeline.nets.maps import last_channels
from pipeline.views.recipes import WEAK


class Colorization(Method):
    """Zhang et al. 2016, arXiv:1603.08511, equations 2 to 4.

    From lightness alone (`encoder.sees: [L]`) each place of the last feature map predicts its colour, one of the bins
    of the ab plane: five of them, by Gaussians of width `sigma`. Rare colours weigh more, `lam` 1 all the same. How
    rare a colour is the paper counts in ImageNet; here it is a running mean of the soft bins, so that the weights are
    those of the user's images and nothing is read before training.

    Use it for colour photographs whose things have colours of their own; the encoder stays one of lightness.
    """

    unlabelled = dict(x=WEAK)

    def __init__(self, encoder: Encoder, *, lam: float = 0.5, sigma: float = 5.0):
        super().__init__()
        check_lightness(encoder, "colorization")
        self.online, self.palette = Branch(encoder, nn.Identity()), Palette(encoder, lam, sigma)
        self.classifier = nn.Conv2d(last_channels(encoder), len(self.palette.bins), 1)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        logits = self.classifier(self.online.encoder.maps(x)[-1])
        z = self.palette(x, *logits.shape[2:])
        yield (self.palette.weight(z) * cross_entropy(logits.permute(0, 2, 3, 1).flatten(0, 2), z)).mean()
        self.palette.follow(z)
