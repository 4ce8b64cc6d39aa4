"""Two classifiers on the same test images: only those count that one has right and the other wrong."""

from __future__ import annotations

from math import sqrt


def discordant(mine: list[bool], theirs: list[bool]) -> tuple[int, int]:
    """How many images only I have right, and how many only they; both lists say it of the same images."""
    pairs = list(zip(mine, theirs, strict=True))
    return sum(m and not t for m, t in pairs), sum(t and not m for m, t in pairs)


def half(mine: int, theirs: int, n: int) -> float:
    """Half the 95 % interval of the difference of two accuracies, (mine - theirs) / n of n images.

    Wald's, for paired shares: the variance is (mine + theirs - (mine - theirs)^2 / n) / n^2.
    """
    return 1.959964 * sqrt(mine + theirs - (mine - theirs) ** 2 / n) / n


def mcnemar(mine: int, theirs: int) -> float:
    """Exact two-sided p of McNemar's test (1947): were both as good, a coin would decide each discordant image."""
    from scipy.stats import binomtest

    return float(binomtest(mine, mine + theirs).pvalue) if mine + theirs else 1.0
