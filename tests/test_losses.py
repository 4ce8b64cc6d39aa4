"""Against plain numpy in float64, written from the formulas of the papers."""

from math import e, log

import numpy as np
import pytest
import torch

from pipeline.losses import (
    cross_entropy,
    divergence,
    entropy,
    gather,
    gumbel_softmax,
    in_batch_nce,
    info_nce,
    kl_to_uniform,
    log_partition,
    logit_laplace,
    mean_where,
    nce,
    nce_among,
    nt_xent,
    sharpen,
    sinkhorn,
    squared_difference,
    unit,
)
from tests.gloo import both

SIZES = (2, 3, 17)


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


def oracle_nt_xent(a, b, tau):
    """arXiv:2002.05709, equation 1, anchor by anchor: -log exp(s_ij / tau) / sum over k != i of exp(s_ik / tau)."""
    z = np.concatenate([a, b]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(a), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [z[i] @ z[k] / tau for k in range(2 * n) if k != i]
        top = max(others)
        total -= z[i] @ z[j] / tau - top - np.log(sum(np.exp(s - top) for s in others))
    return total / (2 * n)


def oracle_info_nce(q, k, negatives, tau):
    """arXiv:1911.05722, equation 1, query by query, of rows of any length."""
    q, k, negatives = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in map(np.float64, (q, k, negatives)))
    total = 0.0
    for query, key in zip(q, k, strict=True):
        scores = np.exp(np.array([query @ key, *(negatives @ query)]) / tau)
        total -= np.log(scores[0] / scores.sum())
    return total / len(q)


def oracle_cross_entropy(logits, y, smoothing=0.0):
    """-sum_k q_k log p_k, q = (1 - s) y + s / K (arXiv:1512.00567, section 7)."""
    logits, rows = logits.astype(np.float64), []
    q = np.eye(logits.shape[1])[y] if y.ndim == 1 else y.astype(np.float64)
    q = (1 - smoothing) * q + smoothing / logits.shape[1]
    for row, target in zip(logits, q, strict=True):
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        rows.append(-(target * log_p).sum())
    return np.array(rows)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("tau", (0.1, 0.5, 1.0))
def test_nt_xent_is_the_formula(n, tau, draw):
    a, b = torch.randn(2, n, 8, generator=draw)
    assert nt_xent(a, b, tau).item() == pytest.approx(oracle_nt_xent(a.numpy(), b.numpy(), tau), abs=2e-6)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("smoothing", (0.0, 0.1, 1.0))
