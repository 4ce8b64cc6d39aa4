"""A transformer of timm that sees a part of its patches."""

import numpy as np
import pytest
import torch

from pipeline.errors import ParamsError
from pipeline.nets.vit import PatchDecoder, embed_patches, grid_positions, take, transform, transformer

SMALL = {"patch_size": 2, "embed_dim": 24, "depth": 2, "num_heads": 2}
NO_CLASS = {"class_token": False, "global_pool": "avg"}
KINDS = [
    {},
    NO_CLASS,
    NO_CLASS | {"fc_norm": False},
    {"reg_tokens": 3},
    {"reg_tokens": 2, "no_embed_class": True},
    {"pre_norm": True, "init_values": 0.1},
    {"dynamic_img_size": True},
]
X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def vit(encoder):
    def build(**args):
        made = encoder("vit_tiny_patch16_224", args=SMALL | args).eval()
        with torch.no_grad():
            for name, parameter in made.net.named_parameters():  # nothing is zero, one or alike
                parameter.add_(0.1 * torch.randn(parameter.shape)) if "norm" in name or "token" in name else None
            made.net.pos_embed.normal_()
        return made

    return build


@pytest.mark.parametrize("args", KINDS, ids=str)
def test_all_patches_seen_are_what_timm_makes_of_an_image(vit, args):
    net = transformer(vit(**args))
    expected = net.fc_norm(net.forward_features(X))
    patches = embed_patches(net, X)
    assert patches.shape == (3, 16, 24)
    torch.testing.assert_close(transform(net, patches), expected)
    everything = torch.arange(16).expand(3, -1)
    torch.testing.assert_close(transform(net, patches, everything), expected)


@pytest.mark.parametrize("args", KINDS, ids=str)
def test_a_patch_that_is_not_seen_has_no_part_in_the_result(vit, args):
    net = transformer(vit(**args))
    seen = torch.rand(3, 16).argsort(1)[:, :5]
    patches = embed_patches(net, X)
    result = transform(net, patches, seen)
    assert result.shape == (3, net.num_prefix_tokens + 5, 24)
    other = torch.randn(patches.shape).scatter(1, seen[..., None].expand(-1, -1, 24), take(patches, seen))
    torch.testing.assert_close(transform(net, other, seen), result)
    turned = transform(net, patches, seen.flip(1))
    torch.testing.assert_close(turned[:, net.num_prefix_tokens :].flip(1), result[:, net.num_prefix_tokens :])


@pytest.mark.parametrize("args", KINDS, ids=str)
def test_a_patch_knows_where_it_stands(vit, args):
    net = transformer(vit(**args))
    alike = torch.ones(1, 16, 24)
    here, there = (transform(net, alike, torch.tensor([[place]])) for place in (3, 4))
    assert (here - there).abs().max() > 0.1


def test_rows_of_each_image_are_taken_by_its_own_places():
    x, places = torch.arange(12.0).view(2, 3, 2), torch.tensor([[2, 0], [1, 1]])
    assert take(x, places).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


@pytest.mark.parametrize(
    "name, args",
    [
        ("tiny", {}),
        ("resnet18", {}),
        ("vit_tiny_patch16_224", SMALL | {"pos_embed": "none"}),
        ("vit_tiny_patch16_224", SMALL | {"global_pool": "map"}),
        ("vit_tiny_patch16_224", SMALL | {"patch_size": [2, 4]}),
        ("deit_tiny_distilled_patch16_224", SMALL),
        ("beit_base_patch16_224", SMALL),
    ],
)
def test_networks_whose_patches_cannot_be_hidden_are_refused(encoder, name, args):
    with pytest.raises(ParamsError, match=f"{name}.*ask for one such as encoder: {{name: vit_tiny_patch16_224"):
        transformer(encoder(name, size=32, args=args))


def test_positions_are_sines_and_cosines_of_row_and_column():
    table = grid_positions((3, 5), 8)
    assert table.shape == (15, 8) and len(table.unique(dim=0)) == 15
    for place, (row, column) in enumerate(np.ndindex(3, 5)):
        expected = [f(p / 10_000 ** (i / 2)) for p in (row, column) for f in (np.sin, np.cos) for i in range(2)]
        assert table[place].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("args", [NO_CLASS, {}, {"reg_tokens": 1}], ids=str)
def test_the_decoder_puts_each_token_in_its_place_and_the_same_one_in_all_others(vit, args):
    net = transformer(vit(**args))
    decoder, prefix = PatchDecoder(net, 8, 0, 2, 5), net.num_prefix_tokens
    tokens, seen = torch.randn(2, prefix + 3, 24), torch.tensor([[4, 0, 15], [1, 2, 3]])
    result = decoder(tokens, seen)
    assert result.shape == (2, 16, 5)
    for image in range(2):
        for place in range(16):
            where = (seen[image] == place).nonzero()
            token = decoder.enter(tokens[image, prefix + where[0, 0]]) if len(where) else decoder.hidden
            torch.testing.assert_close(result[image, place], decoder.leave(token + decoder.positions[place]))


def test_the_decoder_sees_the_class_token(vit):
    net = transformer(vit())
    decoder, seen = PatchDecoder(net, 8, 1, 2, 5), torch.tensor([[4, 0]])
    tokens = torch.randn(1, 3, 24, requires_grad=True)
    decoder(tokens, seen).square().sum().backward()
    assert tokens.grad[0].any(1).all()


@pytest.mark.parametrize("dim, heads", [(10, 2), (12, 5)])
def test_a_decoder_of_a_width_that_cannot_be_is_refused(vit, dim, heads):
    with pytest.raises(ParamsError, match=f"dim {dim} cannot have {heads} heads"):
        PatchDecoder(transformer(vit()), dim, 1, heads, 5)
