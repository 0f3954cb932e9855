"""Drills of `vfscreen train`: kills, signals and full disks, as its user meets them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import vfscreen
from training_films import CONFIG, site_archive

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

ARGUMENTS = ("train", "--archive", "films/archive", "--labels", "films/labels.csv", "--out")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site_archive(tmp_path / "films")
    (tmp_path / "vfscreen.toml").write_text(CONFIG)
    return tmp_path


def model_of(answer: "subprocess.CompletedProcess[str]") -> str:
    """The model's hash, from what the command prints."""
    found = re.search(r"model ([0-9a-f]{12})", answer.stdout)
    assert found, answer.stdout
    return found[1]


def begun(folder: Path, out: str) -> "subprocess.Popen[str]":
    """A training whose first fold has a state on disk."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vfscreen.cli.main", *ARGUMENTS, out],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    state = folder / f"{out}.work" / "folds" / "fold-1.safetensors"
    began = time.monotonic()
    while not state.exists():
        assert process.poll() is None and time.monotonic() - began < 600, process.communicate()
        time.sleep(0.05)
    return process


def test_killed_and_terminated_and_run_again(folder):
    whole = vfscreen(*ARGUMENTS, "whole", cwd=folder, OMP_NUM_THREADS="1")
    for number, ending in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)):
        out = f"ended-{number}"
        process = begun(folder, out)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == ending
        assert "Traceback" not in stderr
        assert not (folder / out).exists()
        again = vfscreen(*ARGUMENTS, out, cwd=folder, OMP_NUM_THREADS="1")
        assert model_of(again) == model_of(whole)
        assert not (folder / f"{out}.work").exists()


def test_a_full_disk_then_freed(folder):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    text = CONFIG.replace("folds = 2", "folds = 0")
    (folder / "vfscreen.toml").write_text(text)
    whole = vfscreen(*ARGUMENTS, "whole", cwd=folder, OMP_NUM_THREADS="1")
    disk = folder / "disk"
    disk.mkdir()
    # The cache fits, the state of a fold does not.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], check=True)
    try:
        again = (*ARGUMENTS, "site", "--work", "disk/work")
        full = vfscreen(*again, cwd=folder, check=False, OMP_NUM_THREADS="1")
        assert full.returncode == 6, full.stderr
        assert "cannot be written: No space left on device" in full.stderr
        assert "Traceback" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=1200m", str(disk)], check=True)
        assert model_of(vfscreen(*again, cwd=folder, OMP_NUM_THREADS="1")) == model_of(whole)
        # Too small for the films: said before one is decoded.
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        small = vfscreen(
            *ARGUMENTS, "third", "--work", "disk/third", cwd=folder, check=False,
            OMP_NUM_THREADS="1",
        )  # fmt: skip
        assert small.returncode == 6
        assert "make room" in small.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)
