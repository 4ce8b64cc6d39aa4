"""Label propagation against dense linear algebra, and where neighbours know better than distances."""

import numpy as np
import pytest
import torch

from pipeline.nets import propagation
from pipeline.nets.propagation import Propagated, diffuse, neighbour_graph, propagate


def oracle_graph(features, k, gamma, clip):
    """Section 4 of arXiv:1904.04717, dense, entry by entry."""
    v = features.double().numpy()
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    n, s = len(v), v @ v.T
    a = np.zeros((n, n))
    for i in range(n):
        others = sorted((j for j in range(n) if j != i), key=lambda j: -s[i, j])
        for j in others[:k]:
            a[i, j] = (max(s[i, j], 0) if clip else s[i, j]) ** gamma
    w = a + a.T
    d = w.sum(1)
    scale = np.array([x**-0.5 if x > 0 else 0 for x in d])
    return scale[:, None] * w * scale


def one_hot(known, classes):
    return np.eye(classes + 1)[known + 1][:, 1:]


@pytest.mark.parametrize("k, clip", [(1, True), (5, True), (29, True), (50, True), (5, False), (50, False)])
def test_the_graph_is_that_of_the_paper_or_of_the_authors_code(k, clip, monkeypatch):
    monkeypatch.setattr(propagation, "ROWS", 7)  # several blocks, the last one short
    features = 0.5 + torch.randn(30, 4)
    found = neighbour_graph(features, k, 3.0, clip).toarray()
    np.testing.assert_allclose(found, oracle_graph(features, k, 3.0, clip), atol=1e-6)
    np.testing.assert_allclose(found, found.T, rtol=1e-12)
    assert not found.diagonal().any()
    assert (found < 0).any() == (not clip and k > 5)
    assert not clip or np.abs(np.linalg.eigvalsh(found)).max() < 1 + 1e-6


def test_the_length_of_features_does_not_count():
    features = torch.randn(20, 4)
    longer = features * torch.rand(20, 1).add(0.5)
    np.testing.assert_allclose(
        neighbour_graph(features, 5, 3.0).toarray(), neighbour_graph(longer, 5, 3.0).toarray(), atol=1e-6
    )


def test_conjugate_gradients_find_the_inverse_of_fifty_points():
    features = 0.5 + torch.randn(50, 4)
    graph = neighbour_graph(features, 10, 3.0)
    y = one_hot(np.where(np.arange(50) < 8, np.arange(50) % 4, -1), 4)
    expected = np.linalg.inv(np.eye(50) - 0.99 * graph.toarray()) @ y
    np.testing.assert_allclose(diffuse(graph, y), expected, rtol=1e-3, atol=1e-4 * expected.max())
    few = diffuse(graph, y, iterations=20)
    assert np.array_equal(few.argmax(1), expected.argmax(1)), "twenty iterations are enough to choose"


def test_conjugate_gradients_go_on_to_a_residual_of_a_millionth_unless_they_are_stopped():
    """The authors' twenty iterations stop far from it where a label has a long way to go."""
    features, _ = moons(100)
    graph, y = neighbour_graph(features, 4, 3.0), np.zeros((200, 2))
    y[25, 0] = y[125, 1] = 1
    left = {
        n: np.linalg.norm(y - z + 0.99 * (graph @ z), axis=0).max()
        for n, z in ((n, diffuse(graph, y, iterations=n)) for n in (20, 1000))
    }
    assert left[1000] <= 1e-6 and left[20] > 1e-3


def moons(n):
    """Two half circles that reach into one another, on a sphere, so that cosines tell what distances do."""
    angle = np.pi * np.arange(n) / (n - 1)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    plane = torch.tensor(np.concatenate([upper, lower])).float() + 0.04 * torch.randn(2 * n, 2)
    plane = plane - plane.mean(0)
    return torch.cat([plane, torch.full((2 * n, 1), 1.0)], 1), torch.arange(2 * n) // n


def test_two_moons_are_told_apart_by_one_label_each():
    features, truth = moons(100)
    known, places = torch.full((200,), -1), [25, 125]
    known[places] = torch.tensor([0, 1])
    labels, _ = propagate(features, known, 2, k=10)
    assert torch.equal(labels, truth)
    nearest = torch.cdist(features, features[places]).argmin(1)
    assert (nearest == truth).float().mean() < 0.8, "so it is not a matter of distance"


def test_certainty_is_one_minus_the_entropy_of_what_arrives():
    features, known = 0.5 + torch.randn(40, 4), torch.full((40,), -1)
    known[:6] = torch.tensor([0, 0, 0, 1, 1, 2])
    labels, certain = propagate(features, known, 3, k=6)
    y = one_hot(known.numpy(), 3)
    z = np.maximum(diffuse(neighbour_graph(features, 6, 3.0), y / y.sum(0)), 0)
    p = z / z.sum(1, keepdims=True)
    omega = 1 + np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1) / np.log(3)
    np.testing.assert_allclose(certain[6:], omega[6:] / omega.max(), atol=1e-6)
    assert labels[6:].tolist() == p[6:].argmax(1).tolist()
    assert labels[:6].tolist() == known[:6].tolist() and (certain[:6] == 1).all()


def test_a_class_with_ten_times_the_labels_does_not_take_all():
    clouds = torch.cat([torch.randn(100, 2) + torch.tensor([side, 0.0]) for side in (-2.0, 2.0)])
    features, truth = torch.cat([clouds, torch.full((200, 1), 3.0)], 1), torch.arange(200) // 100
    known = torch.full((200,), -1)
    known[:50], known[100:105] = 0, 1
    labels, _ = propagate(features, known, 2, k=20)
    assert (labels == truth).float().mean() > 0.95


def test_what_nothing_reaches_has_no_weight():
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    labels, certain = propagate(features, torch.tensor([1, -1, -1, -1]), 2, k=1)
    assert labels[:2].tolist() == [1, 1] and certain.tolist() == [1, 1, 0, 0]
    _, nothing = propagate(features, torch.full((4,), -1), 2, k=1)
    assert not nothing.any()


def test_rare_classes_weigh_more_and_all_together_as_much_as_there_are_images():
    known = torch.full((60,), -1)
    known[:3] = torch.arange(3)
    centres = torch.eye(3).repeat_interleave(torch.tensor([40, 15, 5]), 0)
    order = torch.cat([torch.tensor([0, 40, 55]), torch.tensor([i for i in range(60) if i not in (0, 40, 55)])])
    spread = Propagated(known, 3, k=4)
    labels, weights = spread(torch.arange(60))
    assert not weights.any() and spread.rare.tolist() == [1, 1, 1]
    spread.spread((centres + 0.05 * torch.rand(60, 3))[order])
    assert spread.labels.bincount().tolist() == [40, 15, 5]
    assert spread.rare.tolist() == pytest.approx([20 / 40, 20 / 15, 20 / 5])
    labels, weights = spread(torch.tensor([0, 1, 2]))
    assert labels.tolist() == [0, 1, 2] and weights.tolist() == pytest.approx(spread.rare.tolist())
