"""Every pretext method as a run of the graph, really run by DVC."""

import pytest

from pipeline import catalogue, files
from stages.command import ROOT
from stages.evaluate import evaluate
from tests.contract.small_task import NEEDS, SMALL
from tests.graph.project import QUICK, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_pretext_method_is_a_run_of_the_graph(tmp_path, monkeypatch) -> None:
    """In colour, which some predict, and the chains of the papers; their probes in this process, which is quicker."""
    project, runs = Project.copied(tmp_path), {}
    builds_on = {"beit": "dvae", "clusterfit": "rotation", "jigsaw_fit": "jigsaw_pp"}
    pretext = {entry.name: entry for entry in catalogue.entries() if entry.family == "pretext"}
    for name, entry in {**pretext, "jigsaw_fit": pretext["clusterfit"]}.items():
        views = dict.fromkeys(entry.unlabelled, "affine(10, .1)")
        encoder = {"name": "tiny", "args": {"width": 4}} | NEEDS.get(name, {})
        runs[name] = QUICK | {"method": entry.name, "from": builds_on.get(name, "scratch"), "views": views}
        runs[name] |= {"knobs": SMALL.get(entry.name, {}), "encoder": encoder}
    project.set(pretrain=runs, data__channels=3, finetune__from="simclr", rounds={}, final="finetune")
    assert project.repro("pretrain") >= {f"pretrain@{name}" for name in runs}
    monkeypatch.chdir(project.folder)
    for name in runs:
        evaluate(name)
        assert files.read_json(ROOT / "scores" / name / "metrics.json")["knn"] > 0.05, name
