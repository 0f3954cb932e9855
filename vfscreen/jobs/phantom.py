"""Make a phantom archive."""

from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.errors import UsageError
from vfscreen.jobs.progress import progress
from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty
from vfscreen.phantom.shift import Shift

if TYPE_CHECKING:
    from vfscreen.phantom.archive import PhantomSummary

FULL_SIZE_PX = (2000, 2700)


def run_phantom(
    out: Path,
    *,
    studies: int,
    seed: int,
    long_side_px: int,
    counterfactuals: bool,
    workers: int,
    films: Difficulty = DEFAULT_DIFFICULTY,
    shift: Shift | None = None,
) -> "PhantomSummary":
    """Write an archive with its reports, labels, marks and truth into a new folder.

    Raises
    ------
    UsageError
        The folder exists and is not empty: nothing is ever mixed with or written over.
    """
    from vfscreen.phantom.archive import write_phantom

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and not empty: name a new folder.")
    size = (long_side_px, long_side_px) if long_side_px else FULL_SIZE_PX
    with progress("phantom studies", unit="studies", total=studies) as show:
        return write_phantom(
            out,
            studies=studies,
            seed=seed,
            workers=workers,
            long_side_px=size,
            counterfactuals=counterfactuals,
            difficulty=films,
            shift=shift,
            progress=show,
        )
