"""params.yaml files for tests: the repository's own, with one thing changed."""

from __future__ import annotations

from pathlib import Path

from pipeline import yaml_file
from pipeline.errors import ParamsError

DEFAULT = (Path(__file__).parents[1] / "params.yaml").read_text()
SMALL = """\
seed: 1
pretrain:
  one: {from: scratch, method: simclr, steps: 10}
  two:
    from: one
    method: simclr
    knobs: {tau: 0.2}
finetune:
  from: two
  method: supervised
distill:
  steps: 20
  knobs: {ema: 0.9}
rounds:
  "1": {teacher: finetune, from: one, method: noisy_student}
  "2":
    teacher: student-1
    method: noisy_student
    distill: {select: {threshold: 0.8}, knobs: {labels: hard}}
final: student-2
"""


def changed(old: str, new: str, text: str = SMALL) -> str:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the file"
    return text.replace(old, new)


def said(path: Path, text: str | bytes, *sets: str) -> list[str]:
    """The findings, without the folder; none where the file is right."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        yaml_file.load(path, sets)
    except ParamsError as error:
        return str(error).replace(f"{path.parent}/", "").splitlines()
    return []
