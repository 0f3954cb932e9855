"""How answers about a results folder are shown: moves of the list, measures, unmatched reports."""

from typing import TYPE_CHECKING

import typer

from vfscreen.cli.rows import print_rows, print_table
from vfscreen.cli.tables import NOTICE, words

if TYPE_CHECKING:
    import pyarrow as pa

    from vfscreen.jobs.measures import Measure

_MOVE_COLUMNS = {
    "changed_at": "when (UTC)",
    "change": "list",
    "reason": "why",
    "patient_id": "patient",
    "study_date": "study date",
    "accession_number": "accession",
    "probability": "prob.",
    "report_status": "report says",
}


def print_moves(table: "pa.Table", format: str, top: int | None) -> None:
    """What moved on or off the list; the table shows what a nurse asks about it."""
    left_out = table.num_rows - (top or table.num_rows)
    table = table.slice(0, top)
    if format != "table":
        print_rows(table, format)
        return
    if table.num_rows == 0:
        typer.echo("Nothing has moved on or off the list since then.")
        return
    rows = [list(row.values()) for row in table.select(list(_MOVE_COLUMNS)).to_pylist()]
    moves = table.select(["from_list", "to_list"]).to_pylist()
    for row, move in zip(rows, moves, strict=True):
        row[1] = f"{row[1]} {words(move['to_list'] or move['from_list'])}"
        row[7] = words(row[7])
    print_table(list(_MOVE_COLUMNS.values()), rows)
    if left_out > 0:
        typer.echo(f"Earlier moves not shown: {left_out:,}.")
    typer.echo(
        "on, off, moved: onto the list named, off it, or to it from the other; the lists whole, "
        f"not cut at the capacity.\n{NOTICE}"
    )


def print_unmatched(table: "pa.Table", format: str, *, listed: bool) -> None:
    """Reports that belong to no study, counted or one by one."""
    if format != "table":
        print_rows(table, format)
        return
    if table.num_rows == 0:
        typer.echo("No report is without a study of the archive.")
        return
    rows = table.to_pylist()
    for row in rows:
        row["reason"] = words(row["reason"])
    print_table(table.column_names, [list(row.values()) for row in rows])
    typer.echo(
        "They count for no study; those that name a patient count for what is known of them."
        + ("" if listed else " --show-identifiers lists each.")
    )


def print_measures(format: str) -> None:
    """The measures by name, each with what it says."""
    import pyarrow as pa

    from vfscreen.results.sql import MEASURES, about

    says = [about(name).first_sentence for name in MEASURES]
    if format != "table":
        print_rows(pa.table({"measure": list(MEASURES), "says": says}), format)
        return
    print_table(
        ["measure", "what it says"], [list(row) for row in zip(MEASURES, says, strict=True)]
    )


def print_measure(measure: "Measure", format: str) -> None:
    """One measure; beneath the table, what to beware of."""
    print_rows(measure.rows, format)
    if format != "table":
        return
    if measure.rows.num_rows == 0:
        typer.echo("There is nothing to count yet.")
    if measure.threshold is not None:
        typer.echo(f"Likely: a calibrated probability of {measure.threshold:.3f} or more.")
    typer.echo(f"Rows: {measure.about.grain}")
    if measure.about.caveat:
        typer.echo(f"Caveat: {measure.about.caveat}")
    if measure.about.reference:
        typer.echo(f"Reference: {measure.about.reference}")
    typer.echo(NOTICE)
