"""What a teacher is shown, and the mean of what it says of it."""

import torch

from pipeline.label.look import Look
from pipeline.label.sidecar import read_sidecar
from pipeline.params import Label
from tests.label.conftest import Teacher, digests, label, look

ABOUT = {"size": 8, "mean": [0.5] * 3, "std": [0.25] * 3}


def said(folder):
    return torch.cat([read_sidecar(path).logits(slice(None)) for path in sorted(folder.glob("*.safetensors"))])


def test_what_it_says_of_several_views_is_averaged(tmp_path, shards):
    """An image and its mirror image: by hand, and the same for an image and its mirror image."""
    teacher = Teacher().eval()
    label(shards, tmp_path / "out", teacher, look=look(views=("plain", "flip(1)")))
    images = (shards.images(range(len(shards))).float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        mean = (teacher(images).softmax(1) + teacher(images.flip(3)).softmax(1)) / 2
        alone = teacher(images).softmax(1)
    torch.testing.assert_close(said(tmp_path / "out").softmax(1), mean, atol=2e-3, rtol=2e-3)
    assert (mean - alone).abs().max() > 0.02


def test_random_views_and_noise_are_the_same_on_any_rank_and_again(tmp_path, shards):
    for noisy in (look(views=("shift(.25)", "shift(.25)")), look(noise=True)):
        label(shards, tmp_path / "one", look=noisy)
        for rank in (1, 0):
            label(shards, tmp_path / "two", look=noisy, rank=rank, world=2)
        assert digests(tmp_path / "two") == digests(tmp_path / "one")
        label(shards, tmp_path / "plain")
        assert (said(tmp_path / "one") - said(tmp_path / "plain")).abs().max() > 0.05


def test_two_equal_random_views_are_drawn_apart_and_so_are_batches(shards):
    class Mean(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), torch.zeros(len(x))], 1)

    moved = look(views=("shift(.5)",))
    images = shards.images([0, 0, 0])
    first, again, other = (moved(Mean(), images, "a.tar", number) for number in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other) and len(first[:, 0].unique()) > 1
    twice = look(views=("shift(.5)", "shift(.5)"))(Mean(), images, "a.tar", 0)
    assert not torch.allclose(twice.softmax(1), first.softmax(1))


def test_noise_is_dropout_and_stochastic_depth_and_no_batch_statistics():
    teacher, images = Teacher().train(), torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    noisy = look(noise=True)
    with noisy.using(teacher), torch.no_grad():
        modes = [type(module).__name__ for module in teacher.modules() if module.training]
        first, other = noisy(teacher, images, "a", 0), noisy(teacher, images, "a", 1)
    assert modes == ["Dropout"] and not torch.equal(first, other)
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(module.training for module in teacher.modules())


def test_the_seed_is_named_where_something_is_drawn():
    """So that another seed labels anew where it matters, and nowhere else."""
    plain, flipped = (Look.of(ABOUT, Label(views=views), 7) for views in (["plain"], ["plain", "flip(1)"]))
    assert "seed" not in str(plain) and "seed 7" in str(flipped) and "seed 0" in str(look(noise=True))
    assert len({str(plain), str(flipped), str(look(noise=True)), str(look(size=9))}) == 4


def test_images_are_brought_to_the_size_that_the_teacher_learned_from(shards):
    shapes = []

    class Seeing(torch.nn.Module):
        def forward(self, x):
            shapes.append(tuple(x.shape))
            return x.flatten(1)[:, :4]

    look(size=5)(Seeing(), shards.images([0, 1]), "a", 0)
    assert shapes == [(2, 3, 5, 5)]
