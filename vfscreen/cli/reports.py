"""`reports`: reading them into the results folder."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import ConfigOption, ResultsOption, load_config, log_to_stderr


def reports_import(
    source: Annotated[Path, typer.Argument(help="A CSV file, or a folder of them.")],
    results: ResultsOption,
    config: ConfigOption = None,
) -> None:
    """Read and label reports into the results folder; what is there already stays as it is."""
    log_to_stderr()
    from vfscreen.cli.tables import print_reports
    from vfscreen.jobs.reports import run_import

    print_reports(run_import(source, results, load_config(config)))


def register(app: typer.Typer) -> None:
    """Add these commands."""
    reports = typer.Typer(no_args_is_help=True, help="Radiology reports.")
    reports.command("import")(reports_import)
    app.add_typer(reports, name="reports")
