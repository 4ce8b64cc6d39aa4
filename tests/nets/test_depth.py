import pytest

from pipeline.nets.heads import Head
from pipeline.nets.small import NETWORKS


@pytest.mark.parametrize(("name", "depths"), [*zip(NETWORKS, (4, 9, 17, 14), strict=True)])
def test_depth_grows_from_the_stem_to_the_head(encoder, name, depths):
    network = encoder(name)
    depth = {parameter: network.depth_of(parameter) for parameter, _ in network.named_parameters()}
    assert network.depths == depths
    assert set(depth.values()) == set(range(depths))  # none is empty, none above
    assert list(depth.values()) == sorted(depth.values())
    assert depth["net.conv1.weight"] == 0
    assert depth["net.layer1.0.conv1.weight"] == depth["net.layer1.0.bn2.bias"] == 1


def test_the_neck_stands_above_the_network(encoder):
    network = encoder()
    assert network.depths == 4
    network.keep(Head([64, 20, 10, 5]), 2)
    assert network.depths == 5
    assert {network.depth_of(f"neck.{name}") for name, _ in network.neck.named_parameters()} == {4}


@pytest.mark.slow
def test_depths_agree_with_timms(encoder):
    ours, theirs = encoder("resnet18_small", size=32), encoder("resnet18", size=32)
    names = [name for name, _ in ours.named_parameters()]
    assert [ours.depth_of(name) for name in names] == [theirs.depth_of(name) for name in names]
    assert ours.depths == theirs.depths == 9


@pytest.mark.slow
def test_transformer_blocks(encoder):
    network = encoder("vit_tiny_patch16_224", size=32, args={"patch_size": 8})
    assert network.depth_of("net.pos_embed") == network.depth_of("net.patch_embed.proj.weight") == 0
    assert network.depth_of("net.blocks.0.attn.qkv.weight") == 1
    assert network.depth_of("net.blocks.11.mlp.fc2.bias") == network.depth_of("net.norm.weight") == 12
    assert network.depths == 13
