import torch

from pipeline.nets.luck import Luck
from tests.gloo import both


def test_numbers_are_uniform_and_each_image_has_its_own():
    drawn = Luck()(torch.empty(1000, 3), 4)
    assert drawn.shape == (1000, 4) and 0 <= drawn.min() < 0.01 and 0.99 < drawn.max() < 1
    assert len(drawn.unique(dim=0)) == 1000 and abs(drawn.mean() - 0.5) < 0.02


def test_they_are_new_in_each_step_and_a_function_of_the_state_alone():
    luck, again, x = Luck(), Luck(), torch.empty(5)
    first = luck(x, 3)
    torch.manual_seed(1)
    assert torch.equal(luck(x, 3), first)
    luck.turn()
    assert not torch.equal(luck(x, 3), first)
    again.load_state_dict(luck.state_dict())
    assert torch.equal(again(x, 3), luck(x, 3))


def test_each_batch_has_numbers_of_its_own():
    luck, x = Luck(), torch.empty(500)
    first, second, third = luck.each((3, 2), x, x, x[:100])
    assert first.shape == second.shape == (500, 3, 2) and third.shape == (100, 3, 2)
    for one, other in ((first, second), (first, third), (first, luck(x, 3, 2)), (second, third)):
        assert abs(torch.corrcoef(torch.stack([one[:100].flatten(), other[:100].flatten()]))[0, 1]) < 0.15
    assert torch.equal(luck.each((3, 2), x, x, x[:100])[2], third)
    luck.turn()
    assert not torch.equal(luck.each((3, 2), x)[0], first)


def test_each_kind_of_draw_has_numbers_of_its_own():
    """PyTorch's generator of the CPU looks at 32 bits of a seed: kinds that differ above them would be the same."""
    luck, x = Luck(), torch.empty(1000)
    ranks = [draws.argsort().argsort().double() for draws in (luck(x), *luck.each((), x), luck.order(x))]
    assert torch.corrcoef(torch.stack(ranks)).fill_diagonal_(0).abs().max() < 0.15
    plain = torch.Generator().manual_seed(int(luck.seed))
    assert not torch.equal(luck.order(x), torch.randperm(1000, generator=plain))
    a, b = torch._standard_gamma(torch.full((2, 1000), 0.5), generator=plain.manual_seed(int(luck.seed)))
    assert not torch.allclose(luck.beta(0.5, x)[0], a / (a + b))


def half(rank):
    torch.manual_seed(3)
    return Luck()(torch.empty(4), 2).tolist()


def half_of_each(rank):
    torch.manual_seed(3)
    return [part.tolist() for part in Luck().each((2,), torch.empty(4), torch.empty(3))]


def test_two_processes_share_the_numbers_of_one():
    torch.manual_seed(3)
    assert torch.tensor(both(half)).flatten(0, 1).equal(Luck()(torch.empty(8), 2))
    torch.manual_seed(3)
    for whole, first, last in zip(Luck().each((2,), torch.empty(8), torch.empty(6)), *both(half_of_each), strict=True):
        assert torch.tensor(first + last).equal(whole)
