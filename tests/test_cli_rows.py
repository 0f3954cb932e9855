"""Rows on standard output: numbers are numbers in every format, wherever they come from."""

import csv
import io
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from vfscreen.cli.rows import print_rows

TABLE = pa.table(
    {
        "reason": ["all", "view"],
        "total": pa.array([Decimal(1077), Decimal(5)], pa.decimal128(38, 0)),
        "median_hours": pa.array([6.5, None], pa.float64()),
    }
)
"""As DuckDB sums whole numbers, and a figure that is not always there."""


def test_sums_are_numbers_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(TABLE, "json")
    assert [row["total"] for row in json.loads(capsys.readouterr().out)] == [1077, 5]
    print_rows(TABLE, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["total"] for row in rows] == ["1077", "5"]


def test_numbers_stand_on_the_right_also_where_one_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rows(TABLE, "table")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == " reason  total  median hours"
    assert lines[2] == " all     1,077         6.500"
    assert lines[3] == " view        5"


def test_a_terminal_too_narrow_for_a_table_loses_no_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_rows(TABLE, "table")
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines[:3] == [" reason        all", " total         1,077", " median hours  6.500"]
