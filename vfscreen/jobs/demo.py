"""The demonstration: a phantom archive, the nightly job on it, the list, and the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.config import Config
from vfscreen.errors import UsageError
from vfscreen.jobs.phantom import run_phantom
from vfscreen.jobs.screen import ScreenOutcome, ScreenRequest, run_screen
from vfscreen.jobs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 15


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demonstration made and found."""

    folder: Path
    outcome: ScreenOutcome
    listed: "pa.Table"


def run_demo(folder: Path, studies: int, seed: int, config: Config) -> Demonstration:
    """Make (if it is not there) and screen a phantom archive in `folder`.

    Raises
    ------
    UsageError
        The folder holds something else.
    """
    from vfscreen.jobs.listing import flagged_list

    if not (folder / "truth.parquet").is_file():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else: name a new folder.")
        run_phantom(
            folder, studies=studies, seed=seed, long_side_px=0, counterfactuals=False, workers=0
        )
    results = folder / "results"
    stop = StopRequest()
    with stop_on_signals(stop):
        outcome = run_screen(
            ScreenRequest(folder / "archive", results, "demo", folder / "reports.csv"), config, stop
        )
    if outcome.error is not None:
        raise outcome.error
    return Demonstration(folder, outcome, flagged_list(results, SHOWN_ROWS, None, []))
