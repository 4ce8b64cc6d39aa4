"""A transformer of timm with two tokens, and a head for each."""

import copy

import torch

from pipeline.nets.branch import Branch
from pipeline.nets.distilled import by_token, token_heads
from pipeline.nets.heads import Head, TokenHeads, rebuild_head
from pipeline.nets.model import load_model, save_model

NAME = "deit_tiny_distilled_patch16_224"
ARGS = {"patch_size": 2, "embed_dim": 24, "depth": 2, "num_heads": 2}
ABOUT = {"kind": "classifier", "classes": ["a", "b", "c"], "stage": "here"}


def test_features_are_those_of_both_tokens(encoder):
    made, x = encoder(NAME, args=ARGS).eval(), torch.randn(2, 3, 8, 8)
    tokens = made.net.forward_features(x)
    assert made.dim == 48 and tokens.shape == (2, 2 + 16, 24)
    assert torch.equal(made(x), torch.cat([tokens[:, 0], tokens[:, 1]], 1))


def test_a_copy_shows_its_own_tokens(encoder):
    """An average of the weights must not look through the network that it was copied from."""
    made, x = encoder(NAME, args=ARGS).eval(), torch.randn(2, 3, 8, 8)
    before, other = made(x), copy.deepcopy(made)
    with torch.no_grad():
        other.net.dist_token.normal_()
    assert torch.equal(made(x), before)
    assert torch.equal(other(x), torch.cat([*other.net.forward_features(x)[:, :2].unbind(1)], 1))
    assert not torch.allclose(other(x)[:, 24:], before[:, 24:], atol=1e-3)


def test_a_mean_of_linear_classifiers_each_of_its_own_token():
    head, z = TokenHeads([8, 3]), torch.randn(5, 8)
    first, second = head.apart(z)
    assert torch.equal(first, head.heads[0](z[:, :4])) and torch.equal(second, head.heads[1](z[:, 4:]))
    torch.testing.assert_close(head(z), (first + second) / 2)


def test_a_head_is_rebuilt_from_its_spec():
    for head in (TokenHeads([8, 3]), TokenHeads([9, 3], tokens=3), Head([8, 3])):
        again = rebuild_head(head.spec)
        assert type(again) is type(head) and again.spec == head.spec
        again.load_state_dict(head.state_dict())
    assert isinstance(rebuild_head(None), torch.nn.Identity)


def test_a_model_with_two_heads_is_saved_and_read(encoder, tmp_path):
    made, x = encoder(NAME, args=ARGS), torch.randn(4, 3, 8, 8)
    branch = Branch(made, token_heads(made, 3)).eval()
    save_model(tmp_path, branch, ABOUT)
    again = load_model(tmp_path).branch
    assert torch.equal(again(x), branch(x)) and again(x).std() > 0.01
    for one, other in zip(by_token(again, x), by_token(branch, x), strict=True):
        assert torch.equal(one, other)
