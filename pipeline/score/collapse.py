"""What shows that a network has stopped to tell images apart, and the checks that stop a run then."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import Collapsed


def feature_std(unit: Tensor) -> float:
    """Mean over dimensions of the std over unit rows (n, D), times sqrt(D): 0 = one point, 1 = spread over the sphere.

    The monitor of SimSiam (arXiv:2011.10566, section 4.1), which plots it without the factor.
    """
    return unit.double().std(0, correction=0).mean().item() * sqrt(unit.shape[1])


def effective_rank(features: Tensor, epsilon: float = 1e-7) -> float:
    """RankMe (arXiv:2210.02885, eq. 1) of features (n, D): exp(-sum p log p), p = sigma / |sigma|_1 + epsilon.

    The features are not centred, so one point has rank 1, and it is at most min(n, D).
    """
    sigma = torch.linalg.svdvals(features.double())
    p = sigma / sigma.sum().clamp_min(epsilon) + epsilon
    return torch.exp(-(p * p.log()).sum()).item()


def check(features: Tensor, std_floor: float = 0.02, rank_floor: float = 1.2) -> tuple[float, float]:
    """(feature_std, effective_rank) of features (n, D). Raises Collapsed where either is below its floor, or NaN.

    The floors lie below what an untrained network gives, so that only a real collapse stops a run.
    """
    if not features.isfinite().all():
        raise Collapsed("the features are not finite: lower the learning rate, or train in fp32")
    std, rank = (feature_std(F.normalize(features.float(), dim=1)), effective_rank(features))
    if std < std_floor or rank < rank_floor:
        reason = "all images give one point" if std < std_floor else "all images lie on one line"
        raise Collapsed(
            f"the features have collapsed, {reason}: feature_std {std:.4f} (floor {std_floor}), effective rank "
            f"{rank:.2f} of {min(features.shape)} (floor {rank_floor}); lower the learning rate or use stronger views"
        )
    return std, rank


def leaves_chance(losses: Sequence[float], chance: float, margin: float = 0.002) -> None:
    """Raises Collapsed where the later half of `losses` is, in the mean, still the loss of a network that guesses.

    That is ln K where one of K is to be picked: all features alike, or a bank whose rows have lost their length.
    """
    late = mean(losses[len(losses) // 2 :])
    if late > (1 - margin) * chance:
        raise Collapsed(f"the loss has stayed at {late:.4g}; guessing costs {chance:.4g}: change the learning rate")
