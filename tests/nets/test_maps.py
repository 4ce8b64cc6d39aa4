"""One map for each stage, and the last one pooled is the feature."""

import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.nets.maps import feature_maps

MEAN_OF_PATCHES = {"class_token": False, "global_pool": "avg", "fc_norm": False}
X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name, sides", [("tiny", [8, 8, 4, 2]), ("wrn_28_2", [16, 16, 8, 4])])
def test_stages_of_our_networks(encoder, name, sides):
    made = encoder(name, size=16).eval()
    maps = made.maps(X)
    assert [map.shape[2] for map in maps] == sides
    torch.testing.assert_close(maps[-1].mean((2, 3)), made(X))


def test_several_networks_side_by_side(encoder):
    made = encoder(sees=["L", "edges"], size=16).eval()
    maps = made.maps(X)
    assert [map.shape[1] for map in maps] == [32, 32, 64, 128]
    torch.testing.assert_close(maps[-1].mean((2, 3)), made(X))


@pytest.mark.slow  # timm takes seconds to import
@pytest.mark.parametrize(
    "name, args, sides",
    [
        ("resnet18", {}, [8, 4, 2, 1, 1]),
        ("vit_tiny_patch16_224", MEAN_OF_PATCHES | {"patch_size": 4, "depth": 3}, [4, 4, 4]),
    ],
)
def test_stages_of_timm(encoder, name, args, sides):
    made = encoder(name, size=16, args=args).eval()
    maps = made.maps(X)
    assert [map.shape[2] for map in maps] == sides
    torch.testing.assert_close(maps[-1].mean((2, 3)), made(X), rtol=1e-4, atol=1e-5)


def test_a_network_without_maps_is_refused():
    with pytest.raises(ParamsError, match="Flatten does not show the maps"):
        feature_maps(torch.nn.Flatten(), X)
