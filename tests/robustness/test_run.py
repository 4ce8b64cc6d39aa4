"""One `robustness`, and one `natural`, from files to numbers."""

import csv
import io
import json
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pipeline import params as knobs
from pipeline.data.write import write_split
from pipeline.errors import BadData, ParamsError
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import rebuild
from pipeline.nets.heads import Head
from pipeline.nets.model import load_model, save_model
from pipeline.params import Params
from pipeline.robustness.natural import natural
from pipeline.robustness.run import run
from pipeline.robustness.severities import CORRUPTIONS, PERTURBATIONS
from pipeline.views.plain import Plain

ABOUT = {"classes": ["cat", "dog", "owl"], "size": 8, "channels": 1, "mean": [0.5], "std": [0.3]}
SPEC = {"name": "tiny", "args": {"width": 4}, "sees": [], "norm": "batch", "drop": 0.0, "drop_path": 0.0, "neck": None}
N = 40


def picture(rng):
    packed = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(packed, "png")
    return packed.getvalue()


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    samples = ((f"test-{i}", picture(rng), i % 3) for i in range(N))
    write_split(tmp_path / "shards" / "test", "test", samples, **ABOUT)
    torch.manual_seed(0)
    encoder = rebuild(SPEC | {key: ABOUT[key] for key in ("channels", "size", "mean", "std")})
    save_model(tmp_path / "models" / "one", Branch(encoder, Head([encoder.dim, 3])), ABOUT | KIND)
    save_model(tmp_path / "models" / "run", Branch(encoder, nn.Identity()), ABOUT | {"kind": "encoder", "stage": "run"})
    return tmp_path


KIND = {"kind": "classifier", "stage": "one"}


def measured(root, **ask):
    params = {"runtime": {"device": "cpu"}, "robustness": {"epsilons": [2, 8], "steps": 2} | ask}
    run("one", Params.model_validate(params), root)
    folder = root / "robustness" / "one"
    tables = {path.stem: list(csv.DictReader(path.open())) for path in folder.glob("*.csv")}
    return json.loads((folder / "metrics.json").read_text()), tables


def test_numbers_and_tables_of_all_conditions(root):
    metrics, tables = measured(root, perturbations=list(PERTURBATIONS))
    assert metrics["n"] == N and metrics["conditions"] == 75 == len(tables["corruptions"])
    errors = [float(row["error"]) for row in tables["corruptions"]]
    assert metrics["mean_error"] == pytest.approx(sum(errors) / 75)
    assert {row["corruption"] for row in tables["corruptions"]} == set(CORRUPTIONS)
    assert [row["perturbation"] for row in tables["perturbations"]] == list(PERTURBATIONS)
    assert metrics["mean_flips"] == pytest.approx(sum(float(row["flips"]) for row in tables["perturbations"]) / 10)
    assert [float(row["epsilon"]) for row in tables["attacks"]] == [2, 8]
    assert metrics["pgd_8"] == float(tables["attacks"][1]["pgd"])
    assert not {"mce", "relative_mce", "mfr"} & metrics.keys()  # three classes are not ImageNet
    assert json.loads((root / "times" / "robustness-one.json").read_text())["images"] == N


def test_what_is_not_asked_for_is_not_there(root):
    metrics, tables = measured(root, corruptions=[], epsilons=[])
    assert metrics.keys() == {"n", "clean_error"} and tables == {"corruptions": [], "perturbations": [], "attacks": []}


def test_a_limit_takes_the_same_images_whatever_the_model_and_the_batch(root):
    few, tables = measured(root, limit=10, corruptions=["gaussian_noise", "fog"])
    assert few["n"] == 10 and measured(root, limit=10, corruptions=["gaussian_noise", "fog"]) == (few, tables)
    more, _ = measured(root, limit=None, corruptions=["fog"])
    assert more["n"] == N and more["clean_error"] != few["clean_error"]


def test_an_encoder_is_refused_in_one_sentence(root):
    with pytest.raises(ParamsError, match="'run' is no classifier"):
        run("run", Params(), root)


def test_the_names_of_params_are_the_names_of_the_ops():
    assert get_args(knobs.Corruption) == CORRUPTIONS and get_args(knobs.Perturbation) == PERTURBATIONS


def test_a_natural_folder_is_guessed_among_its_own_classes(root, tmp_path):
    rng, folder = np.random.default_rng(1), tmp_path / "hard"
    for name, count in {"owl": 12, "dog": 9}.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i:02d}.png").write_bytes(picture(rng))
    found = natural("one", folder, Params.model_validate({"runtime": {"device": "cpu"}}), root)
    paths = sorted(folder.glob("*/*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(path)))[None] for path in paths])
    logits = load_model(root / "models" / "one").branch(Plain.of(ABOUT)(pixels)).detach()
    truth = torch.tensor([ABOUT["classes"].index(path.parent.name) for path in paths])
    assert found["n"] == 21 and found["classes"] == 2
    assert found["error_among_all"] == pytest.approx((logits.argmax(1) != truth).double().mean().item())
    logits[:, 0] = -torch.inf  # no cats there
    assert found["error"] == pytest.approx((logits.argmax(1) != truth).double().mean().item())
    assert found["error_low"] <= found["error"] <= found["error_high"] and found["error"] != found["error_among_all"]
    (folder / "fox").mkdir()
    (folder / "fox" / "1.png").write_bytes(picture(rng))
    with pytest.raises(BadData, match="fox: model 'one' knows no such class"):
        natural("one", folder, Params(), root)
    (folder / "fox" / "1.png").unlink()
    (folder / "fox").rmdir()
    (folder / "owl" / "00.png").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"owl/00.png: cannot be decoded"):
        natural("one", folder, Params(), root)
