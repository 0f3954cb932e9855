"""`audit` and `estimate`: how good the list is, and what to expect before there is one."""

import math
from dataclasses import asdict, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfscreen.cli.options import ConfigOption, Format, ResultsOption, load_config

if TYPE_CHECKING:
    from vfscreen.jobs.audit import AuditEstimate, Drawn, Measure
    from vfscreen.jobs.estimate import Expected, Setting


_TITLES = {
    "prevalence": "prevalence of fractures",
    "reporting_rate": "fractures that the report names",
    "unreported": "studies with an unreported one",
    "unreported_below": "  below the operating point",
    "sensitivity": "sensitivity",
    "sensitivity_reported": "  reported fractures",
    "sensitivity_unreported": "  unreported fractures",
    "specificity": "specificity",
    "ppv": "PPV",
    "ppv_unreported_list": "  the unreported list",
    "npv": "NPV",
}


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
    from vfscreen.jobs.audit import Draw, draw_audit

    request = Draw(
        per_stratum=films_per_stratum,
        total=films,
        allocation=allocation.value,
        seed=seed,
        since=since.date() if since else None,
        until=until.date() if until else None,
    )
    _print_drawn(draw_audit(results, load_config(config), request, out), out)


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
    from vfscreen.jobs.audit import estimate_audit

    _print_estimate(estimate_audit(results, audit), format.value)


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
    _print_expected(rows, setting, title, format.value, demonstration=demonstration)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(estimate)
    group = typer.Typer(no_args_is_help=True, help="Audits of the list by people.")
    group.command("draw")(audit_draw)
    group.command("import")(audit_import)
    group.command("estimate")(audit_estimate)
    app.add_typer(group, name="audit")


def _print_drawn(drawn: "Drawn", out: Path) -> None:
    from vfscreen.cli.rows import print_table

    rows = [
        [_side(s.above), s.report_status.replace("_", " "), s.studies, s.sampled]
        for s in drawn.strata
    ]
    print_table(["operating point", "report says", "studies", "drawn"], rows)
    studies = sum(s.studies for s in drawn.strata)
    sampled = sum(s.sampled for s in drawn.strata)
    typer.echo(
        f"{drawn.audit_id}: {sampled:,} of {studies:,} studies drawn, seed {drawn.seed}, "
        f"operating point {drawn.threshold:.3f}."
    )
    if drawn.undated:
        typer.echo(f"{drawn.undated:,} studies without a date were left out: in no period.")
    typer.echo(
        f"The reading list, in random order and blinded: {out}. It names studies: pass it to the "
        "readers only.\nWhen it is filled in: `vfscreen audit import`."
    )


def _side(above: bool) -> str:
    return "at or above" if above else "below"


def _print_estimate(estimated: "AuditEstimate", format: str) -> None:
    from vfscreen.cli.rows import print_rows, print_table
    from vfscreen.cli.tables import DEMONSTRATION

    progress = estimated.progress
    if format != "table":
        import pyarrow as pa

        about = {k: progress[k] for k in ("audit_id", "drawn", "clear", "unclear", "unread")}
        rows = [about | {k: _known(v) for k, v in asdict(m).items()} for m in estimated.measures]
        print_rows(pa.Table.from_pylist(rows), format)
        return
    names = ("studies", "sampled", "with_finding", "without", "unclear", "unread")
    print_table(
        ["operating point", "report says", "studies", "drawn", "fracture", "none", "unclear",
         "not read"],
        [
            [_side(s["above"]), s["report_status"].replace("_", " "), *(s[n] for n in names)]
            for s in estimated.strata
        ],
    )  # fmt: skip
    missing = progress["unclear"] + progress["unread"]
    columns = ["of the archive", "estimate", "95 % interval"]
    bounds = ["worst case for what is open"] if missing else []
    print_table(
        columns + bounds,
        [
            [
                _title(m.measure), _shown(m, m.value), _between(m, m.low, m.high),
                *([_between(m, m.lowest, m.highest)] if missing else []),
            ]
            for m in estimated.measures
        ],
    )  # fmt: skip
    typer.echo(
        f"{progress['audit_id']}, drawn {progress['drawn_at']:%Y-%m-%d}: {progress['drawn']:,} "
        f"studies, {progress['clear']:,} read, {progress['unclear']:,} unclear, "
        f"{progress['unread']:,} not read. {progress['read_twice']:,} by more than one reader, who "
        f"differ on {progress['disagreeing']:,}."
    )
    if missing:
        typer.echo(
            "The interval takes what is open to be like the rest of its stratum; the last column "
            "does not. A reader called `consensus` settles what is unclear."
        )
    if progress["demonstration"]:
        typer.echo(DEMONSTRATION)


