"""S4L: four turns of every image, and four terms of the loss."""

import numpy as np
import pytest
import torch

from pipeline import catalogue
from tests.contract import small_task as task
from tests.semi import running_mean, running_mean_of, seen, softmax
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("s4l", "semi")


def four(images):
    """Image by image, each in its four turns, counter-clockwise."""
    return torch.from_numpy(np.stack([np.rot90(image, k, (1, 2)) for image in images.numpy() for k in range(4)]))


def parts(method, batch):
    """Of the classes, of the turns, KL(p(u) || p(u + r)) and the entropy of p(u), in float64."""
    x, u = four(batch["x"]), four(batch["u"])
    r = method.adversary(method.online, u)
    with torch.no_grad():
        f, (weight, bias) = method.online.encoder(torch.cat([x, u])).double().numpy(), method.turned.parameters()
        logits = method.online.head(method.online.encoder(torch.cat([x, u]))).double().numpy()
        q = softmax(method.online(u + r).double().numpy())
    way = f @ weight.detach().double().numpy().T + bias.detach().double().numpy()
    on_way = oracle_cross_entropy(way, np.arange(len(way)) % 4)
    p, classes = softmax(logits[len(x) :]), np.repeat(batch["y"].numpy(), 4)
    return (
        oracle_cross_entropy(logits[: len(x)], classes).mean(),
        (on_way[: len(x)].mean() + on_way[len(x) :].mean()) / 2,
        (p * np.log(p / q)).sum(1).mean(),
        -(p * np.log(p)).sum(1).mean(),
    )


@pytest.mark.parametrize("n", (2, 3, 17))
def test_the_loss_is_the_weighted_sum_of_four_terms(n):
    method, batch = task.method(ENTRY, supervised=1.0, rotation=2.0, vat=3.0, entropy=4.0), seen(ENTRY, n)
    expected = parts(method, batch)
    assert min(expected) > 1e-3
    assert method(**batch).item() == pytest.approx(np.dot(expected, (1, 2, 3, 4)), rel=1e-4)
    names = ("rotation", "moved", "entropy")
    assert [method.notes[name].item() for name in names] == pytest.approx(expected[1:], rel=1e-3)


def test_the_weights_are_those_of_the_authors_code():
    """What is left of 1 for the rotation; the entropy comes on top."""
    method, batch = task.method(ENTRY, entropy=ENTRY.knobs["entropy"][1]), seen(ENTRY)
    assert method(**batch).item() == pytest.approx(np.dot(parts(method, batch), (0.3, 0.4, 0.3, 0.3)), rel=1e-4)


def test_knowing_the_turn_costs_nothing_and_a_quarter_counter_clockwise_is_class_one():
    """The upper left corner is marked; after a quarter counter-clockwise it is the lower left one."""
    method, images = task.method(ENTRY), torch.zeros(3, 1, 8, 8)
    images[:, :, 0, 0] = 1
    corners = [(0, 0), (-1, 0), (-1, -1), (0, -1)]
    method.online.encoder.forward = lambda z: torch.cat(
        [
            torch.stack([z[:, 0, row, column] for row, column in corners], 1),
            torch.zeros(len(z), method.online.encoder.dim - 4),
        ],
        1,
    )
    with torch.no_grad():
        method.turned.weight.zero_()
        method.turned.weight[:, :4] = 100 * torch.eye(4)
    method(x=images[:2], y=torch.zeros(2, dtype=torch.int64), u=images)
    assert method.notes["rotation"] < 1e-6


def test_the_head_of_the_turns_is_not_kept():
    method = task.method(ENTRY)
    assert method.learned is method.target.net and method.learned.head.dims[-1] == 10
    assert not any("turned" in name for name, _ in method.learned.named_parameters())


def test_the_changes_belong_to_images_and_not_to_the_place_in_the_batch_of_turns():
    """The turns of one image stand together: half the batch starts from the first half of the directions."""
    method, u = task.method(ENTRY), seen(ENTRY)["u"]
    shown = []
    method.adversary.forward = lambda net, x: shown.append(x) or torch.zeros_like(x)
    method(**seen(ENTRY))
    assert torch.equal(shown[0], four(u))


@pytest.mark.parametrize("update, name", [("labelled", "x"), ("last", "u"), ("all", "xu")])
def test_running_statistics_move_in_the_pass_that_the_knob_names_and_never_by_changed_images(update, name):
    method, batch = task.method(ENTRY, bn_update=update), seen(ENTRY)
    expected = running_mean_of(method, torch.cat([four(batch[view]) for view in name]))
    mean, moved = running_mean(method, batch)
    assert moved == 1
    torch.testing.assert_close(mean, expected)
