"""DeepCluster: what is clustered, what is sampled, and a classifier that is new each time."""

import itertools

import numpy as np
import pytest
import torch

from pipeline import catalogue, params
from pipeline.engine import optimiser
from pipeline.errors import ParamsError
from pipeline.nets.kmeans import kmeans, whitened
from pipeline.nets.model import save_model
from pipeline.nets.start import start_encoder
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("deepcluster", "pretext")


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


def test_a_new_classifier_guesses_and_one_that_is_right_costs_nothing():
    method, batches = clustered()
    assert method(**batches.at(0, method.rows)).item() == pytest.approx(method.chance, abs=0.05)
    method.clusters.zero_()
    with torch.no_grad():
        method.classifier.weight.zero_()
        method.classifier.bias[0] = 50
    assert method(**batches.at(0)).item() < 1e-6


def test_clusters_are_those_of_the_whitened_features():
    method, batches = clustered(pca=5, iterations=3)
    torch.manual_seed(5)
    _, expected = kmeans(whitened(task.see(batches, method.online.encoder), 5), 30, 3)
    assert torch.equal(method.clusters, expected)


def test_the_batches_are_even_over_the_clusters():
    """Of 1,797 images in 30 clusters, some of a few and some of hundreds, an epoch sees 60 of each."""
    method, _ = clustered()
    sizes, seen = method.clusters.bincount(minlength=30), method.clusters[method.rows].bincount(minlength=30)
    assert sizes.max() > 2 * sizes[sizes > 0].min()
    assert seen[sizes > 0].max() - seen[sizes > 0].min() <= 1 and not seen[sizes == 0].any()
    batches = task.batches(ENTRY, batch=50)  # of 100
    seen = torch.cat([method.clusters[batches.at(step, method.rows)["index"]] for step in range(17)])
    counts = seen.bincount(minlength=30)[sizes > 0]
    assert counts.sum() == 1700 and counts.max() - counts.min() < 20, "the epoch but for its last 97 images"


def test_the_classifier_is_new_each_time_and_in_its_place():
    method, batches = clustered()
    before = {name: p.clone() for name, p in method.classifier.named_parameters()}
    torch.manual_seed(6)
    renewed = list(method.before_epoch(lambda network: task.see(batches, network)))
    assert {id(p) for p in renewed} == {id(p) for p in method.classifier.parameters()}
    assert not torch.equal(method.classifier.weight, before["weight"]) and not method.classifier.bias.any()
    assert method.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_the_optimiser_forgets_the_momentum_of_the_old_classifier(tmp_path):
    """A step of an epoch of two: the encoder's momentum is older than one step, the classifier's is its gradient."""
    method, batches = task.method(ENTRY), task.batches(ENTRY, batch=1797, ratio=1)
    seen = []
    build = optimiser.build

    def kept(*given):
        seen.append(build(*given))
        return seen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimiser, "build", kept)
        task.train(method, batches, tmp_path, 3)  # an epoch each
    buffers = seen[0].state
    torch.testing.assert_close(buffers[method.classifier.bias]["momentum_buffer"], method.classifier.bias.grad)
    stem = method.online.encoder.net.bn1.bias
    assert not torch.allclose(buffers[stem]["momentum_buffer"], stem.grad)


@pytest.mark.slow
def test_digits_do_not_collapse_to_one_cluster(tmp_path):
    method = task.method(ENTRY, width=8)
    task.train(method, task.batches(ENTRY, batch=128, gentle=True), tmp_path, 100, lr=0.2)
    share = method.clusters.bincount(minlength=30) / 1797
    perplexity = torch.exp(torch.special.entr(share).sum())
    assert perplexity > 15 and share.max() < 0.2


def test_more_clusters_than_images_is_said_before_training():
    with pytest.raises(ParamsError, match="10000 clusters of 1797 unlabelled images"):
        task.method(ENTRY, k=10_000)


def test_sobel_input_is_part_of_what_goes_on(tmp_path):
    """Fine-tuning sees the slopes of the image too, and may not ask for another input."""
    chosen = params.Encoder(name="tiny", args={"width": 4}, sees=["edges"])
    encoder = start_encoder(chosen, 1, 8, task.MEAN, task.STD, _scratch(tmp_path / "scratch"))
    method, x = ENTRY.load()(encoder, images=1797, k=30).eval(), task.batches(ENTRY).at(0)["x"]
    assert encoder.net.groups(x)["edges"].shape[1] == 2
    flat = torch.zeros(2, 1, 8, 8)
    torch.testing.assert_close(method.online(flat), method.online(flat + 1))
    assert not torch.allclose(method.online(x[:2]), method.online(flat))
    save_model(tmp_path / "dc", method.learned, {"kind": "encoder", "stage": "dc"})
    again = start_encoder(chosen, 1, 8, task.MEAN, task.STD, tmp_path / "dc").eval()
    assert torch.equal(again(x), method.online(x))
    with pytest.raises(ParamsError, match="its encoder has sees"):
        start_encoder(params.Encoder(name="tiny", args={"width": 4}), 1, 8, task.MEAN, task.STD, tmp_path / "dc")


def _scratch(folder):
    save_model(folder, task.method(ENTRY).online, {"kind": "encoder", "stage": "scratch"})
    return folder


def test_every_third_epoch_is_clustered():
    method, batches = clustered(every=3)
    seen, rows = [method.clusters.clone()], method.rows.clone()
    for epoch in range(4):
        torch.manual_seed(epoch)
        with torch.no_grad():
            next(method.online.parameters()).mul_(-1)
        renewed = list(method.before_epoch(lambda network: task.see(batches, network)))
        seen.append(method.clusters.clone())
        assert not torch.equal(method.rows, rows), "other images of a large cluster, each epoch"
        rows = method.rows.clone()
        assert bool(renewed) == (len(seen) == 4), "the classifier is new where the clusters are"
    changed = [not torch.equal(before, after) for before, after in itertools.pairwise(seen)]
    assert changed == [False, False, True, False]
