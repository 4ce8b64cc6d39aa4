"""Mean error under corruption, and mCE where it may be called that (arXiv:1903.12261)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline import files
from pipeline.robustness.severities import CORRUPTIONS, SEVERITIES, SMALL_SIDE

Errors = Mapping[str, Mapping[int, float]]  # corruption -> severity -> share of the images called another class


@cache
def alexnet() -> dict[str, Any]:
    """Errors of AlexNet on ImageNet, each figure with where it is from."""
    return files.read_json(Path(__file__).with_name("alexnet.json"))


def mean_error(errors: Errors) -> float:
    """Each corruption counts the same, however many of its severities were measured."""
    return fmean(fmean(of.values()) for of in errors.values())


def mce(errors: Errors) -> float:
    """Mean over c of sum_s E_sc / sum_s E_sc(AlexNet), times 100: AlexNet has 100.

    Raises ValueError unless all 15 corruptions are there at all 5 severities; the data must be ImageNet.
    """
    base = alexnet()["corruptions"]["error"]
    return 100 * fmean(_mean(errors, name) / base[name] for name in CORRUPTIONS)


def relative_mce(errors: Errors, clean: float) -> float:
    """The same of what corruption adds: mean over c of (E_c - E_clean) / (E_c - E_clean)(AlexNet), times 100."""
    base, floor = alexnet()["corruptions"]["error"], alexnet()["clean"]["error"]
    return 100 * fmean((_mean(errors, name) - clean) / (base[name] - floor) for name in CORRUPTIONS)


def _mean(errors: Errors, name: str) -> float:
    if set(errors) != set(CORRUPTIONS) or set(errors[name]) != set(SEVERITIES):
        raise ValueError("mCE is of all 15 corruptions at all 5 severities; call the mean of fewer a mean error")
    return fmean(errors[name].values())


def is_imagenet(classes: Sequence[str], size: int) -> bool:
    """1,000 classes named by their WordNet ids, and images that take the constants of ImageNet-C."""
    return len(classes) == 1000 and size > SMALL_SIDE and all(re.fullmatch(r"n\d{8}", name) for name in classes)


def summary(errors: Errors, clean: float, imagenet: bool) -> dict[str, float]:
    """`mean_error` (0..1) over `conditions`; on ImageNet, where nothing is missing, also `mce` and `relative_mce`."""
    found: dict[str, float] = {"conditions": sum(map(len, errors.values())), "mean_error": mean_error(errors)}
    if imagenet and found["conditions"] == len(CORRUPTIONS) * len(SEVERITIES):
        found |= {"mce": mce(errors), "relative_mce": relative_mce(errors, clean)}
    return found
