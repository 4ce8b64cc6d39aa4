"""Options and fixtures that several rooms share. Nothing here imports torch."""

from collections.abc import Callable

import pytest


def pytest_addoption(parser):
    parser.addoption("--dose", choices=("small", "full"), default="small", help="how many faults are injected")


def pytest_collection_modifyitems(items):
    """What forks stages in order to kill them takes its time: `make quick` leaves it out."""
    for item in items:
        if "forks" in item.fixturenames:
            item.add_marker("faults")


@pytest.fixture(scope="session")
def dose(request) -> Callable:
    """dose(small, full): the number for this run."""
    return lambda small, full: {"small": small, "full": full}[request.config.getoption("--dose")]


@pytest.fixture(scope="session")
def forks():
    """Processes for stages that are to be killed."""
    from tests.harness import Forks

    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def template(forks, tmp_path_factory):
    """A tiny workspace in which every stage has run once: what all others are compared with."""
    from tests.harness import World, make

    world = World(tmp_path_factory.mktemp("template"))
    forks.call(make, world.folder)
    return world


@pytest.fixture
def world(template, tmp_path):
    """world(stage) -> a workspace of its own, in which that stage has not run yet."""
    numbers = iter(range(10_000))
    return lambda stage: template.copy(tmp_path / f"world-{next(numbers)}", stage)