@pytest.mark.parametrize("soft", (False, True), ids=("hard", "soft"))
def test_cross_entropy_is_the_formula(n, smoothing, soft, draw):
    logits = 5 * torch.randn(n, 7, generator=draw)
    y = torch.randn(n, 7, generator=draw).softmax(1) if soft else torch.randint(7, (n,), generator=draw)
    expected = oracle_cross_entropy(logits.numpy(), y.numpy(), smoothing)
    np.testing.assert_allclose(cross_entropy(logits, y, smoothing).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("n", SIZES)
def test_nt_xent_of_aligned_pairs_that_are_orthogonal_to_all_others_is_its_floor(n):
    """The positive at 1, 2n - 2 negatives at 0; a positive among the negatives would add ln 2 at a small tau."""
    z = torch.eye(32)[:n]
    tau = 0.2
    assert nt_xent(z, z, tau).item() == pytest.approx(log(e ** (1 / tau) + 2 * n - 2) - 1 / tau, abs=1e-6)


@pytest.mark.parametrize("n", SIZES)
def test_nt_xent_of_one_point_is_chance(n):
    assert nt_xent(torch.ones(n, 4), torch.ones(n, 4), 0.1).item() == pytest.approx(log(2 * n - 1), abs=1e-6)


def test_nt_xent_does_not_depend_on_lengths_or_on_the_order_of_views_and_images(draw):
    a, b = torch.randn(2, 5, 8, generator=draw)
    loss = nt_xent(a, b, 0.5)
    lengths = torch.rand(5, 1, generator=draw) * 1000 + 0.001
    order = torch.randperm(5, generator=draw)
    for other in (nt_xent(a * lengths, b / lengths, 0.5), nt_xent(b, a, 0.5), nt_xent(a[order], b[order], 0.5)):
        torch.testing.assert_close(other, loss)


def test_nt_xent_sees_which_rows_are_pairs(draw):
    a, b = torch.randn(2, 6, 8, generator=draw)
    assert nt_xent(a, a + 0.1 * b, 0.5) < nt_xent(a, (a + 0.1 * b).roll(1, 0), 0.5) - 0.1


def test_a_temperature_of_one_hundredth_stays_finite_in_fp32(draw):
    a, b = torch.randn(2, 17, 8, generator=draw)
    a.requires_grad_()
    loss = nt_xent(a, b, 0.01)
    loss.backward()
    expected = oracle_nt_xent(a.detach().numpy(), b.numpy(), 0.01)
    assert loss.item() == pytest.approx(expected, rel=1e-5) and a.grad.isfinite().all() and a.grad.any()


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision_in_gives_the_loss_of_the_rounded_input_in_fp32(dtype, draw):
    a, b = torch.randn(2, 3, 8, generator=draw).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):  # under autocast too: z @ z.T would be bf16
        loss, per_sample = nt_xent(a, b, 0.01), cross_entropy(a, torch.tensor([0, 1, 2]), 0.1)
    assert loss.dtype == per_sample.dtype == torch.float32
    assert loss.item() == pytest.approx(oracle_nt_xent(a.float().numpy(), b.float().numpy(), 0.01), rel=1e-5)
    expected = oracle_cross_entropy(a.float().numpy(), np.array([0, 1, 2]), 0.1)
    np.testing.assert_allclose(per_sample.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32))
def test_a_row_of_zeros_is_no_nan(dtype):
    """1e-12, the floor that F.normalize has by itself, is 0 in fp16."""
    z = torch.zeros(2, 4, dtype=dtype)
    assert unit(z).eq(0).all()
    assert nt_xent(z, torch.ones(2, 4, dtype=dtype), 0.1).isfinite()


def test_the_gradient_at_a_row_of_zeros_is_finite():
    z = torch.zeros(2, 4, requires_grad=True)
    nt_xent(z, torch.ones(2, 4), 0.1).backward()
    assert z.grad.isfinite().all()


def test_rows_of_unit_have_length_one(draw):
    z = torch.randn(5, 8, generator=draw) * torch.tensor([1e-4, 1e-2, 1, 1e2, 1e4])[:, None]
    torch.testing.assert_close(unit(z).norm(dim=1), torch.ones(5))


def test_cross_entropy_is_per_sample_so_that_tiling_the_batch_leaves_its_mean(draw):
    logits, y = torch.randn(3, 7, generator=draw), torch.tensor([0, 3, 6])
    once = cross_entropy(logits, y)
    assert once.shape == (3,)
    torch.testing.assert_close(cross_entropy(logits.repeat(4, 1), y.repeat(4)), once.repeat(4))


def test_cross_entropy_does_not_see_a_constant_added_to_all_logits(draw):
    logits, y = torch.randn(3, 7, generator=draw), torch.tensor([0, 3, 6])
    torch.testing.assert_close(cross_entropy(logits + 100, y), cross_entropy(logits, y), atol=2e-5, rtol=0)


@pytest.mark.parametrize("smoothing", (0.0, 0.1))
def test_classes_and_their_one_hot_probabilities_are_the_same(smoothing, draw):
    logits, y = torch.randn(5, 7, generator=draw), torch.randint(7, (5,), generator=draw)
    one_hot = torch.eye(7)[y]
    torch.testing.assert_close(cross_entropy(logits, y, smoothing), cross_entropy(logits, one_hot, smoothing))


@pytest.mark.parametrize("smoothing", (0.0, 0.1))
def test_the_floor_of_cross_entropy_is_the_entropy_of_its_target(smoothing):
    """Reached where the logits are the logarithms of the target."""
    q = (1 - smoothing) * torch.eye(4)[[1, 2]] + smoothing / 4
    entropy = -(q * q.clamp_min(1e-30).log()).sum(1)
    torch.testing.assert_close(cross_entropy(q.clamp_min(1e-30).log(), torch.tensor([1, 2]), smoothing), entropy)


