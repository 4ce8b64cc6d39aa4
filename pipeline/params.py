"""Every knob of params.yaml, its type, its default and its reason; `pipeline.yaml_file` reads the file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Data(Section):
    """Where the images come from, and which of their labels may be used."""

    source: str = "digits"
    """`digits`, a torchvision set (CIFAR10, STL10, ...), or a folder: class folders, images with a CSV, or shards."""
    csv: str | None = None
    """Labels of a flat folder, as path,label[,split]; none means labels.csv inside the folder, where there is one."""
    classes: list[str] | None = None
    """The classes to learn; images of any other class count as out of class. None means all that the source knows."""
    labels_per_class: Count | None = None
    """Labelled images of each class that training may use."""
    label_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """The same as a share of each class. With neither, every known label is used."""
    labels: str | None = None
    """A CSV of key,label in place of both: exactly these images are labelled, as it says (`ssl-pipe choose`)."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training images set apart for monitoring. Nothing is selected on it, unless `label.gain` is set."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share set apart for `evaluate`, where the source brings no test split of its own."""
    in_class: Share = 1.0
    """Share of the unlabelled images that belong to the declared classes."""
    size: Annotated[int, Field(ge=4, le=1024)] = 32
    """Side of the stored square images, in pixels."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 RGB."""
    format: Literal["png", "jpg"] = "png"
    """How the shards keep the images."""
    shard: Count = 1000
    """Images per shard."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the splits, apart from the seed of training."""
    on_bad: Literal["stop", "skip"] = "stop"
    """At an image that cannot be read: stop and name it, or count it (and stop above 0.1 %)."""


class Encoder(Section):
    """The network below the head."""

    name: str = "tiny"
    """`tiny`, `resnet18_small`, `resnet34_small`, `wrn_28_2`, `sk_resnet50` (101, 152), or any name that timm knows."""
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the head."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Stochastic depth of the last block; it grows linearly from 0 at the first."""
    sees: list[Literal["L", "ab", "edges"]] = []
    """Groups of channels with a network of their own each, side by side; none means one network for the image."""
    norm: Literal["batch", "layer"] = "batch"
    """`layer`: each BatchNorm as a norm over all channels and pixels of one image."""
    args: dict[str, Any] = {}
    """Further keyword arguments of the network, e.g. `{img_size: 32, patch_size: 4}`, or `{width: 2, small: true}`."""
    weights: str | None = None
    """A local safetensors file of timm weights to start from."""
    antialias: bool = False
    """Positions of a transformer for images of another size are interpolated: false as DeiT does it, true as timm."""


class Optimiser(Section):
    """How weights move. Biases and norms are never decayed."""

    name: str = "sgd"
    """`sgd` (Nesterov), `adamw`, or any name that timm.optim knows, such as `lars`."""
    lr: Positive = 0.05
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Decay of weights of two or more dimensions."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of `sgd` and its kin; ignored by Adam's."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate for each layer further below the head."""


class Schedule(Section):
    """The learning rate as a function of progress."""

    name: Literal["cosine", "fixmatch", "linear", "constant"] = "cosine"
    """Half a cosine to 0; cos(7 pi t / 16) (arXiv:2001.07685); a line to 0; or flat."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps that rise linearly from 0."""


class Training(Section):
    """What all trained stages share."""

    steps: Count = 1000
    """Optimiser steps. The same for any data set, so that a run's length is known before it starts."""
    batch: Count = 64
    """Labelled images per step, or unlabelled ones where the method sees no labels; over all processes."""
    ratio: Count = 1
    """Unlabelled images for each labelled one, where the method sees both."""
    repeats: Count = 1
    """Copies of each image in its batch, each with views of its own (arXiv:1901.09335); `batch` counts them all."""
    encoder: Encoder | None = None
    """A network of this stage's own; none means the common `encoder`."""
    size: Annotated[int, Field(ge=4, le=1024)] | None = None
    """Side of the images that the network is shown, in pixels; none means `data.size`. Its model keeps to it."""
    optimiser: Optimiser = Optimiser()
    """How weights move."""
    schedule: Schedule = Schedule()
    """The learning rate over time."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks; bf16 is autocast."""
    views: dict[str, str] = {}
    """Recipe of a view, where it is not to be the method's own: `ssl-pipe methods` lists them."""
    knobs: dict[str, Any] = {}
    """Knobs of the method: `ssl-pipe methods` lists them with their defaults."""
    monitors: Annotated[int, Field(ge=0, le=1000)] = 10
    """How often, over the run, the validation images are looked at."""


class Pretrain(Training):
    """One named self-supervised run."""

    start: str = Field(default="scratch", alias="from")
    """`scratch`, or another run: its encoder goes on, or teaches (clusterfit, beit)."""
    method: str = "simclr"
    """A method of the family `pretext`."""
    images: str = "unlabelled"
    """`unlabelled`, or a name of `more`."""


class Finetune(Training):
    """The first teacher; `baseline` is the same from `scratch`."""

    start: str = Field(default="scratch", alias="from")
    """`scratch`, or the pretraining run that is fine-tuned."""
    method: str = "supervised"
    """A method of the family `semi`."""
    layer: Annotated[int, Field(ge=0)] = 0
    """Layers of the pretrained projection head that are kept below the classifier (SimCLRv2, arXiv:2006.10029)."""
    frozen: bool = False
    """Train the head alone, on the features of the encoder as it is."""


