"""SIGTERM only sets a flag, and the end of dvc sends one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.engine import signals


def test_sets_a_flag_and_puts_the_old_handler_back():
    before = signal.getsignal(signal.SIGTERM)
    with signals.listening() as stop:
        assert not stop.asked
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before
    with signals.listening() as again:
        assert not again.asked


CHILD = """
import time
from pipeline.engine import signals
signals.end_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("inside_dvc", [True, False])
def test_ends_with_its_parent_inside_dvc_only(inside_dvc):
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    environment |= {"DVC_STAGE": "simclr"} if inside_dvc else {}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], **pipes)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    ended = False
    for _ in range(250 if inside_dvc else 25):
        ended = state(pid) in ("gone", "Z")
        if ended:
            break
        time.sleep(0.02)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    assert ended == inside_dvc


def state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"
