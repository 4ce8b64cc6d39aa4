"""Pure functions of tensors, named as the papers name them. Logarithms and temperatures stay fp32 under autocast."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def unit(z: Tensor) -> Tensor:
    """Rows of length 1, in fp32; the floor on the length keeps a zero row at zero, also when it came from fp16."""
    return F.normalize(z.float(), dim=-1, eps=1e-6)


def gather(z: Tensor) -> Tensor:
    """The rows of all processes, in rank order, with gradient: (B, ...) -> (world * B, ...).

    Every process computes the whole loss from them. The backward pass sums over processes and DDP then averages, so
    that the gradient is that of one process with the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return z
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(z.contiguous()))


def everyone(count: int) -> int:
    """How many there are in all processes, where each has `count`."""
    return count * (dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1)


def own(z: Tensor) -> Tensor:
    """The rows of this process among those that `gather` gave: (world * B, ...) -> (B, ...)."""
    if not (dist.is_available() and dist.is_initialized()):
        return z
    return z.chunk(dist.get_world_size())[dist.get_rank()]


def nt_xent(a: Tensor, b: Tensor, tau: float, negatives: Tensor | None = None) -> Tensor:
    """NT-Xent (arXiv:2002.05709, equation 1), mean over the 2N anchors of both directions.

    a, b: (N, D) projections of two views, row i of the same image; they need not be normalised.
    The positive stays in the denominator; an anchor is never its own negative. Chance: ln(2N - 1).
    `negatives`: K more for every anchor, (K, D) of length 1 (arXiv:2006.10029, section 2). Chance: ln(2N - 1 + K).
    """
    with torch.autocast(a.device.type, enabled=False):
        z = unit(torch.cat([gather(a), gather(b)]))
        others = z if negatives is None else torch.cat([z, negatives])
        similarity = (z @ others.T / tau).fill_diagonal_(-torch.inf)
        positive = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return F.cross_entropy(similarity, positive)


def info_nce(q: Tensor, k: Tensor, negatives: Tensor, tau: float, own: Tensor | None = None) -> Tensor:
    """InfoNCE (arXiv:1911.05722, equation 1): -log exp(q k / tau) / (exp(q k / tau) + sum_n exp(q n / tau)), the mean.

    q, k: (B, D), negatives n: (K, D), all rows of length 1; no k may stand among the negatives, but where `own` (B, K)
    is True: that negative is of the query's own image, and is left out. Chance: ln(K + 1).
    """
    with torch.autocast(q.device.type, enabled=False):
        positive, others = (q * k).sum(1, keepdim=True), q @ negatives.T
        if own is not None:
            others = others.masked_fill(own, -torch.inf)
        logits = torch.cat([positive, others], 1) / tau
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))


def log_partition(q: Tensor, negatives: Tensor, tau: float, own: Tensor | None = None) -> Tensor:
    """ln of the mean of exp(q n / tau) over queries (B, D) and negatives (K, D), but those that are `own` (B, K).

    That is ln(Z / n) of a softmax over n rows of a bank (arXiv:1805.01978, equation 8).
    """
    with torch.autocast(q.device.type, enabled=False):
        scores = q @ negatives.T / tau
        if own is not None:
            scores = scores.masked_fill(own, -torch.inf)
        return scores.flatten().logsumexp(0) - scores.isfinite().sum().log()


def nce(q: Tensor, k: Tensor, negatives: Tensor, tau: float, log_z: Tensor, own: Tensor) -> Tensor:
    """NCE (arXiv:1805.01978, equations 5 to 7): -log h(q, k) - sum_n log(1 - h(q, n)), the mean over queries.

    P = exp(q k / tau) / Z, and noise picks one of the N rows of the bank uniformly: a pair is data and none of K draws
    of noise with probability h = P / (P + K / N) = sigmoid(q k / tau - ln(K Z / N)); log_z: ln(Z / N).
    q, k: (B, D), negatives: (K, D), rows of length 1; own (B, K): negatives of the query's own image, which are left
    out. Chance: ln(1 + K) + K ln(1 + 1 / K), near ln K + 1.
    """
    with torch.autocast(q.device.type, enabled=False):
        shift = log_z + log(len(negatives))
        others = (q @ negatives.T / tau).masked_fill(own, -torch.inf)
        return (F.softplus(shift - (q * k).sum(1) / tau) + F.softplus(others - shift).sum(1)).mean()


