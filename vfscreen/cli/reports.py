"""`reports`: reading them into the results folder."""

from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ConfigOption,
    Format,
    IdentifiersOption,
    ResultsOption,
    load_config,
    log_to_stderr,
)


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


def reports_unmatched(
    results: ResultsOption,
    show_identifiers: IdentifiersOption = False,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Reports that belong to no study of the archive, by reason; with identifiers, one by one."""
    from vfscreen.cli.tables import print_unmatched
    from vfscreen.jobs.matching import unmatched_reports

    rows = unmatched_reports(results, show_identifiers=show_identifiers)
    print_unmatched(rows, format.value, listed=show_identifiers)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    reports = typer.Typer(no_args_is_help=True, help="Radiology reports.")
    reports.command("import")(reports_import)
    reports.command("unmatched")(reports_unmatched)
    app.add_typer(reports, name="reports")
