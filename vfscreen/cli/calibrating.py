"""`calibrate`: a site's own probabilities and operating points for a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ArchiveOption,
    CheckpointOption,
    ConfigOption,
    ExcludeSeenOption,
    ForceOption,
    LabelsOption,
    ProblemsOption,
    load_config,
    log_to_stderr,
    refuse_both,
)
from vfscreen.errors import UsageError


def calibrate(
    checkpoint: CheckpointOption,
    archive: ArchiveOption,
    labels: LabelsOption,
    out: Annotated[
        Path, typer.Option(help="The new checkpoint; must not be there yet.", show_default=False)
    ],
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            "-r",
            help="A results folder in which this model screened the archive: its films are not "
            "decoded again, and tell prevalence and films a week.",
            show_default=False,
        ),
    ] = None,
    prevalence: Annotated[
        str | None,
        typer.Option(
            help="Of the films that probabilities are meant for: a share, as in 0.1, or `archive` "
            "to estimate it from --results; unset: that of the labelled films.",
            show_default=False,
        ),
    ] = None,
    exclude_seen: ExcludeSeenOption = False,
    force: ForceOption = False,
    problems: ProblemsOption = None,
    config: ConfigOption = None,
) -> None:
    """Fit probabilities and operating points to films of the site; writes a new checkpoint."""
    log_to_stderr()
    from vfscreen.cli.calibration_tables import print_calibrated
    from vfscreen.jobs.calibrate import CalibrateRequest, run_calibrate
    from vfscreen.jobs.stopping import StopRequest, stop_on_signals

    refuse_both(force=force, exclude_seen=exclude_seen)
    request = CalibrateRequest(
        checkpoint=checkpoint,
        archive=archive,
        labels=labels,
        out=out,
        results=results,
        prevalence=_prevalence(prevalence),
        force=force,
        exclude_seen=exclude_seen,
        problems=problems,
    )
    stop = StopRequest()
    with stop_on_signals(stop):
        done = run_calibrate(request, load_config(config), stop)
    print_calibrated(done, problems)
    if done.error is not None:
        raise done.error


def _prevalence(text: str | None) -> float | str | None:
    if text is None or text == "archive":
        return text
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(
            f"--prevalence is a share above 0 and below 1, or `archive`; not {text!r}."
        )
    return value


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(calibrate)
