"""What `audit` and `estimate` show: tables for people, rows with every limit for programs."""

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vfscreen.cli.rows import print_rows, print_table
from vfscreen.cli.tables import DEMONSTRATION, NOTICE

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


def print_drawn(drawn: "Drawn", out: Path) -> None:
    """What was drawn, and where the reading list is."""
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


def print_audit(estimated: "AuditEstimate", format: str) -> None:
    """What an audit says of the archive."""
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


def print_expected(
    rows: "list[Expected]", setting: "Setting", title: str, format: str, *, demonstration: bool
) -> None:
    """What a list would hold, a column an operating point."""
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