def _title(measure: str) -> str:
    return _TITLES.get(measure) or "  status " + measure.removeprefix("report_").replace("_", " ")


def _shown(measure: "Measure", value: float) -> str:
    if math.isnan(value):
        return "not known yet"
    return f"{value:.1%}" if measure.is_share else f"{value:,.0f}"


def _between(measure: "Measure", low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{_shown(measure, low)} to {_shown(measure, high)}"


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _print_expected(
    rows: "list[Expected]", setting: "Setting", title: str, format: str, *, demonstration: bool
) -> None:
    from vfscreen.cli.rows import print_rows, print_table
    from vfscreen.cli.tables import DEMONSTRATION, NOTICE

    if format != "table":
        import pyarrow as pa

        print_rows(pa.Table.from_pylist([_flat(row) for row in rows]), format)
        return
    shares = {
        "sensitivity": "sensitivity, all fractures",
        "sensitivity_unreported": "sensitivity, unreported fractures",
        "specificity": "specificity",
    }
    numbers = {
        "unreported": "with a fracture that no report names",
        "listed": "on the uncut list",
        "found": "  unreported fracture: found",
        "already_reported": "  fracture that the report names",
        "no_fracture": "  no fracture",
    }
    missed = {
        "missed_by_checkpoint": "not found: below the operating point",
        "hidden_by_labeller": "not found: report taken to name it",
    }
    table: list[list[str]] = [
        [title, *(_percent(getattr(row, name)) for row in rows)] for name, title in shares.items()
    ]
    table += [[t, *(_number(getattr(r, n)) for r in rows)] for n, t in numbers.items()]
    table.append(["PPV of the uncut list", *(_percent(row.ppv) for row in rows)])
    table += [[t, *(_number(getattr(r, n)) for r in rows)] for n, t in missed.items()]
    if setting.capacity is not None:
        cut = f"list cut at {setting.capacity:,}"
        table.append([cut, *(_number(r.listed_cut) for r in rows)])
        table.append(
            ["  unreported fracture: found, at least", *(_number(r.found_cut) for r in rows)]
        )
    names = [
        row.operating_point.replace("_", " ")
        + ("" if row.threshold is None else f" ({row.threshold:.3f})")
        for row in rows
    ]
    print_table([title, *names], table)
    if any(row.sensitivity.low < row.sensitivity.high for row in rows):
        typer.echo("In brackets: 95 % intervals, from the films that the accuracy was measured on.")
    if setting.capacity is not None:
        typer.echo(
            "Cut: as if the order within the list were chance; a ranked list finds more than that."
        )
    typer.echo("Reckoned from what was given; `vfscreen audit` measures it in the archive.")
    typer.echo(DEMONSTRATION if demonstration else NOTICE)


def _flat(row: "Expected") -> dict[str, Any]:
    """One column each for a figure, its lower and its upper limit."""
    flat: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if hasattr(value, "low"):
            flat[field.name] = _known(value.value)
            flat[f"{field.name}_low"] = _known(value.low)
            flat[f"{field.name}_high"] = _known(value.high)
        else:
            flat[field.name] = value
    return flat


def _percent(estimate: Any) -> str:
    if math.isnan(estimate.value):
        return "nobody listed"
    return _with_interval(estimate, lambda v: f"{v:.1%}")


def _number(estimate: Any) -> str:
    return _with_interval(estimate, lambda v: f"{v:,.1f}" if v < 10 else f"{v:,.0f}")


def _with_interval(estimate: Any, shown: Any) -> str:
    text = str(shown(estimate.value))
    if math.isnan(estimate.low) or estimate.low == estimate.high:
        return text
    return f"{text} ({shown(estimate.low)} to {shown(estimate.high)})"
