"""Several opinions as one."""

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from pipeline.label.ensemble import ensemble


def test_its_softmax_is_the_mean_of_theirs():
    draw = np.random.default_rng(0)
    logits = [draw.normal(0, spread, (17, 5)) for spread in (1, 4, 30)]
    found = ensemble([torch.tensor(each) for each in logits])
    mean = np.mean([softmax(each, 1) for each in logits], 0)
    np.testing.assert_allclose(found.softmax(1).numpy(), mean, rtol=1e-10)
    np.testing.assert_allclose(found.numpy(), np.log(mean), rtol=1e-9)  # normalised already


def test_a_sure_opinion_that_fp32_cannot_hold_is_finite():
    sure, other = torch.tensor([[0.0, -3e4]]), torch.tensor([[-3e4, 0.0]])
    assert ensemble([sure, other]).softmax(1).tolist() == [[0.5, 0.5]]
    found = ensemble([sure, sure])
    assert found.isfinite().all()
    np.testing.assert_allclose(found.double().numpy(), log_softmax(sure.double().numpy(), 1))


def test_one_opinion_is_left_as_it_is():
    logits = torch.randn(3, 4)
    assert ensemble([logits]) is logits
