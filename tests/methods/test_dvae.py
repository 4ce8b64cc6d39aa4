"""dVAE: an image as codes, drawn by Gumbel-softmax, and the image from their embeddings."""

from math import log

import numpy as np
import pytest
import torch

from pipeline import catalogue
from pipeline.errors import Collapsed
from pipeline.nets.tokens import code_logits, perplexity, tokens
from tests.contract import small_task as task

ENTRY = catalogue.find("dvae", "pretext")


def seen(images):
    return (torch.rand(images, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - task.MEAN[0]) / task.STD[0]


def softmax(x):
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def oracle(method, x, tau, beta):
    """-log p(x | z) + beta KL(q(z | x) || uniform) of one image after the other, over its pixels; the mean."""
    losses = []
    with torch.no_grad():
        every, uniform = code_logits(method.online, x), method.luck(x, 4, 4, 32)
        z = softmax((every.double().numpy() - np.log(-np.log(uniform.double().numpy()))) / tau)
        mu, log_b = method.decoder(torch.from_numpy(z).float() @ method.codebook.weight)
    pixels = 0.1 + 0.8 * (x * task.STD[0] + task.MEAN[0]).double().numpy()
    for image, logits in enumerate(every.double().numpy()):
        q, p, loss = softmax(logits), pixels[image], 0.0
        b, m = np.exp(log_b[image].double().numpy()) + 1 / 80, mu[image].double().numpy()
        density = 1 / (2 * b * p * (1 - p)) * np.exp(-np.abs(np.log(p / (1 - p)) - m) / b)
        for i, j in np.ndindex(4, 4):
            loss += beta * (q[i, j] * np.log(q[i, j] * 32)).sum()
        losses.append((loss - np.log(density).sum()) / 64)
    return np.mean(losses)


@pytest.mark.parametrize("batch", [2, 3, 17])
@pytest.mark.parametrize(
    "t, tau, beta",
    [(0, 1, 0), (0.001, 0.99907, 3.6), (0.025, (1 + 1 / 16) / 2, 6.6), (0.05, 1 / 16, 6.6), (0.9, 1 / 16, 6.6)],
)
def test_the_loss_is_the_relaxed_bound_with_the_schedules_of_the_paper(batch, t, tau, beta):
    """Of 3,000,000 steps: 5,000 until beta is 6.6, 150,000 until the temperature is 1/16, both on half a cosine."""
    method, x = task.method(ENTRY, beta=6.6), seen(batch)
    method.t = t
    if t == 0.001:
        beta = 6.6 * (1 - np.cos(np.pi * t / 0.0017)) / 2
        tau = 1 / 16 + 15 / 16 * (1 + np.cos(np.pi * t / 0.05)) / 2
    assert method(x=x).item() == pytest.approx(oracle(method, x, tau, beta), abs=2e-5)


@pytest.mark.parametrize("batch", [2, 8, 32])
def test_a_larger_batch_of_the_same_images_costs_the_same(batch):
    """Peers sum the divergence over the batch and the positions, and divide once: 16, 64, 254 for a true 8."""
    method, x = task.method(ENTRY, beta=6.6), seen(2)
    noise = method.luck(x, 4, 4, 32)
    expected = method(x=x).item()
    method.luck.forward = lambda images, *shape: noise.repeat(len(images) // 2, 1, 1, 1)
    assert method(x=x.repeat(batch // 2, 1, 1, 1)).item() == pytest.approx(expected, rel=1e-4)


def test_the_divergence_of_a_certain_code_at_each_place_is_the_log_of_the_vocabulary():
    """beta of 192 pixels: the difference of two losses is the divergence of a place, times 16 places over 64 pixels."""
    costs = []
    for beta in (0.0, 1.0):
        method = task.method(ENTRY, beta=beta)
        with torch.no_grad():
            method.online.head[0].weight.zero_()
            method.online.head[0].bias.copy_(200.0 * (torch.arange(32) == 3))
        costs.append(method(x=seen(3)).item())
    assert costs[1] - costs[0] == pytest.approx(16 * log(32) / 64, rel=1e-4)


def test_the_number_of_codes_in_use_is_told():
    method, x = task.method(ENTRY), seen(6)
    method(x=x)
    share = np.unique(code_logits(method.online, x).argmax(-1), return_counts=True)[1] / (6 * 16)
    assert method.notes["codes"].item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)


def test_one_code_for_everything_stops_the_second_half_of_the_run():
    method = task.method(ENTRY)
    with torch.no_grad():
        method.online.head[0].bias[3] = 1000
    for t in (0.5, 0.51):
        method.t = t
        method(x=seen(3))
        if t > 0.5:
            with pytest.raises(Collapsed, match=r"1\.00 of 32 codes are in use: lower beta"):
                method.remember()
        else:
            method.remember()


def test_each_step_draws_other_codes():
    method, x = task.method(ENTRY), seen(3)
    first = method(x=x)
    assert torch.equal(method(x=x), first)
    method.remember()
    assert not torch.equal(method(x=x), first)


@pytest.mark.slow
def test_codes_come_to_tell_images_apart(tmp_path):
    """Images decoded from their own codes are nearer than those decoded from another's; the codes are many."""
    method = task.method(ENTRY, hidden=64)
    task.train(method, task.batches(ENTRY, batch=64, gentle=True), tmp_path, 200, lr=0.005, name="adamw")
    x, branch = task.TRANSFORM(task.digits()[0][:200]), method.eval().online
    with torch.no_grad():
        codes = tokens(branch, x)
        mu, _ = method.decoder(method.codebook(codes))
    decoded, colours = (mu.sigmoid() - 0.1) / 0.8, task.digits()[0][:200] / 255
    own, other = (decoded - colours).abs().mean(), (decoded.roll(1, 0) - colours).abs().mean()
    assert own < 0.85 * other
    assert perplexity(codes, 32) > 3
