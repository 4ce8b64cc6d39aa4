"""What a stage leaves behind: a network and everything needed to use it, as safetensors and JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from pipeline import files
from pipeline.errors import BadData, ParamsError, WrongVersion
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import rebuild
from pipeline.nets.heads import Head, TokenHeads, rebuild_head
from pipeline.nets.weights import load_exactly

VERSION = 1


class Images(Protocol):
    """What a manifest says of its images."""

    @property
    def channels(self) -> int: ...
    @property
    def classes_sha256(self) -> str: ...


@dataclass
class Model:
    """`about`: what model.json says (kind, classes, mean, std, size, channels, encoder, head, method, stage, ...)."""

    branch: Branch
    about: dict[str, Any]

    def fits(self, page: Images) -> None:
        """Raises BadData where images of other channels or of other classes are to be shown to it."""
        for what in ("channels", "classes_sha256"):
            if self.about[what] != getattr(page, what):
                mine, theirs = self.about[what], getattr(page, what)
                raise BadData(f"model {self.about['stage']}: {what} {mine}, the shards have {theirs}; train it on them")


def parameters(module: nn.Module) -> int:
    """How many numbers are learned in `module`."""
    return sum(parameter.numel() for parameter in module.parameters())


def classes_sha256(classes: list[str]) -> str:
    return hashlib.sha256("\n".join(classes).encode()).hexdigest()


def save_model(folder: Path, branch: Branch, about: dict[str, Any]) -> None:
    """Write folder/model.safetensors, then folder/model.json, which holds the hash of the first.

    `version`, `encoder`, `head` and `weights_sha256` are filled in from the network, `classes_sha256` from `classes`.
    The head is a `Head` or `TokenHeads`, or nn.Identity for none.
    """
    head = branch.head
    if not isinstance(head, Head | TokenHeads | nn.Identity):
        raise TypeError(
            f"a {type(head).__name__} cannot be rebuilt from model.json: save Branch(encoder, nn.Identity())"
        )
    path = Path(folder) / "model.safetensors"
    files.write_safetensors(path, branch.state_dict(), {"version": VERSION})
    about = about | {
        "version": VERSION,
        "encoder": branch.encoder.spec,
        "head": None if isinstance(head, nn.Identity) else head.spec,
        "weights_sha256": files.sha256(path),
    }
    if about.get("classes") is not None:
        about["classes_sha256"] = classes_sha256(about["classes"])
    files.write_json(path.with_suffix(".json"), about)


def load_model(folder: Path) -> Model:
    """The network of `folder`, in eval mode on the CPU; draws nothing from torch's global generator.

    Raises WrongVersion for another version, BadData where the two files do not belong together or are damaged.
    """
    path = Path(folder) / "model.json"
    about = files.read_json(path)
    if not isinstance(about, dict) or "version" not in about:
        raise BadData(f"{path} does not describe a model; run the stage that makes it again")
    if about["version"] != VERSION:
        raise WrongVersion(f"{path} is of version {about['version']}, this is version {VERSION}; run its stage again")
    weights = path.with_suffix(".safetensors")
    tensors, _ = files.read_safetensors(weights)
    if files.sha256(weights) != about.get("weights_sha256"):
        raise BadData(f"{weights} is not the file that {path} describes (sha256 differs); run its stage again")
    with torch.random.fork_rng(devices=[]):
        branch = _branch(about, path)
    _check_classes(about, path)
    load_exactly(branch, tensors, weights)
    return Model(branch.eval(), about)


def _branch(about: dict[str, Any], path: Path) -> Branch:
    try:
        return Branch(rebuild(about["encoder"]), rebuild_head(about["head"]))
    except (KeyError, TypeError, IndexError, RuntimeError, ParamsError) as error:
        raise BadData(f"{path}: no network can be built from it ({type(error).__name__}: {error})") from None


def _check_classes(about: dict[str, Any], path: Path) -> None:
    classes = about.get("classes")
    if classes is None:
        return
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise BadData(f"{path}: classes must be a list of names")
    if classes_sha256(classes) != about.get("classes_sha256"):
        raise BadData(f"{path}: the class list was changed after training (classes_sha256 differs)")
    if about.get("kind") == "classifier" and (about["head"] or {"dims": [0]})["dims"][-1] != len(classes):
        raise BadData(f"{path}: {len(classes)} classes, but a head of {about['head']}")
