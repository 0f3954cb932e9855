"""`audit` and `estimate`: how good the list is, and what to expect before there is one."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import ConfigOption, Format, ResultsOption, load_config


class Allocation(StrEnum):
    """How `--films` are shared out among the strata."""

    EQUAL = "equal"
    PROPORTIONAL = "proportional"
    NEYMAN = "neyman"


def audit_draw(
    results: ResultsOption,
    out: Annotated[Path, typer.Option(help="The reading list, a new CSV file for the readers.")],
    films_per_stratum: Annotated[
        int | None,
        typer.Option(min=1, help="Studies drawn from each stratum.", show_default=False),
    ] = None,
    films: Annotated[
        int | None,
        typer.Option(min=2, help="Instead: studies drawn in all.", show_default=False),
    ] = None,
    allocation: Annotated[
        Allocation,
        typer.Option(
            help="How --films are shared out; `neyman`: by size and expected spread of a stratum."
        ),
    ] = Allocation.NEYMAN,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**62, help="Same seed, same sample; unset: by chance.", show_default=False
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First study date.", show_default=False),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last study date.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Draw studies from every stratum, above and below the operating point by report status."""
    from vfscreen.cli.audit_tables import print_drawn
    from vfscreen.jobs.audit import Draw, draw_audit

    request = Draw(
        per_stratum=films_per_stratum,
        total=films,
        allocation=allocation.value,
        seed=seed,
        since=since.date() if since else None,
        until=until.date() if until else None,
    )
    print_drawn(draw_audit(results, load_config(config), request, out), out)


def audit_import(
    source: Annotated[
        Path, typer.Argument(help="A reading list that was filled in.", show_default=False)
    ],
    results: ResultsOption,
    reader: Annotated[
        str, typer.Option(help="Who read the lines that name no reader.", show_default=False)
    ] = "",
) -> None:
    """Take readings back; a file that was imported before may come again."""
    from vfscreen.jobs.audit import import_readings

    done = import_readings(results, source, reader)
    typer.echo(
        f"Readings: {done.imported:,} imported, {done.changed:,} changed, "
        f"{done.already_there:,} already there; {done.left_empty:,} lines left empty."
    )


def audit_estimate(
    results: ResultsOption,
    audit: Annotated[
        str | None, typer.Option(help="Id of the audit; unset: the last.", show_default=False)
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """The whole archive from an audit: prevalence, reporting rate, sensitivity, PPV."""
    from vfscreen.cli.audit_tables import print_audit
    from vfscreen.jobs.audit import estimate_audit

    print_audit(estimate_audit(results, audit), format.value)


def estimate(
    prevalence: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of studies that show a fracture, as in 0.1.",
            show_default=False,
        ),
    ],
    unreported_share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of these fractures that no report names."),
    ] = 0.53,
    films_per_week: Annotated[
        int | None,
        typer.Option(min=1, help="Studies screened a week; unset: per 1,000.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="A checkpoint that says how often it was right.", show_default=False),
    ] = None,
    sensitivity: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Instead of a checkpoint.", show_default=False),
    ] = None,
    specificity: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Instead of a checkpoint.", show_default=False),
    ] = None,
    positives: Annotated[
        int | None,
        typer.Option(
            min=1, help="Films behind --sensitivity; gives an interval.", show_default=False
        ),
    ] = None,
    negatives: Annotated[
        int | None,
        typer.Option(
            min=1, help="Films behind --specificity; gives an interval.", show_default=False
        ),
    ] = None,
    sensitivity_unreported: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            show_default=False,
            help="For fractures that no report names, which are subtler; unset: as for all.",
        ),
    ] = None,
    labeller_false_reported: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of reports without a fracture that are taken to name one."
        ),
    ] = 0.0,
    labeller_missed: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Share of reports with a fracture that are taken to name none."
        ),
    ] = 0.0,
    capacity: Annotated[
        int | None,
        typer.Option(
            min=1, help="Patients looked at a week; unset: list.capacity.", show_default=False
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw it as well: a .png, .pdf or .svg file.", show_default=False),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Before go-live: how long the list would be, how much of it true, how much missed."""
    from vfscreen.cli.audit_tables import print_expected
    from vfscreen.jobs.estimate import Setting, accuracy, expect_list

    listing = load_config(config).list
    points, demonstration = accuracy(
        checkpoint, listing.finding, sensitivity, specificity, positives, negatives
    )
    setting = Setting(
        prevalence=prevalence,
        unreported_share=unreported_share,
        false_reported=labeller_false_reported,
        missed=labeller_missed,
        studies=films_per_week or 1000,
        # Per 1,000 studies there is no week to have a capacity in.
        capacity=(capacity or listing.capacity) if films_per_week else None,
    )
    rows = expect_list(points, setting, sensitivity_unreported)
    weekly = films_per_week is not None
    if plot is not None:
        from vfscreen.jobs.estimate_plot import draw_estimate

        draw_estimate(points, setting, sensitivity_unreported, plot, weekly=weekly)
    title = f"{setting.studies:,.0f} studies{' a week' * weekly}"
    print_expected(rows, setting, title, format.value, demonstration=demonstration)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(estimate)
    group = typer.Typer(no_args_is_help=True, help="Audits of the list by people.")
    group.command("draw")(audit_draw)
    group.command("import")(audit_import)
    group.command("estimate")(audit_estimate)
    app.add_typer(group, name="audit")
