"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from pipeline.engine import progress, ranks
from pipeline.engine.signals import Stop
from pipeline.errors import Preempted


@pytest.fixture
def console(monkeypatch):
    """console(terminal) -> what is written there."""

    def make(terminal: bool, width: int = 60) -> io.StringIO:
        out = io.StringIO()
        fake = Console(file=out, force_terminal=terminal, width=width, force_interactive=terminal, _environ={})
        monkeypatch.setattr(progress, "Console", lambda stderr: fake)
        return out

    return make


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_bar_on_a_terminal(console):
    out = console(True, 100)
    with progress.progress("simclr", 40) as report:
        report(10, "loss 1.5")
        report(40, "loss 0.5")
    text = out.getvalue()
    assert "simclr" in text and "40/40" in text and "loss 0.5" in text and "━" in text and "\x1b[" in text


def test_plain_lines_in_a_pipe(console, clock):
    """One at each interval and one at the end, however long and however narrow the console seems."""
    out = console(False, width=20)
    with progress.progress("simclr", 400) as report:
        for done in range(1, 401):
            clock[0] += 0.125
            report(done, "loss 1.234  [val_knn] 0.875  feature_std 0.9")
    lines = out.getvalue().splitlines()
    assert lines == [
        f"simclr {n}/400 loss 1.234  [val_knn] 0.875  feature_std 0.9" for n in (80, 160, 240, 320, 400, 400)
    ]


def test_the_last_line_is_said_even_when_it_fails(console):
    out = console(False)
    with pytest.raises(ValueError), progress.progress("simclr", 9) as report:
        report(4, "loss nan")
        raise ValueError
    assert out.getvalue() == "simclr 4/9 loss nan\n"


def test_other_ranks_are_silent(console, monkeypatch):
    out = console(False)
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    with progress.progress("simclr", 9) as report:
        report(9, "loss 1")
    assert out.getvalue() == ""


def test_counter_stops_when_asked(console):
    console(False)
    stop = Stop()
    with pytest.raises(Preempted, match="label 1: stopped after 5 of 9"), progress.counter("label 1", 9, stop) as count:
        count(3, "")
        stop.asked = True
        count(5, "")
