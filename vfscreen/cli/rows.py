"""Rows on standard output: a table for people, CSV, JSON or Parquet for programs."""

import csv
import json
import math
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import typer

from vfscreen.errors import UsageError
from vfscreen.results.spreadsheet import as_text

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_WORD = 24
"""Longer words (UIDs, hashes) are broken where a terminal is too narrow for them."""


def print_rows(table: "pa.Table", format: str) -> None:
    """Print an Arrow table.

    Raises
    ------
    UsageError
        Parquet is asked for on a terminal.
    """
    if format == "parquet":
        _print_parquet(table)
    elif format == "json":
        typer.echo(json.dumps(table.to_pylist(), indent=1, default=_json, ensure_ascii=False))
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(table.column_names)
        for row in table.to_pylist():
            writer.writerow([_csv_cell(value) for value in row.values()])
    else:
        # A year is a name, not a number of something.
        years = [name.endswith("_year") for name in table.column_names]
        rows = [
            [
                str(v) if year and v is not None else _number(v)
                for v, year in zip(r.values(), years, strict=True)
            ]
            for r in table.to_pylist()
        ]
        print_table(table.column_names, rows)


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """Print an aligned table; every cell is plain text, whatever is in it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe or a file has no width: nothing is cut there.
    console = Console(width=None if sys.stdout.isatty() else 400, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    cells = [[plain(_cell(value)) for value in row] for row in rows]
    names = [name.replace("_", " ") for name in columns]
    narrowest = 0
    for index, name in enumerate(names):
        known = [row[index] for row in rows if row[index] is not None]
        numbers = bool(known) and all(isinstance(value, int | float) for value in known)
        # A narrow terminal wraps between words; a date or an identifier stays whole.
        words = [word for cell in [name, *(row[index] for row in cells)] for word in cell.split()]
        least = min(max((len(word) for word in words), default=1), LONGEST_WORD)
        narrowest += least + 2
        table.add_column(
            Text(name), justify="right" if numbers else "left", overflow="fold", min_width=least
        )
    if rows and sys.stdout.isatty() and narrowest > console.width:
        _print_records(names, cells)
        return
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _print_records(names: list[str], rows: list[list[str]]) -> None:
    """A line a cell, for a terminal in which a table would lose its last columns."""
    width = max(map(len, names))
    for row in rows:
        typer.echo("")
        for name, cell in zip(names, row, strict=True):
            typer.echo(f" {name:<{width}}  {cell}".rstrip())


def plain(text: str) -> str:
    """One line without control characters: a tag must not steer the terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}"
                   for c in text)  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return (
            "nan" if math.isnan(value) else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
        )
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _number(value: Any) -> Any:
    """DuckDB's sums of whole numbers come as decimals; everybody else knows them as integers."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, list | dict):
        return json.dumps(value, default=_json, ensure_ascii=False)
    return _json(value) if isinstance(value, date | datetime) else value


def _json(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _print_parquet(table: "pa.Table") -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: redirect it, as in `> flagged.parquet`.")
    pq.write_table(table, pa.PythonFile(sys.stdout.buffer, mode="w"))
    sys.stdout.buffer.flush()
