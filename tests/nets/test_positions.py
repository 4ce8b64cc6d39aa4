"""Positions for images of another size: bicubic as DeiT has it, or as timm has it, wherever an encoder starts."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline import params
from pipeline.errors import BadData, ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import build_encoder
from pipeline.nets.model import save_model
from pipeline.nets.positions import interpolated
from pipeline.nets.start import start_encoder

MEAN, STD = [0.45] * 3, [0.25] * 3
VIT = {"patch_size": 2, "embed_dim": 24, "depth": 1, "num_heads": 2}
DEIT = {"name": "deit_tiny_distilled_patch16_224", "args": VIT}
PLAIN = {"name": "vit_tiny_patch16_224", "args": VIT}
NO_PREFIX = {"name": "vit_tiny_patch16_224", "args": VIT | {"class_token": False, "global_pool": "avg"}}
OBLONG = {"name": "vit_tiny_patch16_224", "args": VIT | {"patch_size": [2, 4]}}
TWO = PLAIN | {"sees": ["L", "ab"]}


def cubic(t, a=-0.75):
    """Keys' kernel."""
    t = abs(t)
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
    return near if t <= 1 else far if t < 2 else 0.0


def matrix(old, new):
    """(new, old): what each new place takes of the old ones; the border goes on for ever."""
    weights = np.zeros((new, old))
    for place in range(new):
        centre = (place + 0.5) * old / new - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            weights[place, min(max(tap, 0), old - 1)] += cubic(centre - tap)
    return weights


@pytest.mark.parametrize("prefix", (0, 1, 2))
@pytest.mark.parametrize("old, new", [((4, 4), (8, 8)), ((6, 6), (4, 4)), ((4, 2), (6, 3)), ((3, 3), (3, 3))])
def test_each_channel_is_a_small_image_that_is_resized(prefix, old, new):
    positions = torch.randn(1, prefix + old[0] * old[1], 5)
    found = interpolated(positions, old, new, antialias=False)
    assert torch.equal(found[:, :prefix], positions[:, :prefix])
    for channel in range(5):
        image = positions[0, prefix:, channel].double().numpy().reshape(old)
        expected = matrix(old[0], new[0]) @ image @ matrix(old[1], new[1]).T
        np.testing.assert_allclose(found[0, prefix:, channel].numpy().reshape(new), expected, atol=1e-5)


@pytest.mark.parametrize("antialias", (False, True))
def test_it_is_what_torch_and_timm_make_of_them(antialias):
    """And the two kinds differ, also where positions become more."""
    from timm.layers import resample_abs_pos_embed

    positions = torch.randn(1, 2 + 6 * 6, 5)
    by_hand = positions[0, 2:].T.reshape(1, 5, 6, 6)
    by_hand = F.interpolate(by_hand, (9, 9), mode="bicubic", align_corners=False, antialias=antialias)
    found = interpolated(positions, (6, 6), (9, 9), antialias)
    torch.testing.assert_close(found[0, 2:], by_hand[0].reshape(5, 81).T)
    theirs = resample_abs_pos_embed(positions, [9, 9], [6, 6], 2, antialias=antialias)
    torch.testing.assert_close(found, theirs)
    other = interpolated(positions, (6, 6), (9, 9), not antialias)
    assert (found - other).norm() / found.norm() > 0.03


def left(folder, size, **fields):
    """A model of an earlier stage; gives its encoder."""
    made = build_encoder(params.Encoder(**fields), 3, size, MEAN, STD)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.normal_() if "pos_embed" in name else None
    save_model(folder, Branch(made, nn.Identity()), {"kind": "encoder", "stage": folder.name})
    return made


def started(folder, size, **fields):
    return start_encoder(params.Encoder(**fields), 3, size, MEAN, STD, folder)


@pytest.mark.parametrize("antialias", (False, True))
@pytest.mark.parametrize("fields", [DEIT, PLAIN, NO_PREFIX, OBLONG, TWO], ids=["deit", "vit", "bare", "oblong", "two"])
@pytest.mark.parametrize("old, new", [(8, 16), (16, 8), (8, 12)])
def test_a_run_may_start_from_one_that_saw_images_of_another_size(tmp_path, fields, old, new, antialias):
    before = left(tmp_path / "run", old, **fields).state_dict()
    after = started(tmp_path / "run", new, antialias=antialias, **fields)
    assert after.spec["size"] == new and after.eval()(torch.randn(2, 3, new, new)).isfinite().all()
    for name, tensor in after.state_dict().items():
        if "pos_embed" not in name:
            assert torch.equal(tensor, before[name]), name
            continue
        patch = (2, 4) if fields is OBLONG else (2, 2)
        grids = [tuple(size // side for side in patch) for size in (old, new)]
        torch.testing.assert_close(tensor, interpolated(before[name], *grids, antialias=antialias))


def test_of_the_same_size_nothing_changes(tmp_path):
    before = left(tmp_path / "run", 8, **DEIT).state_dict()
    after = started(tmp_path / "run", 8, antialias=True, **DEIT).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_convolutional_network_has_no_positions(tmp_path):
    before = left(tmp_path / "run", 8, args={"width": 4}).state_dict()
    after = started(tmp_path / "run", 16, args={"width": 4}).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_another_encoder_is_still_another(tmp_path):
    left(tmp_path / "run", 8, **PLAIN)
    with pytest.raises(ParamsError, match="its encoder has args"):
        started(tmp_path / "run", 16, **PLAIN | {"args": VIT | {"depth": 2}})
    left(tmp_path / "scratch", 8, **PLAIN)
    fresh = started(tmp_path / "scratch", 16, **PLAIN).net.pos_embed
    assert fresh.shape == (1, 1 + 64, 24) and fresh.std() < 0.05, "drawn anew, not interpolated"


def test_weights_of_timm_for_another_size_are_a_start(encoder, tmp_path):
    import timm
    from safetensors.torch import save_file

    theirs = timm.create_model(DEIT["name"], img_size=32, **VIT | {"patch_size": 4})
    nn.init.normal_(theirs.pos_embed)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors", {"format": "pt"})
    args, weights = VIT | {"patch_size": 4}, str(tmp_path / "w.safetensors")
    for antialias in (False, True):
        ours = encoder(DEIT["name"], size=16, args=args, weights=weights, antialias=antialias)
        expected = interpolated(theirs.pos_embed, (8, 8), (4, 4), antialias)
        torch.testing.assert_close(ours.net.pos_embed, expected)
        assert torch.equal(ours.net.dist_token, theirs.dist_token)
    with pytest.raises(BadData, match=r"dist_token is not known.*"):
        encoder(PLAIN["name"], size=16, args=args, weights=weights)
