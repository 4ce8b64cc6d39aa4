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


def half(rank):
    torch.manual_seed(3)
    return Luck()(torch.empty(4), 2).tolist()


def test_two_processes_share_the_numbers_of_one():
    torch.manual_seed(3)
    assert torch.tensor(both(half)).flatten(0, 1).equal(Luck()(torch.empty(8), 2))
