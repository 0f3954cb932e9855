"""Who may read the results folder, and who writes it now."""

import grp
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vfscreen.errors import ConfigError, LockedError, UsageError
from vfscreen.results.folder import existing_results, lock, open_results


def test_without_a_group_nobody_but_the_owner_may_read(tmp_path: Path) -> None:
    results = open_results(tmp_path / "deep" / "results")
    folders = [results.path, *(p for p in results.path.iterdir() if p.is_dir())]
    assert {f.stat().st_mode & 0o777 for f in folders} == {0o700}


def test_with_a_group_its_members_may_read(tmp_path: Path) -> None:
    name = grp.getgrgid(os.getgid()).gr_name
    results = open_results(tmp_path / "results", name)
    assert results.path.stat().st_mode & 0o777 == 0o750
    assert results.path.stat().st_gid == os.getgid()
    assert results.file_mode == 0o640
    assert existing_results(results.path) == results


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-group"):
        open_results(tmp_path / "results", "no-such-group")


def test_a_file_at_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        open_results(tmp_path / "results")


def test_reading_a_folder_that_no_run_has_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results folder"):
        existing_results(tmp_path)


def test_a_backslash_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="backslash"):
        open_results(tmp_path / "a\\b")


HOLD = """
import sys, time
from pathlib import Path
from vfscreen.results.folder import lock, open_results
with lock(open_results(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_has_died(tmp_path: Path) -> None:
    results = open_results(tmp_path / "results")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(results.path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="Another run is at work") as refused, lock(results):
            pass
        assert refused.value.exit_code == 5
        first.send_signal(signal.SIGKILL)
        first.wait()
        with lock(results):
            pass
