"""The work folder of a training: what a killed one goes on from, for this user alone.

OUT.work/
  results/    a results folder: the manifest of the archive and the ledgers of the runs
  cache/      decoded films at the network's input size
  folds/      the state of each fold, to the batch
  plan.json   what this training is of; another one does not go on from it
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vfscreen.config import Config
from vfscreen.errors import InputError, StorageError, UsageError
from vfscreen.jobs.run import Run, open_run
from vfscreen.jobs.scan import refuse_nesting

_RESULTS, _CACHE, _FOLDS, _PLAN = "results", "cache", "folds", "plan.json"


@dataclass(frozen=True, slots=True)
class Work:
    """A work folder that is held by this run."""

    path: Path
    run: Run

    @property
    def cache(self) -> Path:
        """Where decoded films are."""
        return self.path / _CACHE

    def state_of(self, fold: int) -> Path:
        """Where a fold's state is; folds count from 1."""
        return self.path / _FOLDS / f"fold-{fold}.safetensors"

    def agree(self, plan: Mapping[str, Any]) -> None:
        """Go on with this plan, or refuse if the folder's training was begun with another.

        Parameters
        ----------
        plan : mapping
            Name to value, as JSON knows it; a name that ends in `sha256` has a value that says
            nothing to a person.

        Raises
        ------
        UsageError
            The plans differ, and a fold has been begun.
        StorageError
            The folder cannot be written.
        """
        path = self.path / _PLAN
        begun = any(self.state_of(0).parent.glob("*"))
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        differ = [
            name for name in [*before, *(set(plan) - set(before))]
            if before.get(name) != plan.get(name)
        ]  # fmt: skip
        if begun and differ:
            raise UsageError(
                f"The work folder {self.path} holds a training that was begun with other "
                f"{_listed(differ, before, plan)}. Run it again as it was begun and it goes on, or "
                "add --fresh to begin anew."
            )
        with _writing(self.path):
            self.state_of(0).parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(json.dumps(plan, indent=1), "utf-8")


@contextmanager
def open_work(path: Path, archive: Path, config: Config, *, fresh: bool) -> Iterator[Work]:
    """Make a work folder, or take up the one that is there, and hold it as a run.

    Parameters
    ----------
    fresh : bool
        Forget the folds; what is decoded is kept.

    Raises
    ------
    UsageError
        Something else is at this place, or it lies in the archive.
    LockedError
        Another training is at work on it.
    StorageError
        It cannot be written.
    """
    path = path.expanduser().absolute()
    refuse_nesting(archive, path)
    with _writing(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        foreign = [p for p in path.iterdir() if p.name not in (_RESULTS, _CACHE, _FOLDS, _PLAN)]
    if foreign:
        raise UsageError(
            f"{path} holds something else than a training: name an empty folder, or a new one."
        )
    private = replace(config, run=replace(config.run, group=""))
    try:
        with open_run(path / _RESULTS, "train", private) as run:
            if fresh:
                with _writing(path):
                    shutil.rmtree(path / _FOLDS, ignore_errors=True)
                    (path / _PLAN).unlink(missing_ok=True)
            yield Work(path, run)
    except InputError:
        # Refused before a film was decoded: there is nothing to go on from.
        if not (path / _CACHE).exists() and not (path / _FOLDS).exists():
            discard(path)
        raise


def discard(path: Path) -> None:
    """Remove a work folder; what cannot be removed stays."""
    path = path.expanduser().absolute()
    for name in (_FOLDS, _CACHE, _RESULTS):
        shutil.rmtree(path / name, ignore_errors=True)
    with suppress(OSError):
        (path / _PLAN).unlink(missing_ok=True)
        path.rmdir()


def _listed(differ: list[str], before: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """What differs, for a sentence."""
    said = []
    for name in differ:
        if name.endswith("sha256"):
            said.append(name.removesuffix("_sha256").replace("_", " "))
        else:
            said.append(f"{name} ({before.get(name, 'unset')!r}, now {plan.get(name, 'unset')!r})")
    return ", ".join(said)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} is not a folder: name another work folder.") from None
    except OSError as error:
        raise StorageError(f"The work folder {path} cannot be written: {error.strerror}.") from None