def test_chance_of_cross_entropy_is_ln_k():
    torch.testing.assert_close(cross_entropy(torch.zeros(3, 7), torch.tensor([0, 3, 6])), torch.full((3,), log(7)))


def slope(oracle, z, h=1e-5):
    """Central differences of the float64 formula: the losses are fp32 inside, too coarse to difference themselves."""
    grad = np.zeros_like(z)
    for at in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[at] = h
        grad[at] = (oracle(z + step) - oracle(z - step)) / (2 * h)
    return grad


def test_the_gradient_of_nt_xent(draw):
    a, b = torch.randn(2, 3, 4, generator=draw).double()
    a.requires_grad_(), b.requires_grad_()
    nt_xent(a, b, 0.5).backward()
    at_a, at_b = a.detach().numpy(), b.detach().numpy()
    np.testing.assert_allclose(a.grad, slope(lambda z: oracle_nt_xent(z, at_b, 0.5), at_a), atol=1e-6)
    np.testing.assert_allclose(b.grad, slope(lambda z: oracle_nt_xent(at_a, z, 0.5), at_b), atol=1e-6)


def test_the_gradient_of_cross_entropy_is_p_minus_q(draw):
    logits, y = torch.randn(3, 5, generator=draw), torch.tensor([0, 2, 4])
    logits.requires_grad_()
    cross_entropy(logits, y, 0.1).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - 0.9 * torch.eye(5)[y] - 0.1 / 5)


def test_gather_is_the_identity_in_one_process(draw):
    z = torch.randn(3, 4, generator=draw)
    assert gather(z) is z


def _slice(rank, a, b):
    """One process of two: the gradient that DDP would see, averaged over the processes as DDP does."""
    rows = slice(rank * len(a) // 2, (rank + 1) * len(a) // 2)
    mine = a[rows].clone().requires_grad_()
    loss = nt_xent(mine, b[rows], 0.5)
    loss.backward()
    return loss.detach(), mine.grad / 2, gather(a[rows])


@pytest.mark.slow  # two processes import torch
def test_two_processes_give_the_loss_and_the_gradient_of_one(draw):
    """A gather without gradient would give the right loss, and half of the gradient or less."""
    a, b = torch.randn(2, 6, 8, generator=draw)
    whole = a.clone().requires_grad_()
    loss = nt_xent(whole, b, 0.5)
    loss.backward()
    parts = both(_slice, a, b)
    for part, _, rows in parts:
        torch.testing.assert_close(part, loss.detach(), atol=1e-6, rtol=0)
        torch.testing.assert_close(rows, a)  # in rank order
    torch.testing.assert_close(torch.cat([grad for _, grad, _ in parts]), whole.grad, atol=1e-6, rtol=0)


def test_info_nce_is_the_sum_it_stands_for():
    rng = np.random.default_rng(0)
    for batch, negatives in ((2, 3), (3, 1), (17, 40)):
        drawn = (rng.normal(size=(rows, 5)) for rows in (batch, batch, negatives))
        q, k, n = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in drawn)
        positive, rivals = np.exp((q * k).sum(1) / 0.2), np.exp(q @ n.T / 0.2).sum(1)
        found = info_nce(*(torch.from_numpy(z) for z in (q, k, n)), 0.2)
        assert found.item() == pytest.approx(-np.log(positive / (positive + rivals)).mean())


def test_info_nce_floor_and_chance():
    """Aligned pairs far from all negatives: ln(1 + K exp(-1 / tau)); everything alike: ln(K + 1)."""
    eye = torch.eye(8)
    assert info_nce(eye[:2], eye[:2], eye[2:], 0.5).item() == pytest.approx(log(1 + 6 * e**-2))
    same = eye[:1].expand(4, 8)
    assert info_nce(same, same, same, 0.1).item() == pytest.approx(log(5))