class Label(Section):
    """The teacher looks at every unlabelled image."""

    batch: Count = 256
    """Images per forward pass."""
    top: Annotated[int, Field(ge=1)] = 16
    """Logits kept of each image where there are more than 256 classes; below that all are kept."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the teacher."""
    views: Annotated[list[str], Field(min_length=1)] = ["plain"]
    """Recipes of what the teacher is shown of an image; what it says of several is averaged, as probabilities."""
    noise: bool = False
    """Dropout and stochastic depth stay on in the teacher, as in the ablation of arXiv:1911.04252."""
    gain: Annotated[float, Field(ge=-1, le=1)] | None = None
    """A student teaches a round only if it beats its own teacher on the validation images by so much."""


class Select(Section):
    """Which pseudo-labels the student sees (Noisy Student, arXiv:1911.04252, section 3.2 on data filtering)."""

    threshold: Share = 0.3
    """Least confidence of the teacher."""
    quota: Count | None = None
    """Images per class: above it the surest are kept, below it `noisy_student` sees each more than once. None: all."""


class Distill(Training):
    """The student of a round, where the round does not say otherwise."""

    select: Select = Select()
    """Which pseudo-labels are used."""


class Round(Section):
    """One teacher, its labels, and the student that learns from them."""

    teacher: str
    """`finetune`, `baseline`, or the student of an earlier round."""
    start: str = Field(default="scratch", alias="from")
    """Where the student's encoder starts: `scratch`, a pretraining run, or a model made before this round."""
    method: str = "noisy_student"
    """A method of the family `distill`."""
    label: Label = Label()
    """What this round changes in the common `label`."""
    distill: Distill = Distill()
    """What this round changes in the common `distill`."""


class Teacher(Section):
    """A further teacher of a round: what the teachers of a round say is averaged, as probabilities."""

    round: str
    """The round that it joins."""
    teacher: str
    """`finetune`, `baseline`, or the student of a round before that one."""
    label: Label = Label()
    """What it changes in the `label` of the round."""


Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]
Perturbation = Literal[
    "gaussian_noise",
    "shot_noise",
    "motion_blur",
    "zoom_blur",
    "snow",
    "brightness",
    "translate",
    "rotate",
    "tilt",
    "scale",
]


class Robustness(Section):
    """How the test images are changed to see what is left of a classifier's accuracy."""

    corruptions: list[Corruption] = list(get_args(Corruption))
    """Common corruptions (arXiv:1903.12261); all 15 unless said otherwise."""
    severities: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1)] = [1, 2, 3, 4, 5]
    """Severities of each corruption."""
    perturbations: list[Perturbation] = []
    """Sequences along which predictions may flip: 16 to 41 forward passes for each of the 10."""
    epsilons: list[Positive] = [1, 2, 4, 8]
    """Reach of the attacks FGSM and PGD, in levels of 255."""
    steps: Count = 10
    """Steps of PGD, each a forward and a backward pass for each epsilon."""
    limit: Count | None = 1000
    """Test images that are looked at, drawn by `seed`, the same for every model; none means all."""


class Runtime(Section):
    """What changes the speed and never the result; DVC does not track it."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads that decode images."""
    compile: bool = False
    """torch.compile of the networks."""
    checkpoint: Annotated[float, Field(ge=0)] = 60.0
    """Seconds between checkpoints."""
    memory: Positive = 4.0
    """GiB of decoded images that may stay in memory."""


class Params(Section):
    """params.yaml."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of training."""
    data: Data = Data()
    """Where the images come from."""
    more: dict[Name, str] = {}
    """Further images that a pretraining run may learn from, by name: sources as in `data`, without their labels."""
    encoder: Encoder = Encoder()
    """The network that all stages use, unless they name their own."""
    pretrain: dict[Name, Pretrain] = {}
    """Self-supervised runs, by name."""
    finetune: Finetune = Finetune()
    """The first teacher, and its twin from scratch."""
    label: Label = Label()
    """How teachers label."""
    distill: Distill = Distill()
    """How students learn."""
    rounds: dict[Name, Round] = {}
    """Self-training rounds, in order."""
    teachers: dict[Name, Teacher] = {}
    """Further teachers, by name."""
    robustness: Robustness = Robustness()
    """What else classifiers are tested on."""
    final: str = "finetune"
    """The model that `dvc artifacts get` delivers."""
    runtime: Runtime = Runtime()
    """Speed."""

    @property
    def models(self) -> list[str]:
        """Every model that the graph makes."""
        return ["scratch", *self.pretrain, "baseline", "finetune", *(f"student-{name}" for name in self.rounds)]

    def labelling(self, name: str) -> tuple[str, str, Label]:
        """The round, the teacher and the way of labelling of a round, or of one of `teachers`."""
        if name in self.rounds:
            return name, self.rounds[name].teacher, _merged(self.label, self.rounds[name].label)
        each = self.teachers[name]
        return each.round, each.teacher, _merged(self.labelling(each.round)[2], each.label)

    def round_teachers(self, name: str) -> list[str]:
        """Everybody whose labels round `name` learns from: its own teacher first."""
        return [self.rounds[name].teacher, *(each.teacher for each in self.teachers.values() if each.round == name)]

    def round_distill(self, name: str) -> Distill:
        """`distill` with what round `name` changes in it."""
        return _merged(self.distill, self.rounds[name].distill)

    def encoder_of(self, stage: Training) -> Encoder:
        return stage.encoder or self.encoder


S = TypeVar("S", bound=Section)


def _merged(common: S, change: S) -> S:
    return type(common).model_validate(_overlay(common.model_dump(), change.model_dump(exclude_unset=True)))


def _overlay(below: dict, above: dict) -> dict:
    return below | {
        key: _overlay(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
