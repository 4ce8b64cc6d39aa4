"""embed: every image once, in order, as the network is used, leaving the network as it was."""

import pytest
import torch
from torch import nn

from pipeline.score.features import embed


class Pictures:
    def __init__(self, n):
        self.pixels = torch.randint(256, (n, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))

    def __len__(self):
        return len(self.pixels)

    def at(self, rows):
        return self.pixels[rows]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))


def scale(images):
    return images.float() / 255


@pytest.mark.parametrize("batch", (1, 5, 17, 100))
def test_equals_one_whole_batch(batch):
    net, images = network(), Pictures(17)
    with torch.no_grad():
        expected = net.eval()(scale(images.pixels))
    torch.testing.assert_close(embed(net.train(), images, scale, batch, "cpu"), expected)


def test_the_network_is_left_as_it_was():
    net = network().train()
    net[3].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    features = embed(net, Pictures(7), scale, 3, "cpu")
    assert not features.requires_grad
    assert [module.training for module in net] == [True, True, True, False]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_modes_are_restored_after_an_error():
    net = network().train()
    with pytest.raises(RuntimeError):
        embed(net, Pictures(3), lambda images: scale(images)[:, :, :2], 3, "cpu")
    assert all(module.training for module in net.modules())
