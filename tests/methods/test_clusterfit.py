"""ClusterFit: a teacher that stays as it is, clusters that are made once, and a student from random weights."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.kmeans import kmeans
from pipeline.nets.model import load_model, save_model
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("clusterfit", "pretext")


def clustered(**knobs):
    method, batches = task.method(ENTRY, **knobs), task.batches(ENTRY)
    torch.manual_seed(5)
    method.before_epoch(lambda network: task.see(batches, network))
    return method, batches


@pytest.mark.parametrize("size", [2, 3, 17])
def test_the_loss_is_the_cross_entropy_of_the_clusters(size):
    method, _ = clustered()
    x, index = torch.randn(size, 1, 8, 8), torch.randint(1797, (size,))
    with torch.no_grad():
        features = method.online(x).double().numpy()
    weight, bias = (p.detach().double().numpy() for p in method.classifier.parameters())
    expected = oracle_cross_entropy(features @ weight.T + bias, np.eye(30)[method.clusters[index]])
    assert method(x=x, index=index).item() == pytest.approx(expected.mean(), rel=1e-5)


def test_a_classifier_without_weights_guesses_and_one_that_is_right_costs_nothing():
    method, batches = clustered()
    with torch.no_grad():
        method.classifier.weight.zero_()
        method.classifier.bias.zero_()
        assert method(**batches.at(0)).item() == pytest.approx(method.chance, rel=1e-6)
        method.clusters.fill_(4)
        method.classifier.bias[4] = 50
        assert method(**batches.at(0)).item() < 1e-6


def test_the_clusters_are_those_of_the_teacher_and_of_the_unlabelled_images_alone():
    """`embed` sees nothing but the unlabelled set: no validation image is in a cluster."""
    method, batches = clustered(iterations=3)
    torch.manual_seed(5)
    _, expected = kmeans(task.see(batches, method.teacher), 30, 3)
    assert torch.equal(method.clusters, expected)
    assert len(method.clusters) == len(batches.streams["unlabelled"].images)


def test_they_are_made_once(tmp_path):
    """Steps of a whole epoch each: three times the engine asks, once the teacher looks."""
    method, looked = task.method(ENTRY), []
    before = method.before_epoch
    method.before_epoch = lambda embed: before(lambda network: looked.append(network) or embed(network))
    task.train(method, task.batches(ENTRY, batch=1797, ratio=1), tmp_path, 3)
    assert looked == [method.teacher]


def test_the_student_starts_from_weights_of_its_own():
    """Drawn as any encoder is, by the seed of the run."""
    teacher, student = (net.state_dict() for net in (task.method(ENTRY).teacher.net, task.method(ENTRY).online.encoder))
    assert {k: v.shape for k, v in teacher.items()} == {k: v.shape for k, v in student.items()}
    for name, weight in teacher.items():
        if name.endswith("weight") and weight.ndim > 1:
            assert (weight - student[name]).abs().mean() > 0.01, name
            assert student[name].std().item() == pytest.approx(weight.std().item(), rel=0.4), name


def test_a_student_of_another_shape_learns_from_the_encoder_of_another_run(tmp_path):
    """As `pretrain.<run>.from` hands it over: knowledge transfer by clustering (arXiv:1805.00385)."""
    first = task.encoder(drop=0.2)
    first(torch.randn(8, 1, 8, 8))  # statistics that are not the initial ones
    save_model(tmp_path / "jigsaw", Branch(first, Head([16, 12, 4])), {"kind": "encoder", "stage": "jigsaw"})
    teacher = load_model(tmp_path / "jigsaw").branch
    method = ENTRY.load()(task.encoder(width=6), teacher=teacher, images=1797, k=30).train()
    assert not method.teacher.net.training and method.online.training
    assert method.online.encoder.dim == method.classifier.in_features == 24
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(method.teacher(x), first.eval()(x))


def test_the_teacher_never_changes(tmp_path):
    method = task.method(ENTRY)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    task.train(method, task.batches(ENTRY), tmp_path, 5, lr=0.5)
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert method.learned is method.online


@pytest.mark.slow
def test_digits_do_not_collapse_to_one_cluster(tmp_path):
    """Of what the student says, not of what it is told."""
    method, batches = task.method(ENTRY, width=8), task.batches(ENTRY, batch=128, gentle=True)
    task.train(method, batches, tmp_path, 100, lr=0.2)
    said = task.see(batches, nn.Sequential(method.online, method.classifier)).argmax(1)
    share = said.bincount(minlength=30) / 1797
    assert torch.exp(torch.special.entr(share).sum()) > 15 and share.max() < 0.2


def test_more_clusters_than_images_is_said_before_training():
    with pytest.raises(ParamsError, match="16000 clusters of 1797 unlabelled images"):
        task.method(ENTRY, k=16_000)
