"""What several tests stand on: a small phantom archive, made and screened once a session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Before NumPy or torch are imported: tests share two cores with each other.
os.environ.setdefault("OMP_NUM_THREADS", "2")

SMALL = """\
[eligibility]
min_short_side_px = 300
[run]
shard_films = 8
[decode]
workers = 2
[inference]
batch_size = 4
"""
"""Phantom films of these tests are 640 px long, to be fast; everything else is as usual."""


def vfscreen(*arguments, cwd, check=True, **environment):
    """Run the command line as its user does; the answer has stdout, stderr and returncode."""
    answer = subprocess.run(
        [sys.executable, "-m", "vfscreen.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "XDG_CONFIG_HOME": str(cwd / "config"), **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if check and answer.returncode != 0:
        raise AssertionError(f"exit code {answer.returncode}\n{answer.stdout}\n{answer.stderr}")
    return answer


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A phantom archive of 24 studies in small films."""
    folder = tmp_path_factory.mktemp("phantom")
    out = folder / "phantom"
    vfscreen("phantom", out, "--studies", 24, "--seed", 11, "--long-side-px", 640, cwd=folder)
    return out


@pytest.fixture(scope="session")
def workplace(phantom, tmp_path_factory):
    """A folder with a configuration for small films, beside a screened results folder."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "vfscreen.toml").write_text(SMALL)
    screen(folder, phantom)
    return folder


def screen(folder: Path, phantom: Path, *more, check=True, results="results", **environment):
    """Screen a phantom archive into `folder/results`."""
    return vfscreen(
        "screen", phantom / "archive", "--checkpoint", "demo", "--results", folder / results,
        "--reports", phantom / "reports.csv", *more, cwd=folder, check=check, **environment,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path):
    """An empty folder with a configuration for small films."""
    (tmp_path / "vfscreen.toml").write_text(SMALL)
    return tmp_path


@pytest.fixture(scope="module")
def one_thread():
    """torch in one thread: on tiny films several only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
