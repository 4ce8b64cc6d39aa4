from collections.abc import Iterator

from torch import Tensor, nn

from pipeline.errors import Collapsed
from pipeline.losses import gumbel_softmax, kl_to_uniform, logit_laplace
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.heads import Head
from pipeline.nets.luck import Luck
from pipeline.nets.memory import eased
from pipeline.nets.tokens import PixelDecoder, code_logits, colours, perplexity
from pipeline.views.recipes import DVAE


class DiscreteVAE(Method):
    """Ramesh et al. 2021, arXiv:2102.12092, section 2.1 and appendix A.

    Each place of the encoder's last map draws one of `vocab` codes, and from their embeddings (of `dim`) the image is
    decoded. The draw is relaxed: a temperature falls from 1 to `tau` in the share `cooling` of the run. `beta`, reached
    after the share `warming`, weighs the divergence from all codes alike; it and the likelihood are those of a whole
    image, over its number of pixels. `codes` in the curves is how many codes are in use.

    Use it to make the tokens of beit: its map must be as large as that transformer's grid of patches.
    """

    unlabelled = dict(x=DVAE)

    def __init__(
        self,
        encoder: Encoder,
        *,
        vocab: int = 8192,
        dim: int = 512,
        hidden: int = 256,
        beta: float = 6.6,
        warming: float = 0.0017,
        tau: float = 0.0625,
        cooling: float = 0.05,
    ):
        super().__init__()
        self.online = Branch(encoder, Head([encoder.dim, vocab]))
        self.codebook, self.decoder = nn.Embedding(vocab, dim), PixelDecoder(encoder, dim, hidden)
        self.luck, self.vocab, self.beta, self.tau = Luck(), vocab, beta, tau
        self.warming, self.cooling = warming, cooling

    def step(self, x: Tensor) -> Iterator[Tensor]:
        logits = code_logits(self.online, x)
        tau, beta = eased(1, self.tau, self.cooling, self.t), eased(0, self.beta, self.warming, self.t)
        z = gumbel_softmax(logits, self.luck(x, *logits.shape[1:]), tau)
        surprise = logit_laplace(colours(self.online.encoder, x), *self.decoder(z @ self.codebook.weight))
        codes = perplexity(logits.argmax(-1), self.vocab)
        self.note(codes=codes)
        yield (surprise.flatten(1).sum(1).mean() + beta * kl_to_uniform(logits)) / x[0].numel()
        if self.t > 0.5 and codes < 1.5:
            raise Collapsed(f"{codes:.2f} of {self.vocab} codes are in use: lower beta or the learning rate")
        self.luck.turn()
