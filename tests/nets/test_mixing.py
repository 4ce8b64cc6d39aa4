import torch

from pipeline.nets.luck import Luck
from pipeline.nets.mixing import mixed, partners
from tests.gloo import both


def test_a_share_of_each_row():
    a, b = torch.ones(3, 2, 2), torch.zeros(3, 2, 2)
    assert mixed(a, b, torch.tensor([0.0, 0.25, 1.0]))[:, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_every_row_is_somebodys_partner_whatever_its_batch():
    x, u = torch.arange(4.0)[:, None], torch.arange(10.0, 22.0)[:, None]
    luck = Luck()
    found = partners(luck.order(x, u), x, u)
    assert [len(part) for part in found] == [4, 12]
    assert sorted(torch.cat(found)[:, 0].tolist()) == [*range(4), *range(10, 22)]
    assert any(row > 9 for row in found[0][:, 0].tolist()), "labelled images are mixed with unlabelled ones too"


def half(rank):
    torch.manual_seed(3)
    luck, x, u = Luck(), torch.arange(4.0)[2 * rank :][:2], torch.arange(10.0, 22.0)[6 * rank :][:6]
    mine = partners(luck.order(x, u), x, u)
    return [part.tolist() for part in (*mine, *luck.beta(0.75, x, u))]


def test_two_processes_mix_as_one():
    torch.manual_seed(3)
    luck, x, u = Luck(), torch.arange(4.0), torch.arange(10.0, 22.0)
    one = [*partners(luck.order(x, u), x, u), *luck.beta(0.75, x, u)]
    for whole, first, second in zip(one, *both(half), strict=True):
        assert whole.tolist() == first + second


def test_shares_are_of_the_beta_distribution():
    torch.manual_seed(0)
    (share,) = Luck().beta(0.75, torch.empty(20_000))
    assert abs(share.mean() - 0.5) < 0.01
    assert abs(share.var() - 1 / (4 * (2 * 0.75 + 1))) < 0.003  # variance of Beta(a, a)
    assert 0 < share.min() and share.max() < 1
