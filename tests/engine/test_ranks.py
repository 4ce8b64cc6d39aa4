"""Who takes which rows, and what all agree on."""

import pytest
import torch
from torch import distributed

from pipeline.engine import ranks
from pipeline.errors import ParamsError
from tests.gloo import both


def test_alone():
    assert (ranks.rank(), ranks.world(), ranks.part(7)) == (0, 1, slice(0, 7))
    assert ranks.agree(True, False, True) == (True, False, True)
    with ranks.group(torch.device("cpu")):
        assert not distributed.is_initialized()


def _parts(rank):
    with pytest.raises(ParamsError, match="batch of 7 does not split over 2"):
        ranks.part(7)
    return ranks.part(8)


def _agreed(rank):
    return [ranks.agree(rank == 0, rank == 1, False), ranks.agree(True, True), ranks.agree(False)]


@pytest.mark.slow
def test_two_processes():
    assert both(_parts) == [slice(0, 4), slice(4, 8)]
    assert both(_agreed) == [[(False, True, False), (True, True), (False,)]] * 2
