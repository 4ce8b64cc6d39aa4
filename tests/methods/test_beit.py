"""BEiT: the codes of hidden patches, told by a transformer that does not see them."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from pipeline import catalogue
from pipeline.errors import ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.heads import Head
from pipeline.nets.masks import TRIES, blockwise
from pipeline.nets.memory import Frozen
from pipeline.nets.model import load_model, save_model
from pipeline.nets.tokens import perplexity, tokens
from tests.contract import small_task as task
from tests.test_losses import oracle_cross_entropy

ENTRY = catalogue.find("beit", "pretext")
CLASS_TOKEN = {"name": "vit_tiny_patch16_224", "args": task.VIT | {"class_token": True, "global_pool": "token"}}


def seen(images):
    return torch.randn(images, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def beit(**fields):
    torch.manual_seed(0)
    encoder = task.encoder(**{**task.TRANSFORMER, **fields})
    return ENTRY.load()(encoder, teacher=task.tokenizer())


def hidden(method, x):
    return blockwise(method.luck(x, TRIES, 4), method.grid, method.count, method.least)


def told(method, x):
    """Features of all patches, with the mask token where one is hidden: by hand, for a network without prefix."""
    net = method.online.encoder.net
    patches = net.patch_embed(x)
    for image, place in hidden(method, x).nonzero().tolist():
        patches[image, place] = method.hidden
    return net.fc_norm(net.norm(net.blocks(patches + net.pos_embed)))


@pytest.mark.parametrize("batch", [2, 3, 17])
def test_the_loss_is_the_cross_entropy_of_the_codes_of_hidden_patches(batch):
    method, x = beit(), seen(batch)
    with torch.no_grad():
        logits = method.classifier(told(method, x)).double().numpy()
        codes = tokens(method.teacher.net, x)
    mask, losses = hidden(method, x), []
    for image, place in mask.nonzero().tolist():
        target = np.eye(32)[codes[image, place // 4, place % 4]][None]
        losses.append(oracle_cross_entropy(logits[image, place][None], target))
    assert len(losses) == 6 * batch
    assert method(x=x).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_codes_of_patches_that_are_seen_cost_nothing(monkeypatch):
    method, x = beit(), seen(4)
    codes, mask = tokens(method.teacher.net, x), hidden(method, x).view(4, 4, 4)
    for change, where in ((False, ~mask), (True, mask)):
        before = method(x=x).item()
        shifted = torch.where(where, (codes + 1) % 32, codes)
        monkeypatch.setattr("pipeline.methods.pretext.beit.tokens", lambda *_, given=shifted: given)
        assert (method(x=x).item() != before) == change
        monkeypatch.undo()


@pytest.mark.parametrize("fields", [{}, CLASS_TOKEN], ids=["mean", "class token"])
def test_the_transformer_never_sees_a_hidden_patch(fields, monkeypatch):
    """Hidden before the blocks, and seen by the tokenizer alone."""
    method, x = beit(**fields), seen(4).requires_grad_()
    mask = hidden(method, x).view(4, 4, 4).repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
    outputs = []
    method.online.encoder.net.blocks.register_forward_hook(lambda *seen: outputs.append(seen[-1]))
    loss = method(x=x)
    for result in (loss, outputs[0].square().sum()):
        (slope,) = torch.autograd.grad(result, x, retain_graph=True)
        assert slope[mask].eq(0).all() and slope[~mask].ne(0).float().mean() > 0.9


def test_the_tokenizer_sees_the_whole_image_and_no_noise():
    method, x = beit(), seen(3)
    shown = []
    stem = method.train().teacher.net.encoder.net.conv1
    stem.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    method(x=x)
    assert len(shown) == 1 and torch.equal(shown[0], x)
    assert isinstance(method.teacher, Frozen) and not any(module.training for module in method.teacher.modules())


def test_guessing_costs_the_log_of_the_vocabulary_and_knowing_nothing():
    method, x = beit(), seen(3)
    with torch.no_grad():
        method.classifier.weight.zero_(), method.classifier.bias.zero_()
        assert method(x=x).item() == pytest.approx(log(32)) == pytest.approx(method.chance)
        method.teacher.net.head[0].bias[7] = 1e4
        method.classifier.bias[7] = 50
        assert method(x=x) < 1e-6


def test_the_number_of_codes_that_the_tokenizer_uses_is_told():
    method, x = beit(), seen(6)
    method(x=x)
    assert torch.equal(method.notes["codes"], perplexity(tokens(method.teacher.net, x), 32))
    assert method.notes["codes"] > 5


def test_other_patches_are_hidden_in_each_step_and_of_each_image():
    method, x = beit(), seen(12)
    first = hidden(method, x)
    assert (first.sum(1) == 6).all() and len(first.unique(dim=0)) > 8
    method(x=x)
    method.remember()
    assert not torch.equal(hidden(method, x), first)


def test_a_larger_batch_of_the_same_images_costs_the_same():
    method, x = beit(), seen(3)
    draws, expected = method.luck(x, TRIES, 4), method(x=x).item()
    method.luck.forward = lambda images, *shape: draws.repeat(4, 1, 1)
    assert method(x=x.repeat(4, 1, 1, 1)).item() == pytest.approx(expected, rel=1e-5)


def test_a_quarter_of_224_pixels_is_hidden_as_in_the_paper():
    """75 of 14 x 14 patches, in blocks of 16 and more."""
    encoder = task.encoder(name="vit_tiny_patch16_224", args=task.VIT)
    encoder.net.patch_embed.grid_size = (14, 14)
    teacher = task.tokenizer()
    teacher.encoder.maps = lambda x: [torch.zeros(2, 1, 14, 14)]
    method = ENTRY.load()(encoder, teacher=teacher)
    assert (method.count, method.least) == (75, 16)


def test_the_tokens_are_those_of_another_run(tmp_path):
    """As `pretrain.<run>.from` hands it over; training changes nothing in it."""
    dvae = task.method(catalogue.find("dvae", "pretext"))
    dvae(x=seen(8))  # statistics that are not the initial ones
    save_model(tmp_path / "dvae", dvae.learned, {"kind": "encoder", "stage": "dvae"})
    method = ENTRY.load()(task.encoder(**task.TRANSFORMER), teacher=load_model(tmp_path / "dvae").branch)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    assert torch.equal(tokens(method.teacher.net, seen(5)), tokens(dvae.eval().online, seen(5)))
    task.train(method, task.batches(ENTRY), tmp_path / "beit", 4, lr=0.5)
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert method.learned is method.online


def test_a_run_without_codes_is_refused():
    with pytest.raises(ParamsError, match="this run left none: set from to a run of dvae"):
        ENTRY.load()(task.encoder(**task.TRANSFORMER), teacher=Branch(task.encoder(), nn.Identity()))


def test_a_grid_of_other_codes_than_patches_is_refused():
    teacher = Branch(task.encoder(), Head([16, 32]))
    with pytest.raises(ParamsError, match=r"\(4, 4\) patches, but \(1, 1\) codes of the tokenizer"):
        ENTRY.load()(task.encoder(**task.TRANSFORMER), teacher=teacher)


def test_an_encoder_of_another_kind_is_refused():
    with pytest.raises(ParamsError, match="patches can be hidden only from a plain VisionTransformer"):
        ENTRY.load()(task.encoder(), teacher=task.tokenizer())
