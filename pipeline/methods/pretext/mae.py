from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.luck import Luck
from pipeline.nets.patches import cut
from pipeline.nets.vit import PatchDecoder, embed_patches, take, transform, transformer
from pipeline.views.recipes import MAE


class MaskedAutoencoder(Method):
    """He et al. 2021, arXiv:2111.06377, section 3.

    The transformer sees a few patches of an image, a small decoder (`dim`, `depth`, `heads`) tells from them the pixels
    of the hidden ones, each patch with mean 0 and variance 1. `share` of the patches are hidden.

    Use it for transformers that are to be fine-tuned, on large images: it is cheap, as it sees a quarter of each.
    """

    unlabelled = dict(x=MAE)

    def __init__(self, encoder: Encoder, *, share: float = 0.75, dim: int = 512, depth: int = 8, heads: int = 16):
        super().__init__()
        net = transformer(encoder)
        self.patch, self.patches = net.patch_embed.patch_size[0], net.patch_embed.num_patches
        self.online, self.luck = Branch(encoder, nn.Identity()), Luck()
        self.seen = min(max(1, round((1 - share) * self.patches)), self.patches - 1)
        self.decoder = PatchDecoder(net, dim, depth, heads, self.patch**2 * encoder.spec["channels"])

    def targets(self, x: Tensor) -> Tensor:
        pixels = cut(x, self.patch, self.patch).flatten(3).flatten(1, 2).float()
        return F.layer_norm(pixels, pixels.shape[2:], eps=1e-6)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        seen, hidden = self.luck(x, self.patches).argsort(1).tensor_split([self.seen], 1)
        net = transformer(self.online.encoder)
        predicted = self.decoder(transform(net, embed_patches(net, x), seen), seen)
        yield F.mse_loss(take(predicted, hidden).float(), take(self.targets(x), hidden))
        self.luck.turn()
