"""`flagged`, `review`, `explain`, `status`, `sql`: what the nurse and the analyst ask."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ConfigOption,
    Format,
    IdentifiersOption,
    ResultsOption,
    load_config,
)
from vfscreen.errors import UsageError

AccessionArgument = Annotated[
    str, typer.Argument(help="Accession number, or study instance UID.", show_default=False)
]


class Decision(StrEnum):
    """What a reader decided about a study."""

    CONFIRM = "confirm"
    REJECT = "reject"
    KNOWN = "known"
    REFER = "refer"


class Status(StrEnum):
    """What the reports of a study say; `reported` studies are never on the list."""

    UNCERTAIN = "uncertain"
    AMBIGUOUS = "ambiguous"
    DENIED = "denied"
    NOT_MENTIONED = "not_mentioned"
    NO_REPORT = "no_report"


def flagged(
    results: ResultsOption,
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="Rows shown; unset: list.capacity, or all moves.", show_default=False
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Only studies of this date or later.", show_default=False
        ),
    ] = None,
    status: Annotated[
        list[Status] | None,
        typer.Option(
            help="Only this report status; may be given again. `no_report` is a list of its own.",
            show_default=False,
        ),
    ] = None,
    changed_since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Instead: what moved on or off the list since then (UTC), when and why.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """The ranked list: patients whose fracture probably went unreported, one row a patient."""
    from vfscreen.cli.answers import print_moves
    from vfscreen.cli.tables import print_list
    from vfscreen.jobs.listing import flagged_list, list_moves

    if changed_since is not None:
        if since is not None or status:
            raise UsageError(
                "--changed-since shows moves of all studies: leave out --since, --status."
            )
        print_moves(list_moves(results, changed_since), format.value, top)
        return

    capacity = top if top is not None else load_config(config).list.capacity
    day = since.date() if since else None
    rows = flagged_list(results, capacity, day, [s.value for s in status or []])
    print_list(rows, format.value)


def review(
    accession: AccessionArgument,
    decision: Annotated[Decision, typer.Argument(help="What was decided.")],
    results: ResultsOption,
    note: Annotated[str, typer.Option(help="A remark, kept with the decision.")] = "",
    reviewer: Annotated[
        str | None,
        typer.Option(help="Who decided; unset: the user logged in.", show_default=False),
    ] = None,
) -> None:
    """Record what was decided about a study: it leaves the list, its history stays."""
    from vfscreen.jobs.listing import record_review

    record_review(results, accession, decision.value, note, reviewer)
    typer.echo(f"Recorded: {decision.value}. The study has left the list; the next one moves up.")


def explain(
    accession: AccessionArgument, results: ResultsOption, config: ConfigOption = None
) -> None:
    """Render the study's heatmap if it is missing, and print its path."""
    from vfscreen.jobs.explain import explain_study

    typer.echo(str(explain_study(results, accession, load_config(config))))


def status(
    results: ResultsOption,
    runs: Annotated[int, typer.Option(min=1, help="Runs shown.")] = 5,
    show_identifiers: IdentifiersOption = False,
) -> None:
    """The last runs: what each found and did, how fast, what failed and why; and drift."""
    from vfscreen.cli.calibration_tables import print_drift
    from vfscreen.cli.tables import print_status
    from vfscreen.jobs.drift import run_drift
    from vfscreen.jobs.listing import status_of

    print_status(status_of(results, runs, show_identifiers))
    for finding, drift in run_drift(results).items():
        print_drift(finding, drift)


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement.", show_default=False)],
    results: ResultsOption,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Ask the catalogue; it is read-only, and its views are described in docs/results.md."""
    from vfscreen.cli.rows import print_rows
    from vfscreen.jobs.listing import run_query

    print_rows(run_query(results, query), format.value)


def measures(
    name: Annotated[
        str | None,
        typer.Argument(help="A measure; unset: all are named.", show_default=False),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            "-r",
            envvar="VFSCREEN_RESULTS",
            help="The results folder.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """What a service asks about itself: reporting rate, audit standards, turn-around, funnel."""
    from vfscreen.cli.answers import print_measure, print_measures

    if name is None:
        print_measures(format.value)
        return
    from vfscreen.jobs.measures import measure

    if results is None:
        raise UsageError("Name the results folder with --results, or set VFSCREEN_RESULTS.")
    print_measure(measure(results, name, load_config(config)), format.value)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (flagged, review, explain, status, measures, sql):
        app.command()(command)
