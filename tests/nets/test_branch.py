import pytest
import torch

from pipeline.losses import unit
from pipeline.nets.branch import Branch, ask, dealt, in_groups, passes, together
from pipeline.nets.heads import Head


def test_a_branch_is_head_after_encoder(encoder):
    branch, x = Branch(encoder(), Head([64, 10])).eval(), torch.randn(4, 3, 8, 8)
    assert torch.equal(branch(x), branch.head(branch.encoder(x)))


def test_together_is_one_forward_for_batch_norm(encoder):
    branch = Branch(encoder(), Head([64, 10]))
    a, b = torch.randn(4, 3, 8, 8), 3 * torch.randn(2, 3, 8, 8) + 1
    joint = branch(torch.cat([a, b]))
    seen = branch.encoder.net.bn1.num_batches_tracked.item()
    on_a, on_b = together(branch, a, b)
    assert branch.encoder.net.bn1.num_batches_tracked.item() == seen + 1
    assert torch.equal(on_a, joint[:4])
    assert torch.equal(on_b, joint[4:])
    assert not torch.allclose(branch(a), on_a, atol=1e-3)  # alone, the statistics are others


def test_to_ask_a_network_leaves_no_trace(encoder):
    branch, x = Branch(encoder(), Head([64, 10])).train(), torch.randn(4, 3, 8, 8)
    before = {name: value.clone() for name, value in branch.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        said = ask(branch, x)
    assert said.dtype == torch.float32 and not said.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in branch.state_dict().items())
    assert torch.equal(ask(branch, x), branch(x)), "by the statistics of its batch"


def company(groups, dealt, n):
    """For each row the rows whose statistics it is normalised with."""
    met = []

    def net(x):
        met.append(set(x.flatten().tolist()))
        return x

    rows = torch.arange(n).float()[:, None]
    assert torch.equal(in_groups(net, rows, groups, dealt), rows), "each row at its place"
    return [next(part for part in met if row in part) for row in range(n)]


@pytest.mark.parametrize("n, groups, parts", [(16, 4, 4), (17, 4, 4), (7, 8, 3), (2, 8, 1), (5, 1, 1)])
@pytest.mark.parametrize("dealt", [False, True])
def test_groups_are_parts_of_the_batch_of_at_least_two(n, groups, parts, dealt):
    met = {frozenset(part) for part in company(groups, dealt, n)}
    assert len(met) == parts and sum(map(len, met)) == n and min(map(len, met)) >= 2


@pytest.mark.parametrize("n, groups", [(16, 4), (64, 8), (256, 8), (250, 8)])
def test_a_key_has_other_company_than_its_query(n, groups):
    for query, key in zip(company(groups, False, n), company(groups, True, n), strict=True):
        assert len(query & key) <= -(-len(query) // groups)


def test_statistics_of_whole_batches_tell_the_positive_and_those_of_groups_do_not():
    """The leak: two views that share nothing but what they add to the statistics of their part.

    Each part of the batch has a content of its own that only its mean knows; a network that shows the mean finds the
    part of each query again among keys in the same parts, and not among keys that were dealt.
    """
    torch.manual_seed(0)
    n, groups = 64, 8
    content = torch.randn(groups, 32).repeat_interleave(n // groups, 0)  # of the run that the row stands in
    q, k = content + torch.randn(n, 32), content + torch.randn(n, 32)

    def shown(x):
        return x.mean(0, keepdim=True).expand(len(x), -1)

    def found(dealt):
        queries, keys = in_groups(shown, q, groups), in_groups(shown, k, groups, dealt)
        nearest = (unit(queries) @ unit(keys).T).argmax(1)
        return (nearest // groups == torch.arange(n) // groups).float().mean()

    assert found(dealt=False) == 1
    assert found(dealt=True) < 0.2


def test_in_one_group_the_network_sees_the_batch_as_it_is(encoder):
    branch, x = Branch(encoder(), Head([64, 10])), torch.randn(6, 3, 8, 8)
    assert torch.equal(in_groups(branch, x, 1), branch(x))
    apart = in_groups(branch, x, 2)
    assert torch.equal(apart, torch.cat([branch(x[:3]), branch(x[3:])]))
    assert not torch.allclose(apart, branch(x), atol=1e-3)


@pytest.mark.parametrize("update, seen", [("labelled", 0), ("first", 0), ("last", 2)])
def test_only_the_pass_that_the_knob_names_moves_batch_norm(update, seen):
    norm, batches = torch.nn.BatchNorm1d(3), [k + torch.randn(50, 3) for k in (0.0, 10.0, 20.0)]
    outputs = passes(norm, update, *batches)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * batches[seen].mean(0))
    for output in outputs:
        torch.testing.assert_close(output.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    passes(norm, update, *batches)
    assert norm.num_batches_tracked == 2, "the switch is off again after each pass"


@pytest.mark.parametrize("update", ("first", "last", "labelled", "all"))
@pytest.mark.parametrize("sizes", [(4, 4, 4), (4, 8, 8), (3, 7), (5, 5)])
def test_dealt_rows_come_back_in_their_places(update, sizes):
    batches = [10 * place + torch.arange(float(size))[:, None] for place, size in enumerate(sizes)]
    for given, got in zip(batches, dealt(torch.nn.Identity(), update, *batches), strict=True):
        assert torch.equal(given, got)


@pytest.mark.parametrize("ratio", (1, 2))
def test_each_dealt_batch_is_as_large_as_the_first_and_holds_its_share_of_every_kind(ratio):
    met = []
    kinds = [place * torch.ones(12 if place == 0 else 12 * ratio, 1) for place in range(3)]
    net = torch.nn.Identity()
    net.register_forward_pre_hook(lambda _, inputs: met.append(inputs[0].flatten().tolist()))
    dealt(net, "first", *kinds)
    assert [len(batch) for batch in met] == [12] * (1 + 2 * ratio)
    for batch in met:
        shares = [batch.count(kind) / 12 for kind in range(3)]
        assert shares == pytest.approx([len(kind) / sum(map(len, kinds)) for kind in kinds], abs=1 / 12)


@pytest.mark.parametrize("update, moves", [("first", 0), ("last", 2)])
def test_one_dealt_batch_moves_batch_norm(update, moves):
    norm, batches = torch.nn.BatchNorm1d(3), [k + torch.randn(50, 3) for k in (0.0, 10.0, 20.0)]
    dealt(norm, update, *batches)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.cat(batches)[moves::3].mean(0))
    assert 9 < 10 * norm.running_mean.mean() < 11, "of all kinds, and not of the labelled images alone"


def test_all_is_one_forward_together():
    norm, batches = torch.nn.BatchNorm1d(3), [k + torch.randn(50, 3) for k in (0.0, 10.0)]
    outputs = passes(norm, "all", *batches)
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.cat(batches).mean(0))
    torch.testing.assert_close(torch.cat(outputs).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
