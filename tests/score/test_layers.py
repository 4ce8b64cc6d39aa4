"""Layer by layer: the depth where the classes can be read is the depth that says so."""

import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.nets.encoder import rebuild
from pipeline.score import layers
from pipeline.score.accuracy import wilson
from pipeline.score.features import embed
from pipeline.score.layers import Trunk, readable, score_layers
from pipeline.score.linear import linear

LABELS = torch.arange(80) % 2


class Pictures:
    """Noise of 8 x 8 pixels; the classes lie in the product of the signs of the first two of its four corners."""

    def __init__(self):
        draw = torch.Generator().manual_seed(0)
        signs = torch.randint(2, (80, 3), generator=draw) * 2 - 1
        signs[:, 1] = signs[:, 0] * (2 * LABELS - 1)
        self.pixels = torch.randn(80, 1, 8, 8, generator=draw) * 0.3
        for corner, (y, x) in enumerate([(slice(4), slice(4)), (slice(4), slice(4, 8)), (slice(4, 8), slice(4))]):
            self.pixels[:, 0, y, x] += signs[:, corner, None, None]

    def __len__(self):
        return len(self.pixels)

    def at(self, rows):
        return self.pixels[rows]


class Staged(nn.Module):
    """Pixels; then the product, on a map of its own; then a map that has forgotten it."""

    spec = {"channels": 1, "size": 8}

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def maps(self, x):
        corner = nn.functional.avg_pool2d(x, 4) * self.weight
        product = (corner[:, :, 0, 0] * corner[:, :, 0, 1])[..., None, None]
        return [x, product.expand(-1, 1, 2, 2), x[:, :, 4:, 4:].mean((2, 3), keepdim=True)]


def rows_of(encoder, images):
    trunk = Trunk(encoder)
    seen = embed(trunk, images, lambda x: x, 100, "cpu")
    return score_layers(trunk, seen[:40], LABELS[:40], seen[40:], LABELS[40:], 2)


def encoder(name="tiny", size=8, **args):
    torch.manual_seed(0)
    blank = {"sees": [], "norm": "batch", "drop": 0.0, "drop_path": 0.0, "neck": None, "mean": [0.0], "std": [1.0]}
    return rebuild(blank | {"name": name, "args": args, "channels": 1, "size": size})


def test_the_depth_that_separates_the_classes_says_so():
    pixels, product, forgotten = rows_of(Staged(), Pictures())
    assert product["linear"] > 0.95 and product["knn"] > 0.95
    assert max(pixels["linear"], forgotten["linear"], forgotten["knn"]) < 0.75, "a product is not linear in pixels"
    assert [row["depth"] for row in (pixels, product, forgotten)] == [0, 1, 2]
    for row in (pixels, product, forgotten):
        assert (row["low"], row["high"]) == wilson(row["linear"], 40)


def test_the_last_depth_pooled_to_one_cell_is_the_ordinary_probe(monkeypatch):
    monkeypatch.setattr(layers, "SIDE", 1)
    net, images = encoder(), Pictures()
    seen = embed(net, images, lambda x: x, 100, "cpu")
    share = linear(seen[:40], LABELS[:40], seen[40:], LABELS[40:], 2)[0]
    found = rows_of(net, images)
    assert found[-1]["linear"] == share and found[-1]["features"] == net.dim
    assert found[0]["linear"] != share, "the depths differ"


def test_neither_the_batch_nor_the_mode_changes_anything():
    images, trunk = Pictures(), Trunk(encoder())
    whole = embed(trunk.eval(), images, lambda x: x, 100, "cpu")
    torch.testing.assert_close(embed(trunk.train(), images, lambda x: x, 7, "cpu"), whole)


def test_looking_at_the_maps_leaves_the_network_as_it_was():
    net = encoder().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    Trunk(net)
    assert net.training and all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    "name, size, channels, sides",
    [
        ("tiny", 8, [16, 16, 32, 64], [3, 3, 2, 1]),
        ("resnet18_small", 32, [64, 64, 128, 256, 512], [3, 3, 2, 2, 1]),
    ],
)
def test_every_depth_has_at_most_1024_features_on_a_grid_no_finer_than_its_map(name, size, channels, sides):
    trunk = Trunk(encoder(name, size))
    assert trunk.channels == channels and trunk.sides == sides
    assert trunk.widths == [c * s * s for c, s in zip(channels, sides, strict=True)]
    assert max(trunk.widths) <= 1024
    assert trunk(torch.zeros(2, 1, size, size)).shape == (2, sum(trunk.widths))


def test_cells_are_means_of_their_part_of_the_map():
    maps, trunk = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), Trunk(Staged())
    trunk.sides[0] = 2
    expected = maps.view(2, 2, 4, 2, 4).mean((2, 4)).flatten(1)
    torch.testing.assert_close(trunk(maps)[:, :4], expected)


def test_of_many_labels_a_thousand_are_drawn_from_the_seed():
    assert torch.equal(readable(1000, 3), torch.arange(1000))
    rows = readable(5000, 3)
    assert len(rows.unique()) == 1000 and (rows.diff() > 0).all() and rows[-1] > 4000
    assert torch.equal(rows, readable(5000, 3)) and not torch.equal(rows, readable(5000, 4))


@pytest.mark.parametrize("blocks, shown", [(1, [0]), (3, [0, 1, 2]), (24, [0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23])])
def test_of_many_blocks_twelve_from_the_first_to_the_last(blocks, shown):
    net = Staged()
    net.maps = lambda x: [x] * blocks
    assert Trunk(net).depths == shown


def test_a_network_without_maps_is_refused():
    net = encoder()
    net.net = nn.Flatten()
    net.register_parameter("one", nn.Parameter(torch.ones(())))
    with pytest.raises(ParamsError, match="does not show the maps"):
        Trunk(net)
