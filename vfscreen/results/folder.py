"""The results folder: where things lie, who may read them, and who may write now.

Two locks, both held by the operating system and gone with the process that held them:

- `.lock`, the run's: taken without waiting by whoever screens, flags or imports; a second run
  ends with exit code 5.
- `.writing`, the writers': shared while a part is written, exclusive while the catalogue is
  replaced; held for moments, so a nurse's review goes through while a run is at work.
"""

import fcntl
import grp
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vfscreen.errors import ConfigError, LockedError, StorageError, UsageError
from vfscreen.results.schemas import FOLDERS

WRITING_TIMEOUT_S = 120.0
"""A writer holds its lock for a second at most; two minutes allow for a stalled disk."""

_EXTRA_FOLDERS = ("runs", "heatmaps")


@dataclass(frozen=True, slots=True)
class Results:
    """A results folder that exists. Its path is absolute, without symbolic links."""

    path: Path
    folder_mode: int
    file_mode: int
    group_id: int | None

    @property
    def catalogue(self) -> Path:
        """The DuckDB file that anyone may open read-only."""
        return self.path / "catalog.duckdb"

    @property
    def runs(self) -> Path:
        """Where the ledgers are."""
        return self.path / "runs"

    @property
    def heatmaps(self) -> Path:
        """Where the pictures are, beside the parts that describe them."""
        return self.path / "heatmaps"

    def own(self, path: Path, mode: int | None = None) -> None:
        """Give a file or folder the mode and the group of this results folder."""
        if mode is None:
            mode = self.folder_mode if path.is_dir() else self.file_mode
        if self.group_id is not None:
            os.chown(path, -1, self.group_id)
        path.chmod(mode)


def open_results(path: Path, group: str = "") -> Results:
    """Make a results folder, or take up the one that is there.

    Parameters
    ----------
    path
        The folder; made, with its parents, where it is missing.
    group
        Name of the group that may read it (folders 0750, files 0640); empty: the owner only.

    Raises
    ------
    ConfigError
        The group does not exist, or this user may not give files to it.
    UsageError
        The path cannot be used by DuckDB, or something else is at its place.
    StorageError
        The folder cannot be made or written.
    """
    group_id = _group_id(group)
    resolved = _resolved(path)
    folder_mode, file_mode = (0o700, 0o600) if group_id is None else (0o750, 0o640)
    results = Results(resolved, folder_mode, file_mode, group_id)
    try:
        for folder in (resolved, *(resolved / name for name in (*FOLDERS, *_EXTRA_FOLDERS))):
            folder.mkdir(mode=folder_mode, parents=True, exist_ok=True)
            _own_folder(results, folder, group)
        if not os.access(resolved, os.W_OK | os.X_OK):
            raise StorageError(f"The results folder {resolved} may not be written by this user.")
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{resolved} is not a folder: name another results folder.") from None
    except OSError as error:
        raise StorageError(
            f"The results folder {resolved} cannot be made: {error.strerror}."
        ) from None
    return results


def existing_results(path: Path) -> Results:
    """Take up a results folder that a run has made, for reading.

    Raises
    ------
    UsageError
        There is none at this path.
    """
    resolved = _resolved(path)
    try:
        found = all((resolved / name).is_dir() for name in ("manifest", "predictions", "runs"))
        status = resolved.stat() if found else None
    except OSError as error:
        raise UsageError(
            f"The results folder {resolved} cannot be read: {error.strerror}."
        ) from None
    if status is None:
        raise UsageError(
            f"There is no results folder at {resolved}; `vfscreen screen` or `scan` makes one."
        )
    shared = bool(status.st_mode & 0o070)
    return Results(
        resolved,
        folder_mode=0o750 if shared else 0o700,
        file_mode=0o640 if shared else 0o600,
        group_id=status.st_gid if shared else None,
    )


def add_missing_folders(results: Results) -> None:
    """Make what this version adds to a results folder that an earlier one made.

    Raises
    ------
    StorageError
        This user may not write there.
    """
    try:
        for name in (*FOLDERS, *_EXTRA_FOLDERS):
            folder = results.path / name
            if not folder.is_dir():
                folder.mkdir(mode=results.folder_mode, exist_ok=True)
                results.own(folder)
    except OSError as error:
        raise StorageError(
            f"The results folder {results.path} cannot be written: {error.strerror}."
        ) from None


@contextmanager
def lock(results: Results) -> Iterator[None]:
    """Hold the results folder for one run.

    Raises
    ------
    LockedError
        Another run holds it.
    StorageError
        The lock file cannot be made.
    """
    with _locked(results, ".lock", fcntl.LOCK_EX, timeout_s=0.0):
        yield


@contextmanager
def writing(results: Results, *, exclusive: bool = False) -> Iterator[None]:
    """Hold off a change of catalogue (shared), or everyone who writes (exclusive), for a moment."""
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    with _locked(results, ".writing", kind, timeout_s=WRITING_TIMEOUT_S):
        yield


@contextmanager
def _locked(results: Results, name: str, kind: int, *, timeout_s: float) -> Iterator[None]:
    path = results.path / name
    try:
        # O_CLOEXEC: a worker process that outlives its run must not keep the lock.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, results.file_mode)
    except OSError as error:
        raise StorageError(
            f"The results folder {results.path} cannot be written: {error.strerror}."
        ) from None
    try:
        with suppress(OSError):  # made by another user of the group: its mode is right already
            results.own(path)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another run is at work in {results.path}; wait until it has ended."
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def _resolved(path: Path) -> Path:
    try:
        resolved = path.expanduser().resolve()
        str(resolved).encode("utf-8")
    except (UnicodeEncodeError, RuntimeError, OSError):
        raise UsageError(
            "The path of the results folder cannot be used: name one that is valid UTF-8."
        ) from None
    if "\\" in str(resolved):
        raise UsageError(
            f"The path of the results folder, {resolved}, holds a backslash, which DuckDB reads "
            "as a separator: name another."
        )
    return resolved


def _group_id(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"run.group: there is no group `{group}` on this machine.") from None


def _own_folder(results: Results, folder: Path, group: str) -> None:
    """Set mode and group of a folder of ours; another owner's folder stays as it is."""
    status = folder.stat()
    if status.st_uid not in (os.getuid(), os.geteuid()):
        return
    try:
        results.own(folder, results.folder_mode)
    except PermissionError:
        raise ConfigError(
            f"run.group: this user may not give files to the group `{group}`; add the user to it."
        ) from None
