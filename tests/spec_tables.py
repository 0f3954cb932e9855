"""Small ASCII tables in tests of SQL: what is given, and which rows are expected.

    study | finding            | report_status
    S1    | vertebral_fracture | denied

A cell is read as its column's type; an empty one stands for NULL, a column that is left out for
the default below. `yes` and `no` are booleans, lists are written `T12,L1`, times are UTC.
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from vfscreen.results.catalogue import create_views
from vfscreen.results.schemas import FOLDERS
from vfscreen.results.sql import ask, fetch

SHORT = {
    "study": "study_instance_uid",
    "film": "sop_instance_uid",
    "patient": "patient_id",
    "patient_issuer": "issuer_of_patient_id",
    "accession": "accession_number",
    "accession_issuer": "issuer_of_accession_number",
    "report": "report_id",
    "status": "report_status",
    "model": "model_sha256",
    "checkpoint": "checkpoint_sha256",
    "content": "content_fingerprint",
    "date": "study_date",
}

WHEN = datetime(2024, 6, 1, tzinfo=UTC)
_COMMON: dict[str, Any] = {"finding": "vertebral_fracture", "run_id": "run-1"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "manifest": {"archive_root": "/archive", "eligible": True, "scanned_at": WHEN},
    "predictions": {"model_sha256": "model", "content_fingerprint": "v1", "screened_at": WHEN},
    "failures": {
        "instance_key": "key", "stage": "decode", "reason": "truncated", "transient": False,
        "model_sha256": "model", "content_fingerprint": "v1", "failed_at": WHEN,
    },
    "reports": {"text": "...", "content_sha256": "text-1", "imported_at": WHEN},
    "report_labels": {"content_sha256": "text-1", "history": False, "labelled_at": WHEN},
    "checkpoints": {
        "checkpoint_sha256": "checkpoint", "model_sha256": "model", "name": "test model",
        "demonstration": False, "calibration_slope": 1.0, "calibration_intercept": 0.0,
        "operating_point": "default", "threshold": 0.5, "registered_at": WHEN,
    },
    "flags": {
        "state": "flagged", "reason": "new", "flagged_at": WHEN, "model_sha256": "model",
        "checkpoint_sha256": "checkpoint", "report_status": "not_mentioned", "threshold": 0.5,
        "known_elsewhere": False, "films": 1,
    },
    "reviews": {"reviewer": "nurse", "decision": "confirm", "reviewed_at": WHEN},
    "heatmaps": {"model_sha256": "model", "rendered_at": WHEN},
    "audits": {
        "audit_id": "audit-1", "reading_number": 1, "inclusion_probability": 0.5, "threshold": 0.5,
        "checkpoint_sha256": "checkpoint", "seed": 1, "drawn_at": WHEN,
    },
    "audit_readings": {"imported_at": WHEN},
    "settings": {
        "capacity": 40, "lookback_before_days": 1826, "lookback_after_days": 365, "set_at": WHEN,
    },
}  # fmt: skip


def parse(table: str) -> tuple[list[str], list[list[str]]]:
    """Column names, with short forms spelt out, and the cells below them."""
    lines = [line.strip() for line in table.strip().splitlines()]
    split = [[cell.strip() for cell in line.split("|")] for line in lines if line.strip()]
    return [SHORT.get(name, name) for name in split[0]], split[1:]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """All relations of sql/ over no parts; binding them takes half a second, once."""
    connection = duckdb.connect()
    connection.execute("create schema parts")
    for folder in FOLDERS:
        _insert(connection, "create table parts.{} as", folder, [])
    create_views(connection)
    return connection


def catalogue(**given: str) -> duckdb.DuckDBPyConnection:
    """All relations of sql/ over the given parts, and no others."""
    connection = _connection()
    for folder in FOLDERS:
        connection.execute(f"truncate parts.{folder}")
        if folder in given:
            _insert(connection, "insert into parts.{}", folder, _rows(folder, given.pop(folder)))
    assert not given, f"no such folders: {list(given)}"
    return connection


def part(folder: str, table: str) -> pa.Table:
    """Rows of a folder, to be written as a part."""
    return pa.Table.from_pylist(_rows(folder, table), schema=FOLDERS[folder])


def _insert(
    connection: duckdb.DuckDBPyConnection, into: str, folder: str, rows: list[dict[str, Any]]
) -> None:
    schema = FOLDERS[folder]
    connection.register("given", pa.Table.from_pylist(rows, schema=schema))
    # As the catalogue has it: times in UTC, without a zone.
    times = ", ".join(
        f"make_timestamp(epoch_us({f.name})) as {f.name}"
        for f in schema
        if pa.types.is_timestamp(f.type)
    )
    connection.execute(f"{into.format(folder)} select * replace ({times}) from given")  # noqa: S608
    connection.unregister("given")


def expect(connection: duckdb.DuckDBPyConnection, relation: str, table: str, **bound: Any) -> None:
    """Compare what a relation (or, with parameters, a query) answers with a table, cell by cell."""
    names, expected = parse(table)
    if bound:
        answer = ask(connection, relation, **bound)
    else:
        answer = fetch(connection, f"select * from {relation}")  # noqa: S608
    found = [[_shown(row[name]) for name in names] for row in answer.to_pylist()]
    if "rank" in names or "order by" in _text(relation, bound):
        assert found == expected
    else:
        assert sorted(found) == sorted(expected)


def _text(relation: str, bound: dict[str, Any]) -> str:
    from vfscreen.results.sql import query

    # Rows of an ordered question are compared in order; a view's order is nobody's promise.
    return query(relation) if bound else ""


def _rows(folder: str, table: str) -> list[dict[str, Any]]:
    names, cells = parse(table)
    schema = FOLDERS[folder]
    common = {name: value for name, value in _COMMON.items() if name in schema.names}
    rows = []
    for number, line in enumerate(cells):
        row = common | DEFAULTS[folder]
        row |= {n: _value(schema.field(n).type, c) for n, c in zip(names, line, strict=True)}
        if folder == "manifest":
            row.setdefault("archive_path", f"file-{number}")
            row.setdefault("instance_key", f"key-{number}")
            row.setdefault("content_fingerprint", "v1")
        rows.append(row)
    return rows


def _value(kind: pa.DataType, cell: str) -> Any:
    if cell == "":
        return None
    if pa.types.is_boolean(kind):
        return {"yes": True, "no": False}[cell]
    if pa.types.is_integer(kind):
        return int(cell)
    if pa.types.is_floating(kind):
        return float(cell)
    if pa.types.is_date(kind):
        return date.fromisoformat(cell)
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat(cell).replace(tzinfo=UTC)
    if pa.types.is_list(kind):
        return cell.split(",")
    return "" if cell == "''" else cell


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return re.sub(r"\.?0+$", "", f"{value:.4f}")
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
