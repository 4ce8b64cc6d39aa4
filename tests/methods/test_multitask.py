"""Several tasks on one trunk."""

from math import inf, log

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pipeline import catalogue, params
from pipeline.errors import ParamsError
from pipeline.nets.encoder import build_encoder
from pipeline.nets.pairs import ColourGuard

ENTRY = catalogue.find("multitask", "pretext")
NAMES = ("rotation", "relative_position", "colorization")


def build(name, size=16, channels=3, **knobs):
    torch.manual_seed(0)
    chosen = params.Encoder(args={"width": 2}, sees=["L"])
    encoder = build_encoder(chosen, channels, size, [0.5] * channels, [0.25] * channels)
    return catalogue.find(name, "pretext").load()(encoder, **knobs).train()


def multitask(tasks="rotation+relative_position+colorization", **more):
    return build("multitask", tasks=tasks, **{"hidden": 8} | more)


def shown(method, x):
    """For each task, in turn, what its trunk was shown."""
    seen = {name: [] for name in method.tasks}
    for name, task in method.tasks.items():
        task.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[1]))
    method(x=x)
    return {name: torch.cat(each) for name, each in seen.items()}


@pytest.mark.parametrize("batch", [6, 7, 17])
def test_each_task_has_every_third_image(batch):
    x = torch.randn(batch, 3, 16, 16)
    for start, images in enumerate(shown(multitask(), x).values()):
        assert torch.equal(images, x[start::3])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [2, 3, 17])
def test_one_task_alone_is_the_method_of_its_paper(name, batch):
    """With the same weights and the same luck: the loss, and what is remembered."""
    hidden = {"hidden": 8} if name == "relative_position" else {}
    guard = {"colour": "none"} if name == "relative_position" else {}
    single, several, x = build(name, **hidden, **guard), multitask(name), torch.randn(batch, 3, 16, 16)
    several.online.encoder.load_state_dict(single.online.encoder.state_dict())
    theirs = single.online.head if name == "rotation" else single.classifier
    several.tasks[name].classifier.load_state_dict(theirs.state_dict())
    if name == "relative_position":
        several.luck.load_state_dict(single.luck.state_dict())
    for _ in range(2):
        assert several(x=x).item() == pytest.approx(single(x=x).item(), rel=1e-5)
        several.remember(), single.remember()


@pytest.mark.parametrize("batch", [6, 8, 17])
def test_the_loss_is_the_mean_of_those_of_the_tasks(batch):
    """Each counts the same, also where one has an image more."""
    method, x = multitask().eval(), torch.randn(batch, 3, 16, 16)
    luck = method.luck(x, 5)
    loss = method(x=x)
    with torch.no_grad():
        of_each = [
            task(method.online.encoder, x[start::3], luck[start::3]).double().numpy().mean()
            for start, task in enumerate(method.tasks.values())
        ]
    assert loss.item() == pytest.approx(np.mean(of_each), rel=1e-5)
    assert [note.item() for note in method.notes.values()] == pytest.approx(of_each, rel=1e-5)
    assert list(method.notes) == list(NAMES)


def test_batch_norm_sees_the_images_of_one_task_at_a_time():
    """The images of rotation are what they are to it, whatever the other tasks are shown."""
    method, x = multitask(), torch.randn(9, 3, 16, 16)
    method(x=x)
    before = method.notes["rotation"]
    x[1::3] += 3
    x[2::3] *= 2
    method(x=x)
    assert torch.equal(method.notes["rotation"], before)


def test_guessing_costs_the_mean_of_the_tasks_chances():
    method = multitask("rotation+relative_position")
    assert method.chance == pytest.approx((log(4) + log(8)) / 2)
    for task in method.tasks.values():
        torch.nn.init.zeros_(task.classifier[-1].weight), torch.nn.init.zeros_(task.classifier[-1].bias)
    assert method(x=torch.randn(8, 3, 16, 16)).item() == pytest.approx(method.chance, rel=1e-5)
    assert multitask().chance == inf, "what colours a guesser would say depends on the images"


def test_a_batch_must_have_two_images_for_each_task():
    """BatchNorm cannot see one alone."""
    with pytest.raises(ParamsError, match="5 images for 3 tasks; take a batch of 6 for each process"):
        multitask()(x=torch.randn(5, 3, 16, 16))


def told_apart(*seen):
    """Accuracy, on other images, of a linear classifier of mean and deviation per channel; as many of each task."""
    n = min(map(len, seen))
    x = torch.cat([torch.cat([one[:n].mean((2, 3)), one[:n].std((2, 3))], 1) for one in seen]).numpy()
    y = np.repeat(np.arange(len(seen)), n)
    order = np.random.default_rng(0).permutation(len(y))
    half = len(y) // 2
    train, test = order[:half], order[half:]
    x = (x - x.mean(0)) / x.std(0)
    return LogisticRegression(max_iter=1000).fit(x[train], y[train]).score(x[test], y[test])


def textures(n, size):
    """Alike everywhere, each with a colour and a contrast of its own."""
    draw = torch.Generator().manual_seed(0)
    colour, contrast = torch.rand(n, 3, 1, 1, generator=draw), torch.rand(n, 1, 1, 1, generator=draw)
    rgb = 0.2 + 0.5 * colour + 0.2 * contrast * torch.rand(n, 3, size, size, generator=draw)
    return (rgb - 0.5) / 0.25


def test_what_the_trunk_sees_does_not_tell_the_task():
    """Chance is a third. Where one task takes colours from its images, as its paper does, the classifier can tell."""
    method, x, seen = multitask(size=48), textures(600, 48), {name: [] for name in NAMES}
    now = []
    for name, task in method.tasks.items():
        task.register_forward_pre_hook(lambda *_, name=name: now.append(name))
    first = method.online.encoder.net.nets["L"].conv1
    first.register_forward_pre_hook(lambda _, inputs: seen[now[-1]].append(inputs[0]))
    with torch.no_grad():
        method(x=x)
    assert all(len(images) == 1 and images[0].shape[1] == 1 for images in seen.values())
    assert told_apart(*(images[0] for images in seen.values())) < 0.42
    patches = ColourGuard("drop", [0.5] * 3, [0.25] * 3)(x[300:, None, :, :14, :14].expand(-1, 2, -1, -1, -1))[:, 0]
    assert told_apart(x[:300], patches) > 0.75  # of two
