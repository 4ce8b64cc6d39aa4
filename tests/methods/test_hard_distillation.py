"""Hard-label distillation of arXiv:2012.12877: half the labels, half the classes that the teacher gives."""

import pytest
import torch

from pipeline import catalogue
from tests.methods.taught import K, batch, contrary, hard, plain, without_sidecars

ENTRY = catalogue.find("hard_distillation", "distill")


@pytest.mark.parametrize("n", (2, 3, 17))
@pytest.mark.parametrize("smoothing", (0.1, 0.0))
def test_the_loss_is_the_formula(n, smoothing):
    """The classes of the teacher are never smoothed."""
    seen = batch(n)
    on_labels = hard(seen["x"], seen["y"], smoothing).mean()
    on_teacher = hard(seen["u"], seen["teacher"].argmax(1)).mean()
    assert plain(ENTRY, smoothing=smoothing)(**seen).item() == pytest.approx((on_labels + on_teacher) / 2, rel=1e-5)


@pytest.mark.parametrize("n", (2, 17))
def test_in_the_loop_the_teacher_gives_classes_to_what_it_sees_of_labelled_images_too(n):
    seen, every = without_sidecars(batch(n))
    expected = hard(seen["x"], seen["y"], 0.1).mean() / 2 + hard(every, every.argmin(1)).mean() / 2
    method = contrary(ENTRY)
    assert method(**seen).item() == pytest.approx(expected, rel=1e-5)
    assert method.notes["agree"] == 0, "it says the contrary"


def test_of_the_teacher_only_the_best_class_counts():
    seen, method = batch(), plain(ENTRY)
    loss = method(**seen).item()
    assert method(**seen | {"teacher": seen["teacher"] / 50}).item() == loss
    assert method(**seen | {"teacher": seen["teacher"].roll(1, 1)}).item() != loss


def test_a_teacher_that_is_always_right_adds_the_labels_of_the_unlabelled_images():
    """By hand: -ln p = ln(e^2 + K - 1) - 2 of each, where the student is surer by 2 of the right class."""
    seen, right = batch(), torch.arange(6) % K
    seen |= {"u": 2.0 * torch.eye(K)[right], "teacher": torch.eye(K)[right]}
    method = plain(ENTRY)
    method(**seen)
    assert method.notes["agree"] == 1
    by_hand = torch.log(torch.tensor(2.0).exp() + K - 1) - 2
    loss = method(**seen).item() - hard(seen["x"], seen["y"], 0.1).mean() / 2
    assert loss == pytest.approx(by_hand.item() / 2, rel=1e-5)