def nce_among(q: Tensor, k: Tensor, negatives: Tensor, tau: float, own: Tensor) -> Tensor:
    """NCE of PIRL (arXiv:1912.01991, equations 4 and 5): -log h(q, k) - sum_n log(1 - h(q, n)), the mean over queries.

    h is the share of a pair in the sum of exp(s / tau) over the positive and all negatives. q, k: (B, D), negatives:
    (K, D), rows of length 1; own (B, K): negatives of the query's own image, which are left out. Chance: ln(K + 1)
    + K ln(1 + 1 / K), near ln K + 1.
    """
    with torch.autocast(q.device.type, enabled=False):
        others = (q @ negatives.T).masked_fill(own, -torch.inf)
        log_h = (torch.cat([(q * k).sum(1, keepdim=True), others], 1) / tau).log_softmax(1)
        wrong = torch.log1p(-log_h[:, 1:].exp().clamp_max(1 - 1e-6))  # one negative may have it all
        return -(log_h[:, 0] + wrong.sum(1)).mean()


def in_batch_nce(q: Tensor, keys: Tensor, tau: float) -> Tensor:
    """InfoNCE with the keys of all other images as negatives (arXiv:2104.02057, Algorithm 1, without its 2 tau).

    q: (B, D) of this process; keys: (world * B, D) as `gather` gives them, row i of the same image as query i; all rows
    of length 1. The mean over q. Chance: ln(world * B).
    """
    with torch.autocast(q.device.type, enabled=False):
        return F.cross_entropy(q @ keys.T / tau, own(torch.arange(len(keys), device=q.device)))


def info_nce_among(predicted: Tensor, targets: Tensor, which: Tensor) -> Tensor:
    """InfoNCE where every target is a candidate (arXiv:1905.09272, equation 1): -log softmax(predicted z)[which].

    The mean. predicted: (n, D), targets z: (P, D), neither normalised; which: (n,), row of the right one. Chance: ln P.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        return F.cross_entropy(predicted.float() @ targets.float().T, which)


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Codes (B, K) of scores (B, K): each row sums to 1, each prototype gets B / K (arXiv:2006.09882, equation 3).

    max Tr(Q^T scores) + epsilon H(Q), by Sinkhorn-Knopp over the samples of all processes. In the logarithm and in
    fp32: exp(scores / epsilon) overflows fp16 at once, and fp32 where epsilon is small.
    """
    with torch.autocast(scores.device.type, enabled=False):
        log_q = gather(scores.float()) / epsilon
        for _ in range(iterations):
            log_q = log_q.log_softmax(0)  # each prototype the same mass
            log_q = log_q.log_softmax(1)  # each sample one unit
        return own(log_q.exp())


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """-sum_k q_k log p_k of each sample, (B,). y: classes (B,) or probabilities (B, K).

    Smoothing spreads over all K classes: q = (1 - s) onehot(y) + s / K.
    """
    return F.cross_entropy(logits.float(), y, reduction="none", label_smoothing=smoothing)


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum p^(1/T) of probabilities (B, K) (MixMatch, arXiv:1905.02249, equation 7); T -> 0: the largest is 1.

    In the logarithm, so that a small temperature does not make all of a row zero.
    """
    with torch.autocast(p.device.type, enabled=False):
        return (p.float().clamp_min(1e-30).log() / temperature).softmax(-1)


def squared_difference(p: Tensor, q: Tensor) -> Tensor:
    """(p - q)^2 of probabilities (B, K), the mean over classes: (B,)."""
    return (p.float() - q.float()).square().mean(1)


def entropy(logits: Tensor) -> Tensor:
    """-sum_k p_k ln p_k of softmax(logits), (B, K) -> (B,). From 0 to ln K."""
    log_p = logits.float().log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target || softmax(logits)) of each sample: sum_k q_k (ln q_k - ln p_k), (B,). target: probabilities (B, K)."""
    target = target.float()
    return cross_entropy(logits, target) + torch.xlogy(target, target).sum(1)


