"""Temperature scaling of a teacher: fitted on one half of the known images, measured on the other."""

import numpy as np
import pytest
import torch

from pipeline.label import tempered
from pipeline.label.tempered import calibration, halves
from tests.label.said import Said

N, K = 4000, 5
KEYS = [f"k{i:04d}" for i in range(N)]
HELD = ("ece", "nll", "reliability")


@pytest.fixture(scope="module")
def teacher():
    """Logits that are three times too large, and the classes that the right ones give."""
    chance = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(N, K, generator=chance)
    return 3 * logits, logits.softmax(1).multinomial(1, generator=chance).squeeze(1)


def test_it_is_recovered_and_makes_the_other_half_calibrated(teacher):
    """Against scikit-learn and bins by numpy, in float64, on the rows of that half alone."""
    from sklearn.metrics import log_loss

    logits, true = teacher
    page = calibration(Said(logits), KEYS, true, 0)
    found, (fitted, other) = page["temperature"], halves(KEYS, true, 0)
    assert found["t"] == pytest.approx(3, rel=0.05)
    assert (found["fitted"], found["n"]) == (fitted.sum(), other.sum())
    for name, t in (("before", 1), ("after", found["t"])):
        p, y = (logits[other].double() / t).softmax(1).numpy(), true[other].numpy()
        assert found[name]["nll"] == pytest.approx(log_loss(y, p, labels=range(K)), rel=1e-6)
        sure, right = p.max(1), p.argmax(1) == y
        place = np.ceil(sure * 15).astype(int)
        gaps = [abs((right[place == b] - sure[place == b]).sum()) for b in range(1, 16)]
        assert found[name]["ece"] == pytest.approx(sum(gaps) / len(y), abs=1e-3)  # a confidence may lie on an edge
    assert found["after"]["ece"] < 0.04 < 0.15 < found["before"]["ece"]
    assert found["after"]["nll"] < found["before"]["nll"] - 0.3


def test_the_halves_share_no_image_and_leave_none_out(teacher):
    _, true = teacher
    fitted, other = halves(KEYS, true, 0)
    assert (fitted ^ other).all()
    assert 0.47 < fitted.double().mean() < 0.53
    again, _ = halves(KEYS[::-1], true.flip(0), 0)
    assert torch.equal(again.flip(0), fitted), "by the key, not by the row"
    assert not torch.equal(halves(KEYS, true, 1)[0], fitted)


def test_it_is_fitted_on_nothing_that_it_is_measured_on(teacher):
    """Another truth of one half changes T, of the other half what was measured; neither changes both."""
    logits, true = teacher
    fitted, other = halves(KEYS, true, 0)
    wrong = (true + 1) % K

    def found(true):
        return calibration(Said(logits), KEYS, true, 0)["temperature"]

    plain, of_fit, of_other = found(true), found(true.where(other, wrong)), found(true.where(fitted, wrong))
    assert of_other["t"] == plain["t"] and of_other["before"] != plain["before"]
    assert of_fit["t"] > 2 * plain["t"] and of_fit["before"] == plain["before"]


def test_images_of_no_class_are_measured_as_wrong_and_never_fitted_on(teacher):
    logits, true = teacher
    out = torch.arange(N) % 4 == 0
    odd, unknown = true.masked_fill(out, -1), true.masked_fill(out, -2)
    fitted, other = halves(KEYS, odd, 0)
    assert not (fitted & out).any() and (other & out).sum() > 400
    with_out, without = (calibration(Said(logits), KEYS, each, 0)["temperature"] for each in (odd, unknown))
    assert with_out["t"] == without["t"] and with_out["fitted"] == without["fitted"]
    assert with_out["n"] - without["n"] == (other & out).sum()
    assert with_out["before"]["nll"] == pytest.approx(without["before"]["nll"])
    assert with_out["before"]["ece"] > without["before"]["ece"] + 0.1


def test_the_fit_holds_a_bounded_number_of_logits(teacher, monkeypatch):
    logits, true = teacher
    monkeypatch.setattr(tempered, "FITTED", 300)
    whole = calibration(Said(logits), KEYS, true, 0)["temperature"]
    fitted, other = halves(KEYS, true, 0)
    assert whole["fitted"] == fitted.sum() == 300
    assert whole["n"] == other.sum() > 1900
    assert whole["t"] == pytest.approx(3, rel=0.2)


def test_the_size_of_the_blocks_does_not_matter(teacher):
    logits, true = teacher
    one, other = (calibration(Said(logits, block=block), KEYS, true, 0) for block in (7, N))
    assert one["nll"] == pytest.approx(other["nll"], rel=1e-12)
    assert one["temperature"]["t"] == pytest.approx(other["temperature"]["t"], rel=1e-9)


@pytest.mark.parametrize("known", ["none", "one", "no class"])
def test_what_cannot_be_fitted_is_not_there(teacher, known):
    logits, true = teacher
    rows = torch.full((N,), -2)
    if known == "one":
        rows[0] = true[0]
    if known == "no class":
        rows[:] = -1
    page = calibration(Said(logits), KEYS, rows, 0)
    assert page["temperature"] is None
    assert (page["nll"] is None) == (known != "one") and (page["ece"] is None) == (known == "none")
