from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipeline.errors import ParamsError
from pipeline.losses import everyone, own
from pipeline.methods.method import Method
from pipeline.nets.branch import Branch
from pipeline.nets.encoder import Encoder
from pipeline.nets.luck import Luck
from pipeline.nets.pretexts import make_tasks
from pipeline.views.recipes import PAIRS


class Multitask(Method):
    """Doersch and Zisserman 2017, arXiv:1708.07860, section 3.

    Several pretext tasks teach one trunk, each through last layers of its own. `tasks`: rotation, relative_position and
    colorization, joined by +. Of n tasks each has every n-th image of the batch and a forward pass of its own; the loss
    is the mean of theirs. All see lightness alone (`encoder.sees: [L]`), so that the input does not tell the task.
    `hidden` is the width of relative position's classifier. The paper has exemplars and motion where
    rotation stands.

    Use it where one pretext task alone leaves too much out; a batch is shared, so take it larger.
    """

    unlabelled = dict(x=PAIRS)

    def __init__(self, encoder: Encoder, *, tasks: str = "rotation+relative_position+colorization", hidden: int = 4096):
        super().__init__()
        self.online, self.tasks, self.luck = Branch(encoder, nn.Identity()), make_tasks(tasks, encoder, hidden), Luck()
        self.chance = sum(task.chance for task in self.tasks.values()) / len(self.tasks)

    def step(self, x: Tensor) -> Iterator[Tensor]:
        luck, images, n = self.luck(x, 5), everyone(len(x)), len(self.tasks)
        if len(x) < 2 * n:
            raise ParamsError(f"multitask: {len(x)} images for {n} tasks; take a batch of {2 * n} for each process")
        whose, losses = own(torch.arange(images) % n), {}
        for number, (name, task) in enumerate(self.tasks.items()):
            rows = (whose == number).nonzero()[:, 0].to(x.device)
            each = task(self.online.encoder, x[rows], luck[rows])
            losses[name] = everyone(1) * each.sum() / len(range(number, images, n))
        self.note(**losses)
        yield torch.stack(list(losses.values())).mean()
        self.luck.turn()
        for task in self.tasks.values():
            task.remember()
