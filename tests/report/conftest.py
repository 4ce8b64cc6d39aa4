"""Runs to make pages of. Written once for each set of parameters, copied for each test."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.report.fake_run import PARAMS, write


@pytest.fixture(scope="session")
def digits():
    """(images uint8 (N, 1, 8, 8), labels): real, small, and on every machine."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * 255 / 16).astype(np.uint8)[:900, None], found.target.astype(np.int64)[:900]


@pytest.fixture(scope="session")
def made(tmp_path_factory, digits):
    """Runs that were already written, by what was asked for: writing one takes longer than looking at it."""
    known = {}

    def run(params, classes, truth):
        key = json.dumps([params, classes, truth], sort_keys=True)
        if key not in known:
            root = tmp_path_factory.mktemp("run") / "data"
            known[key] = root, write(root, *digits, classes, params, truth)
        return known[key]

    return run


@pytest.fixture
def make(tmp_path, made):
    """make(params, classes, truth) -> (root, Params) of a whole run of one's own."""

    def copied(params=PARAMS, classes=tuple("0123456789"), truth=True):
        root, checked = made(params, list(classes), truth)
        return Path(shutil.copytree(root, tmp_path / "data")), checked

    return copied


@pytest.fixture
def given():
    return PARAMS
