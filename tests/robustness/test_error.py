"""Mean errors and mCE, by hand."""

import pytest

from pipeline.robustness.error import alexnet, is_imagenet, mce, mean_error, relative_mce, summary
from pipeline.robustness.severities import CORRUPTIONS, SEVERITIES

WORDNET = [f"n{i:08d}" for i in range(1000)]


def times(factor, shift=0.0):
    """AlexNet's errors in all 75 conditions, changed."""
    base = alexnet()["corruptions"]["error"]
    return {name: {s: base[name] * factor + shift for s in SEVERITIES} for name in CORRUPTIONS}


def test_alexnet_has_100():
    assert mce(times(1)) == pytest.approx(100, abs=1e-9)
    assert relative_mce(times(1), alexnet()["clean"]["error"]) == pytest.approx(100, abs=1e-9)


def test_each_corruption_is_divided_by_its_own_baseline_whatever_the_order():
    errors = times(0.5)
    assert mce(dict(reversed(errors.items()))) == pytest.approx(50)
    errors["brightness"] = dict.fromkeys(SEVERITIES, 0.564592)  # 100 in place of 50
    assert mce(errors) == pytest.approx((14 * 50 + 100) / 15)
    errors["brightness"] = {1: 0.0, 2: 0.564592, 3: 0.564592, 4: 0.564592, 5: 2 * 0.564592}  # the same sum
    assert mce(errors) == pytest.approx((14 * 50 + 100) / 15)


def test_relative_mce_subtracts_the_clean_errors_of_both():
    """A network whose errors are AlexNet's less 0.2 everywhere loses just as much."""
    clean = alexnet()["clean"]["error"]
    assert relative_mce(times(1, shift=-0.2), clean - 0.2) == pytest.approx(100)
    flat = {name: dict.fromkeys(SEVERITIES, 0.3) for name in CORRUPTIONS}
    assert relative_mce(flat, 0.3) == pytest.approx(0, abs=1e-9)


def test_the_name_mce_is_refused_where_anything_is_missing():
    errors = times(1)
    del errors["fog"]
    with pytest.raises(ValueError, match="all 15"):
        mce(errors)
    errors = times(1)
    del errors["fog"][3]
    with pytest.raises(ValueError, match="all 5"):
        relative_mce(errors, 0.4)
    assert set(summary(errors, 0.4, imagenet=True)) == {"conditions", "mean_error"}


def test_only_imagenet_has_an_mce():
    assert "mce" in summary(times(1), 0.4, imagenet=True)
    assert set(summary(times(1), 0.4, imagenet=False)) == {"conditions", "mean_error"}
    assert is_imagenet(WORDNET, 224)
    assert not is_imagenet(WORDNET, 32) and not is_imagenet(WORDNET[:100], 224)
    assert not is_imagenet([f"class{i}" for i in range(1000)], 224)


def test_a_mean_error_counts_each_corruption_the_same():
    errors = {"fog": {1: 0.2, 2: 0.4}, "snow": {3: 0.9}}
    assert mean_error(errors) == pytest.approx((0.3 + 0.9) / 2)
    assert summary(errors, 0.1, imagenet=False) == {"conditions": 3, "mean_error": pytest.approx(0.6)}


def test_the_clean_error_is_the_one_that_torchvision_publishes():
    from torchvision.models import AlexNet_Weights

    published = AlexNet_Weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert alexnet()["clean"]["error"] == pytest.approx(1 - published / 100)
    assert alexnet()["corruptions"]["error"].keys() == set(CORRUPTIONS)
