"""The page in a real browser: nothing complains, and something is to be seen, by day and by night."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from pipeline import report

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--enable-logging=stderr"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (1200, 520))
def test_a_browser_shows_it(make, tmp_path, width, scheme):
    root, params = make()
    report.build(root, params)
    shot = tmp_path / "shot.png"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},3000"]
    command += [f"--screenshot={shot}", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    done = subprocess.run([*command, (root / "report.html").as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape == (3000, width, 3)
    page = np.median(pixels[:, 2], axis=0)
    assert (page > 200).all() if scheme == "light" else (page < 60).all()
    painted = (np.abs(pixels.astype(int) - page) > 24).any(2)
    assert painted[:1000].mean() > 0.02
    assert painted[1000:2000].mean() > 0.02
    assert painted[2000:].mean() > 0.02
    assert len(np.unique(pixels.reshape(-1, 3)[::97], axis=0)) > 100
