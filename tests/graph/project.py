"""A copy of this project, with networks and runs so small that DVC itself takes most of the time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.graph.closure import ROOT

ALWAYS = {"scan", "scan-more@web"}
"""stages that look at the images in every repro"""
QUICK = {"from": "scratch", "images": "unlabelled", "monitors": 1, "steps": 2, "batch": 32, "optimiser": {"lr": 0.001}}
"""a pretraining run"""


class Project:
    """Its stages, and what is set in its params.yaml."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def copied(cls, folder: Path) -> Project:
        """Every file that git has or would have, but for tests, benchmarks and docs; committed."""
        git = ["git", "ls-files", "-co", "--exclude-standard"]
        for name in subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.splitlines():
            if not name.startswith(("tests/", "benchmarks/", "docs/")) and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        made = cls(folder)
        made.call("git", "init", "-q")
        for section in ("pretrain__simclr", "finetune", "distill"):
            made.set(**{f"{section}__steps": 2, f"{section}__monitors": 1})
        made.set(pretrain__simclr__batch=16, finetune__batch=8, distill__batch=8, distill__ratio=1)
        made.set(
            encoder={"name": "tiny", "args": {"width": 4}},
            distill__select={"threshold": 0.0},
            distill__knobs={"ema": 0.9},
        )
        made.set(robustness={"corruptions": ["contrast"], "epsilons": [], "limit": 8})
        made.commit()
        return made

    def call(self, *words: str, check: bool = True) -> str:
        bin_ = str(Path(sys.executable).parent)
        env = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def repro(self, *words: str) -> set[str]:
        """The stages that ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.call("dvc", "repro", *words))) - ALWAYS

    def restored(self, *words: str) -> tuple[set[str], set[str]]:
        """The stages that ran, and those whose results came from the cache of runs."""
        said = self.call("dvc", "repro", *words)
        ran, cached = (set(re.findall(p, said)) for p in (r"Running stage '([^']+)'", r"Stage '([^']+)' is cached"))
        return ran - ALWAYS, cached

    def set(self, **changes: object) -> None:
        """`a__b=1` sets a.b in params.yaml."""
        path = self.folder / "params.yaml"
        yaml = YAML()
        params = yaml.load(path)
        for key, value in changes.items():
            *sections, last = key.split("__")
            place = params
            for section in sections:
                place = place[section]
            place[last] = json.loads(json.dumps(value))  # no object twice: YAML would write an alias
        yaml.dump(params, path)

    def commit(self) -> None:
        self.call("git", "add", "-A")
        self.call("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--allow-empty", "-qm", "state")
