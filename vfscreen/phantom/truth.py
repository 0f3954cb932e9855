"""`truth.parquet` and the reports files: what lies beside the archive, one place for the columns.

Nothing but evaluation reads the truth.
"""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BOX = pa.struct(
    [
        ("level", pa.string()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)

TRUTH = pa.schema(
    [
        ("sop_instance_uid", pa.string()),
        ("study_instance_uid", pa.string()),
        ("patient_id", pa.string()),
        ("accession_number", pa.string()),
        ("vertebral_fracture", pa.bool_()),
        # What the reports in reports.csv say of the study, and whether one says it as history.
        ("report_status", pa.string()),
        ("history", pa.bool_()),
        # The same once reports_late.csv has arrived; differs only from `no_report`.
        ("report_status_late", pa.string()),
        # The fractures, parallel lists.
        ("levels", pa.list_(pa.string())),
        ("grades", pa.list_(pa.int32())),
        ("shapes", pa.list_(pa.string())),
        ("boxes", pa.list_(BOX)),  # film pixels, may reach beyond the film
        ("vertebra_height_px", pa.float32()),
        ("variant", pa.string()),
        ("mimics", pa.list_(pa.string())),
        # Whether this variant is the one of the documented mix, and the anatomy's own seed, which
        # counterfactual studies (and later studies of one patient) share.
        ("drawn", pa.bool_()),
        ("pair", pa.int64()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("transfer_syntax_uid", pa.string()),
        ("eligible", pa.bool_()),  # by the default configuration
    ]
)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of reports.csv: the default columns of `vfscreen reports import`."""

    report_id: str
    accession_number: str
    issuer: str
    study_instance_uid: str
    patient_id: str
    report_datetime: str
    result_status: str
    text: str


def write_truth(path: Path, rows: list[dict[str, object]]) -> None:
    """Write the truth table, a row a film."""
    pq.write_table(pa.Table.from_pylist(rows, schema=TRUTH), path, compression="zstd")


def write_reports(path: Path, rows: Iterable[ReportRow]) -> int:
    """Write a reports CSV (UTF-8, RFC 4180 quoting); return the number of reports."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(ReportRow)], lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(asdict(row))
            count += 1
    return count