def distillation(logits: Tensor, teacher: Tensor, temperature: float, reduction: str = "sample") -> Tensor:
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)) of logits (B, K) (arXiv:1503.02531, section 2).

    `sample`: the mean over samples; `element`: over all B K numbers, K times less, as in the code of DeiT and of Tf-KD.
    The gradient of the softened softmax goes with 1 / T^2, so that with T^2 it is of one size for all T.
    """
    with torch.autocast(logits.device.type, enabled=False):
        target = (teacher.float() / temperature).softmax(1)
        losses = temperature**2 * divergence(target, logits.float() / temperature)
    return losses.mean() / (logits.shape[1] if reduction == "element" else 1)


def mean_where(kept: Tensor, losses: Tensor) -> Tensor:
    """The mean of losses (B,) over the samples of all processes that `kept` (B,), of 0 and 1, has; of none, 0.

    The number of processes is in it because DDP divides by it.
    """
    return (kept * losses).sum() * everyone(1) / gather(kept).sum().clamp_min(1)


def class_shares(p: Tensor) -> Tensor:
    """Which share of the rows of p (B, K) has its largest entry in each class: (K,), all 0 where there is no row."""
    return p.argmax(1).bincount(minlength=p.shape[1]) / max(1, len(p))


def unfairness(logits: Tensor, kept: Tensor, p: Tensor, h: Tensor) -> Tensor:
    """sum_c a_c ln b_c, a = SumNorm(p / h), b = SumNorm(q / g) (FreeMatch, arXiv:2205.07246, equations 9 to 11).

    q, g: the mean of softmax(logits), and how often each class is its largest entry, over the rows of all processes
    where `kept` (B,) is 1; p, h: (K,), running means of the same two. Of classes that are no row's largest, b is 0 and
    left out. The sign is the paper's: -H(a, b), which is least where b has nothing in the classes of a.
    """
    with torch.autocast(logits.device.type, enabled=False):
        rows = gather(logits.float())[gather(kept) > 0].softmax(1)
        g = class_shares(rows)
        ratio = rows.sum(0)[g > 0] / g[g > 0]
        a = p / h.clamp_min(1e-8)
        return ((a / a.sum())[g > 0] * (ratio / ratio.sum()).log()).sum()


def weighted_squares(predicted: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """w (predicted - x)^2, the mean over all numbers; weight: of a shape that fits x (arXiv:1604.07379, equation 1)."""
    return (weight * (predicted.float() - x.float()).square()).mean()


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """D(p, z) (SimSiam, arXiv:2011.10566, equation 1): -cos of rows (B, D), the mean; -1 where they agree.

    2 + 2 D is the squared distance of the rows at length 1 (BYOL, arXiv:2006.07733, equation 2).
    """
    return -(unit(p) * unit(z)).sum(1).mean()


def cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    """C (D, D) of a, b (B, D) over the batches of all processes (Barlow Twins, arXiv:2103.03230, equation 2).

    A dimension that is the same for all images correlates with none.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = gather(a.float()), gather(b.float())
        return unit((a - a.mean(0)).T) @ unit((b - b.mean(0)).T).T


def off_diagonal(c: Tensor) -> Tensor:
    """The sum over i != j of C_ij^2."""
    return c.square().fill_diagonal_(0).sum()


def variance(z: Tensor, gamma: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """v(Z) (VICReg, arXiv:2105.04906, equations 1 and 2): how far each dimension's deviation is below gamma, the mean.

    z: (B, D), over the batches of all processes. Of one point: gamma - sqrt(epsilon).
    """
    return (gamma - (gather(z.float()).var(0) + epsilon).sqrt()).relu().mean()


def covariance(z: Tensor) -> Tensor:
    """c(Z) (VICReg, arXiv:2105.04906, equations 3 and 4): squared covariances of different dimensions, over D.

    z: (B, D), over the batches of all processes. 0 where no two dimensions vary together.
    """
    with torch.autocast(z.device.type, enabled=False):
        return off_diagonal(gather(z.float()).T.cov()) / z.shape[1]


def swapped(targets: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """The cross-entropy of each view's target with every other view's prediction, the mean over pairs and images.

    targets: probabilities (B, K) of the first views; logits: (B, K) of all views, in the same order
    (SwAV, arXiv:2006.09882, equation 6; DINO, arXiv:2104.14294, equation 3). Chance: ln K.
    """
    pairs = [(q, view) for i, q in enumerate(targets) for j, view in enumerate(logits) if i != j]
    return torch.stack([cross_entropy(view, q).mean() for q, view in pairs]).mean()


def gumbel_softmax(logits: Tensor, uniform: Tensor, tau: float) -> Tensor:
    """A relaxed draw from softmax(logits) over the last axis (arXiv:1611.01144, equation 2); tau -> 0: one-hot.

    uniform: in [0, 1), of the shape of `logits`; its Gumbel noise is -ln(-ln u). A zero, which fp32 draws once in 2^24
    times, counts as 2^-25.
    """
    with torch.autocast(logits.device.type, enabled=False):
        noise = -(-uniform.clamp_min(2**-25).log()).log()
        return ((logits.float() + noise) / tau).softmax(-1)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL(softmax(logits) || uniform) of one sample: the sum over its positions; the mean over samples.

    logits: (B, ..., V). From 0 to positions x ln V, for any B.
    """
    log_p = logits.float().log_softmax(-1)
    return (log(logits.shape[-1]) + (log_p.exp() * log_p).sum(-1)).flatten(1).sum(1).mean()


def logit_laplace(x: Tensor, mu: Tensor, log_b: Tensor, epsilon: float = 0.1) -> Tensor:
    """-ln f(x | mu, b) of each number (DALL-E, arXiv:2102.12092, equation 2): ln(2 b x (1 - x)) + |logit(x) - mu| / b.

    x: in [0, 1], and brought into [epsilon, 1 - epsilon] first (equation 3). b is no less than 1/80, the distance of
    two of 256 grey levels: a pixel that is the same in all images would else be worth infinitely much.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = epsilon + (1 - 2 * epsilon) * x.float().clamp(0, 1)
        b = log_b.float().exp() + 1 / 80
        return (2 * b * x * (1 - x)).log() + (x.logit() - mu.float()).abs() / b