def test_a_queue_that_holds_its_own_positive_shows_in_the_floor():
    """stable-pretraining appends before it reads: a perfectly aligned batch then costs near ln 2."""
    eye = torch.eye(64)
    read_first = info_nce(eye[:4], eye[:4], eye[4:], 0.1)
    pushed_first = info_nce(eye[:4], eye[:4], torch.cat([eye[:4], eye[8:]]), 0.1)
    assert read_first < 0.01 and pushed_first.item() == pytest.approx(log(2), abs=0.01)


def test_a_negative_of_the_querys_own_image_is_as_if_it_were_not_there(draw):
    z = unit(torch.randn(7, 5, generator=draw))
    q, k, negatives, own = z[:2], z[2:4], z[4:], torch.tensor([[True, False, False], [False, False, False]])
    apart = info_nce(q[:1], k[:1], negatives[1:], 0.2) + info_nce(q[1:], k[1:], negatives, 0.2)
    torch.testing.assert_close(info_nce(q, k, negatives, 0.2, own), apart / 2)


@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("epsilon", [0.003, 0.05])
def test_sinkhorn_stays_finite_and_each_sample_is_one_unit(epsilon, dtype, scale):
    scores = (torch.randn(24, 6, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    codes = sinkhorn(scores, epsilon)
    assert codes.isfinite().all() and codes.dtype == torch.float32
    torch.testing.assert_close(codes.sum(1), torch.ones(24))


def test_sinkhorn_marginals_become_even():
    scores = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
    codes = sinkhorn(scores, 0.5, iterations=100)
    torch.testing.assert_close(codes.sum(0), torch.full((6,), 4.0), atol=1e-4, rtol=0)


def test_sinkhorn_is_the_exponential_form_where_that_is_finite():
    scores = np.random.default_rng(0).uniform(-1, 1, size=(8, 5))
    q = np.exp(scores / 0.05)
    for _ in range(3):
        q = q / q.sum(0) / 5
        q = q / q.sum(1, keepdims=True) / 8
    np.testing.assert_allclose(sinkhorn(torch.from_numpy(scores), 0.05).numpy(), q * 8, atol=1e-6)


def _parts(rank):
    scores = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    return sinkhorn(scores.chunk(2)[rank], 0.05)


@pytest.mark.slow  # two processes import torch
def test_sinkhorn_is_over_the_samples_of_all_processes():
    """MMPretrain normalises with the sums of one process."""
    scores = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.cat(both(_parts)), sinkhorn(scores, 0.05))


@pytest.mark.parametrize("n", SIZES)
def test_in_batch_nce_is_the_sum_it_stands_for(n, draw):
    """arXiv:2104.02057, Algorithm 1: the other keys of the batch are the negatives of a query, its own key is none."""
    q, k = (unit(z) for z in torch.randn(2, n, 8, generator=draw))
    others = [np.delete(k.numpy(), i, 0) for i in range(n)]
    parts = [oracle_info_nce(q[i : i + 1].numpy(), k[i : i + 1].numpy(), others[i], 0.3) for i in range(n)]
    assert in_batch_nce(q, k, 0.3).item() == pytest.approx(np.mean(parts), rel=1e-5)


def test_in_batch_nce_floor_and_chance():
    eye = torch.eye(8)[:5]
    assert in_batch_nce(eye, eye, 0.5).item() == pytest.approx(log(1 + 4 * e**-2))
    same = eye[:1].expand(5, 8)
    assert in_batch_nce(same, same, 0.1).item() == pytest.approx(log(5))


def _in_batch(rank, q, k):
    rows = slice(rank * len(q) // 2, (rank + 1) * len(q) // 2)
    mine = q[rows].clone().requires_grad_()
    loss = in_batch_nce(mine, gather(k[rows]), 0.3)
    loss.backward()
    return loss.detach(), mine.grad / 2


@pytest.mark.slow  # two processes import torch
def test_in_batch_nce_finds_its_positives_in_two_processes(draw):
    """A label that is not offset by the rank makes another process's key the positive."""
    q, k = (unit(z) for z in torch.randn(2, 6, 8, generator=draw))
    whole = q.clone().requires_grad_()
    loss = in_batch_nce(whole, k, 0.3)
    loss.backward()
    parts = both(_in_batch, q, k)
    torch.testing.assert_close(torch.stack([part for part, _ in parts]).mean(), loss.detach())
    torch.testing.assert_close(torch.cat([grad for _, grad in parts]), whole.grad)


def likeness(q, k, negatives, tau, own):
    """exp(s / tau) of each query with its positive, and with the negatives that are not its own: float64."""
    q, k, negatives = (z.numpy().astype(np.float64) for z in (q, k, negatives))
    for i in range(len(q)):
        yield np.exp(q[i] @ k[i] / tau), np.exp(negatives[~own[i].numpy()] @ q[i] / tau)


@pytest.fixture(params=SIZES)
def contrast(request, draw):
    """Queries, keys, 11 negatives; negative 1 is of the image of query 0, negative 4 of that of query 1."""
    n = request.param
    q, k, negatives = (unit(torch.randn(rows, 5, generator=draw)) for rows in (n, n, 11))
    own = torch.zeros(n, 11, dtype=torch.bool)
    own[0, 1], own[1, 4] = True, True
    return q, k, negatives, 0.3, own


def test_log_partition_is_the_log_of_a_mean(contrast):
    q, _, negatives, tau, own = contrast
    every = np.concatenate([others for _, others in likeness(*contrast)])
    assert log_partition(q, negatives, tau, own).item() == pytest.approx(np.log(every.mean()), rel=1e-5)


def test_nce_is_the_formula(contrast):
    """arXiv:1805.01978: P = exp(s / tau) / Z (3), h = P / (P + m / n) (6), -log h - sum log(1 - h) (7)."""
    n, m, z, total = 1000, 11, 1000 * 1.7, 0.0
    for positive, others in likeness(*contrast):
        h, h_noise = (score / z / (score / z + m / n) for score in (positive, others))
        total -= np.log(h) + np.log(1 - h_noise).sum()
    q, k, negatives, tau, own = contrast
    found = nce(q, k, negatives, tau, torch.tensor(log(z / n)), own)
    assert found.item() == pytest.approx(total / len(q), rel=1e-5)


def test_nce_among_is_the_formula(contrast):
    """arXiv:1912.01991, equations 4 and 5, with h the share of a pair among the positive and all negatives."""
    total = 0.0
    for positive, others in likeness(*contrast):
        whole = positive + others.sum()
        total -= np.log(positive / whole) + np.log(1 - others / whole).sum()
    assert nce_among(*contrast).item() == pytest.approx(total / len(contrast[0]), rel=1e-5)


@pytest.mark.parametrize("k", (1, 16, 4096))
def test_chance_of_both_nce(k):
    """All alike: h = 1 / (1 + K) for every pair."""
    q, own = torch.ones(3, 1), torch.zeros(3, k, dtype=torch.bool)
    negatives = torch.ones(k, 1)
    log_z = log_partition(q, negatives, 0.07)
    expected = log(1 + k) + k * log(1 + 1 / k)
    assert log_z.item() == pytest.approx(1 / 0.07, rel=1e-6)
    assert nce(q, q, negatives, 0.07, log_z, own).item() == pytest.approx(expected, rel=1e-4)
    assert nce_among(q, q, negatives, 0.07, own).item() == pytest.approx(expected, rel=1e-4)


def test_aligned_pairs_far_from_all_negatives_cost_next_to_nothing_unless_they_are_among_them():
    """The own row of the bank among the negatives: ln 2 for each of the two terms."""
    eye = torch.eye(8)
    q, negatives, nothing = eye[:2], eye, torch.zeros(2, 8, dtype=torch.bool)
    own = torch.eye(2, 8, dtype=torch.bool)
    assert nce_among(q, q, negatives, 0.05, own) < 1e-6
    assert nce_among(q, q, negatives, 0.05, nothing).item() == pytest.approx(2 * log(2), abs=1e-4)
    log_z = log_partition(q, negatives, 0.05, own)
    assert nce(q, q, negatives, 0.05, log_z, nothing) > nce(q, q, negatives, 0.05, log_z, own) + 10


def test_nce_of_a_pair_that_is_all_wrong_is_finite_and_so_is_its_gradient():
    """1 - h rounds to zero in fp32 where one negative has it all."""
    q = torch.tensor([[1.0, 0.0]], requires_grad=True)
    negatives, own = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(1, 2, dtype=torch.bool)
    for loss in (
        nce_among(q, -q.detach(), negatives, 0.01, own),
        nce(q, -q.detach(), negatives, 0.01, torch.tensor(0.0), own),
    ):
        q.grad = None
        loss.backward()
        assert loss.isfinite() and q.grad.isfinite().all() and q.grad[0, 0] > 0, "away from the negative"


@pytest.mark.parametrize("tau", (1.0, 0.3))
def test_gumbel_softmax_is_the_formula(draw, tau):
    logits, uniform = torch.randn(3, 4, 5, generator=draw), torch.rand(3, 4, 5, generator=draw)
    noisy = np.exp((logits.double().numpy() - np.log(-np.log(uniform.double().numpy()))) / tau)
    expected = noisy / noisy.sum(-1, keepdims=True)
    assert gumbel_softmax(logits, uniform, tau).numpy() == pytest.approx(expected, abs=1e-5)


def test_draws_follow_the_softmax_at_any_temperature_and_are_one_hot_at_a_low_one(draw):
    logits, uniform = torch.tensor([2.0, 0.0, -1.0, 1.0]), torch.rand(40_000, 4, generator=draw)
    for tau in (1.0, 1 / 16):
        often = gumbel_softmax(logits.expand(40_000, 4), uniform, tau).argmax(1).bincount() / 40_000
        assert often.tolist() == pytest.approx(logits.softmax(0).tolist(), abs=0.01)  # 4 sigma
    sharp = gumbel_softmax(logits.expand(40_000, 4), uniform, 1 / 16).amax(1)
    assert (sharp > 0.99).float().mean() > 0.8 > 0.2 > (sharp < 0.9).float().mean()
    torch.testing.assert_close(gumbel_softmax(logits, uniform[0], 1e6), torch.full((4,), 0.25), atol=1e-4, rtol=0)


def test_a_uniform_draw_of_zero_is_a_draw():
    logits = torch.zeros(2, 3, requires_grad=True)
    z = gumbel_softmax(logits, torch.tensor([[0.0, 0, 0], [0, 0.5, 1 - 2**-24]]), 1 / 16)
    z.square().sum().backward()
    assert z[0].tolist() == pytest.approx([1 / 3] * 3) and z[1, 2] > 0.99 and logits.grad.isfinite().all()


@pytest.mark.parametrize("n", SIZES)
def test_kl_to_uniform_is_the_sum_over_positions(n, draw):
    logits = 2 * torch.randn(n, 4, 3, 7, generator=draw)
    p, total = np.exp(logits.double().numpy()), 0.0
    p /= p.sum(-1, keepdims=True)
    for place in np.ndindex(n, 4, 3):
        total += (p[place] * np.log(p[place] / (1 / 7))).sum()
    assert kl_to_uniform(logits).item() == pytest.approx(total / n, rel=1e-5)


@pytest.mark.parametrize("n", (2, 8, 32))
def test_kl_to_uniform_from_none_to_all_whatever_the_batch(n, draw):
    """Peers divide a sum over batch and positions by something else: 16, 64, 254 for a true 8."""
    assert kl_to_uniform(torch.full((n, 4, 4, 9), 3.0)).item() == pytest.approx(0, abs=1e-5)
    certain = 300.0 * torch.eye(9)[torch.randint(9, (n, 4, 4), generator=draw)]
    assert kl_to_uniform(certain).item() == pytest.approx(16 * log(9), rel=1e-6)
    logits = torch.randn(2, 4, 4, 9, generator=draw)
    assert kl_to_uniform(logits.repeat(n // 2, 1, 1, 1)).item() == pytest.approx(kl_to_uniform(logits).item(), rel=1e-6)


def test_logit_laplace_is_the_formula_and_a_density():
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)[1:-1]
    for mu, log_b in ((0.3, -0.2), (-1.0, 0.5)):
        b = np.exp(log_b) + 1 / 80
        logit, slope = np.log(x.numpy()) - np.log1p(-x.numpy()), (x * (1 - x)).numpy()
        expected = np.exp(-np.abs(logit - mu) / b) / (2 * b * slope)
        f = (-logit_laplace(x, torch.tensor(mu), torch.tensor(log_b), epsilon=0)).exp()
        assert f.numpy() == pytest.approx(expected, rel=2e-3, abs=1e-6)
        assert (f.double().sum() / 200_000).item() == pytest.approx(1, abs=1e-3)
        inside = logit_laplace(x, torch.tensor(mu), torch.tensor(log_b))
        assert inside.numpy() == pytest.approx(
            logit_laplace(0.1 + 0.8 * x, torch.tensor(mu), torch.tensor(log_b), epsilon=0).numpy(), abs=1e-4
        )


def test_logit_laplace_is_least_at_the_pixel_and_never_endless():
    x = torch.tensor([0.0, 0.5, 1.0])
    right = (0.1 + 0.8 * x).logit()
    sure = logit_laplace(x, right, torch.full((3,), -1e9))
    assert (sure > -6.2).all() and (sure < logit_laplace(x, right + 0.1, torch.full((3,), -1e9))).all()


@pytest.mark.parametrize("temperature", (0.1, 0.5, 1.0))
def test_sharpen_is_the_formula_and_lowers_the_entropy(temperature, draw):
    p = torch.rand(5, 4, generator=draw).softmax(1)
    expected = p.double().numpy() ** (1 / temperature)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(sharpen(p, temperature).numpy(), expected, rtol=1e-5)
    if temperature < 1:
        assert (entropy(sharpen(p, temperature).log()) < entropy(p.log())).all(), "a peer's did nothing"


def test_a_small_temperature_leaves_one_and_no_nan():
    p = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(sharpen(p, 0.001), torch.eye(3)[[0, 0]])


def test_entropy_is_from_zero_to_ln_k(draw):
    assert entropy(torch.zeros(2, 7)).tolist() == pytest.approx([log(7)] * 2)
    assert entropy(100 * torch.eye(3)).tolist() == pytest.approx([0] * 3, abs=1e-6)
    p = torch.randn(4, 5, generator=draw).double().softmax(1)
    assert entropy(p.log()).tolist() == pytest.approx(-(p * p.log()).sum(1).numpy(), rel=1e-5)


def test_divergence_is_summed_over_classes_and_zero_where_both_agree(draw):
    """Not the mean over B times C, which makes it C times smaller."""
    logits, target = torch.randn(2, 5, 4, generator=draw)
    q, p = target.double().softmax(1), logits.double().softmax(1)
    expected = (q * (q.log() - p.log())).sum(1).numpy()
    assert divergence(target.softmax(1), logits).tolist() == pytest.approx(expected, rel=1e-4)
    assert divergence(logits.softmax(1), logits).tolist() == pytest.approx([0] * 5, abs=1e-6)
    one_hot = torch.eye(4)[:2]
    torch.testing.assert_close(divergence(one_hot, logits[:2]), cross_entropy(logits[:2], torch.arange(2)))


def test_a_mean_over_those_that_are_kept_and_of_none_it_is_zero():
    losses = torch.tensor([1.0, 2.0, 6.0])
    assert mean_where(torch.tensor([1.0, 0.0, 1.0]), losses) == 3.5
    assert mean_where(torch.zeros(3), losses) == 0


def _kept(rank):
    losses = torch.arange(8.0).chunk(2)[rank].clone().requires_grad_()
    loss = mean_where(torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])[rank], losses)
    loss.backward()
    return loss.item(), losses.grad.tolist()


@pytest.mark.slow  # two processes import torch
def test_the_mean_is_over_those_of_all_processes_whatever_the_share_of_each():
    """Three of one process and one of the other: a mean of means would count the last one three times."""
    (first, slopes), (second, others) = both(_kept)
    assert (first + second) / 2 == (0 + 1 + 2 + 7) / 4
    assert [slope / 2 for slope in slopes + others] == [0.25] * 3 + [0] * 4 + [0.25]


def test_squared_difference_is_the_mean_over_classes():
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    assert squared_difference(p, q).tolist() == [1.0, 0.0]
