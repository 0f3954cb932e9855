"""`scan`, `screen` and `flag`: what a timer runs."""

from datetime import datetime
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ArchiveArgument,
    CheckpointOption,
    ConfigOption,
    ReportsOption,
    ResultsOption,
    load_config,
    log_to_stderr,
)


def scan(archive: ArchiveArgument, results: ResultsOption, config: ConfigOption = None) -> None:
    """Read the headers of an archive and say what is in it, without decoding a pixel."""
    log_to_stderr()
    from vfscreen.cli.tables import print_scan
    from vfscreen.jobs.scan import run_scan

    ledger = run_scan(archive, results, load_config(config))
    print_scan(ledger)


def screen(
    archive: ArchiveArgument,
    checkpoint: CheckpointOption,
    results: ResultsOption,
    reports: ReportsOption = None,
    stop_at: Annotated[
        str | None,
        typer.Option(help="End in good order at this time, as in 06:30.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """The nightly job: screen what is new, read reports, flag, render heatmaps."""
    log_to_stderr()
    from vfscreen.cli.tables import print_screen
    from vfscreen.jobs.screen import ScreenRequest, run_screen
    from vfscreen.jobs.stopping import StopRequest, parse_stop_at, stop_on_signals

    end = parse_stop_at(stop_at, datetime.now()) if stop_at else None
    stop = StopRequest(stop_at=end)
    request = ScreenRequest(archive, results, checkpoint, reports)
    with stop_on_signals(stop):
        outcome = run_screen(request, load_config(config), stop)
    print_screen(outcome.ledger)
    if outcome.error is not None:
        raise outcome.error


def flag(
    results: ResultsOption,
    reports: ReportsOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Flag from this probability on.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Use this checkpoint's calibration from now on.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make the list again, with newly arrived reports or another threshold; reads no pixels."""
    log_to_stderr()
    from vfscreen.cli.tables import print_flag
    from vfscreen.jobs.flag import run_flag

    print_flag(run_flag(results, load_config(config), reports, threshold, checkpoint))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(scan)
    app.command()(screen)
    app.command()(flag)
