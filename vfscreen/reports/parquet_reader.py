"""Reports from a Parquet file, a few rows at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.config import ReportsConfig
from vfscreen.errors import ReportsError
from vfscreen.reports.columns import present_columns, row_report
from vfscreen.reports.jsonl_reader import nested
from vfscreen.reports.records import BadRecord, ReportRecord, attempt

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS = 1000
"""Rows in memory at a time."""
READ_BYTES = 1 << 20
_BOMB_BYTES, _BOMB_RATIO = 256 << 20, 200
"""A row group that is packed more tightly than text can be is not unpacked."""


def read_parquet(
    path: Path, config: ReportsConfig, label: str
) -> Iterator[ReportRecord | BadRecord]:
    """Stream the rows of a file; only the columns that are mapped are read.

    Raises
    ------
    ReportsError
        Not Parquet, or without a column that is needed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            names = _present(file, label, config)
            row = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group)
                if _is_bomb(size, path.stat().st_size):
                    place = f"rows {row + 1} to {row + size.num_rows}"
                    yield BadRecord(place, "packed more tightly than text can be; not unpacked")
                    row += size.num_rows
                    continue
                columns = list(names.values())
                for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns):
                    for values in _whole_microseconds(batch).to_pylist():
                        row += 1
                        yield _record(row, values, names, config)
    except (pa.ArrowException, ValueError, OSError) as error:
        # Arrow's own words may quote what it read.
        raise ReportsError(f"{label} cannot be read as Parquet ({type(error).__name__}).") from None


def _present(file: "pq.ParquetFile", label: str, config: ReportsConfig) -> dict[str, str]:
    """Our column name -> theirs; a column of a struct by its dotted path."""
    present = [name for name in file.schema_arrow.names if "." not in name]
    leaves = (file.schema.column(i).path for i in range(len(file.schema)))
    return present_columns([*present, *(p for p in leaves if "." in p)], label, config)


def _is_bomb(group: Any, file_bytes: int) -> bool:
    """By the file's size: of a damaged file, pyarrow ends the process when asked for a column's."""
    return int(group.total_byte_size) > max(_BOMB_BYTES, _BOMB_RATIO * file_bytes)


def _whole_microseconds(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """Python's times have no nanoseconds, which pandas writes; a report's do not matter."""
    import pyarrow as pa

    for i, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            plain = batch.column(i).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(i, field.name, plain)
    return batch


def _record(
    row: int, values: dict[str, Any], names: dict[str, str], config: ReportsConfig
) -> ReportRecord | BadRecord:
    ours = {name: nested(values, theirs) for name, theirs in names.items()}
    return attempt(f"row {row}", lambda: row_report(ours, "parquet", config))
