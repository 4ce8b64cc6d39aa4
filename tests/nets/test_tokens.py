"""A tokenizer: a code for each place of the last map."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model
from pipeline.nets.tokens import PixelDecoder, code_logits, colours, map_grid, perplexity, tokens
from pipeline.views.normalise import Normalise
from tests.gloo import both

X = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tokenizer(encoder):
    made = encoder(args={"width": 6, "stem_stride": 1, "stages": 2})
    made(X)  # statistics that are not the initial ones
    return Branch(made, Head([12, 20]))


def test_each_place_is_told_by_the_head_alone(tokenizer):
    tokenizer.eval()
    logits, last = code_logits(tokenizer, X), tokenizer.encoder.maps(X)[-1]
    assert logits.shape == (5, 4, 4, 20) and map_grid(tokenizer.encoder) == (4, 4)
    for i, j in np.ndindex(4, 4):
        torch.testing.assert_close(logits[:, i, j], tokenizer.head(last[:, :, i, j]))
    assert torch.equal(tokens(tokenizer, X), logits.argmax(-1))
    assert not tokens(tokenizer, X).is_floating_point() and len(tokens(tokenizer, X).unique()) > 3


def test_precision_does_not_change_a_token(tokenizer):
    many = torch.randn(300, 3, 8, 8)
    expected = tokens(tokenizer.eval(), many)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokens(tokenizer, many), expected)
        assert not torch.equal(code_logits(tokenizer, many).argmax(-1), expected)


def test_a_saved_tokenizer_gives_the_same_tokens(tokenizer, tmp_path):
    save_model(tmp_path, tokenizer, {"kind": "encoder", "stage": "dvae"})
    again = load_model(tmp_path).branch
    assert torch.equal(tokens(again, X), tokens(tokenizer.eval(), X))


def test_looking_for_the_grid_leaves_no_trace(encoder):
    made = encoder(size=16)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    assert map_grid(made) == (2, 2) and made.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_the_perplexity_is_the_number_of_codes_in_use():
    assert perplexity(torch.zeros(3, 4, 4, dtype=torch.int64), 9).item() == pytest.approx(1)
    assert perplexity(torch.arange(16).view(1, 4, 4) % 8, 100).item() == pytest.approx(8)
    codes = torch.randint(7, (17, 4, 4), generator=torch.Generator().manual_seed(0)).square()
    share = np.unique(codes.numpy(), return_counts=True)[1] / codes.numel()
    assert perplexity(codes, 50).item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def different(rank):
    return perplexity(torch.full((2, 3, 3), rank), 5).item()


@pytest.mark.slow  # two processes import torch
def test_the_perplexity_is_that_of_all_processes():
    assert both(different) == pytest.approx([2, 2])


def test_colours_are_what_was_normalised(encoder):
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    made = encoder()
    normalised = Normalise(made.spec["mean"], made.spec["std"])(images)
    torch.testing.assert_close(colours(made, normalised), images / 255)


@pytest.mark.parametrize("stages, side", [(1, 8), (2, 4), (3, 2)])
def test_an_image_is_decoded_at_its_size_from_any_grid(encoder, stages, side):
    decoder = PixelDecoder(encoder(args={"width": 4, "stem_stride": 1, "stages": stages}), 6, 10)
    mu, log_b = decoder(torch.randn(2, side, side, 6))
    assert mu.shape == log_b.shape == (2, 3, 8, 8)


def test_a_code_is_decoded_where_it_stands(encoder):
    """The first and the last layer look at one place, those between at its neighbours."""
    decoder = PixelDecoder(encoder(args={"stem_stride": 1, "stages": 2}, size=16), 6, 10)
    z = torch.randn(1, 8, 8, 6, requires_grad=True)
    mu, _ = decoder(z)
    (seen,) = torch.autograd.grad(mu[0, :, 4:6, 10:12].square().sum(), z)
    places = seen[0].any(2).nonzero()
    assert seen[0, 2, 5].any() and (places - torch.tensor([2, 5])).abs().max() == 2
    assert isinstance(decoder.layers[0], nn.Conv2d) and decoder.layers[0].kernel_size == (1, 1)


def test_a_map_that_does_not_divide_the_image_is_refused(encoder):
    with pytest.raises(ParamsError, match="a map of 3 x 3 does not divide an image of 10 pixels"):
        PixelDecoder(encoder(args={"stem_stride": 1}, size=10), 6, 10)
