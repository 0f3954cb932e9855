"""What lies beside the archive: truth, reports, labels and marks, one place for the columns.

Labels and marks are what a site would have to train on; nothing but evaluation reads the truth.
"""

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One line of labels.csv: a film for presentation, and whether it shows the finding."""

    sop_instance_uid: str
    vertebral_fracture: int


@dataclass(frozen=True, slots=True)
class MarkRow:
    """One line of marks.csv: a vertebra on a film, in pixels of the stored image.

    `finding` is `vertebral_fracture` for a row a fractured vertebra, and `vertebra` for a row a
    visible vertebra, fractured or not. The box ends at the film's edge; (x, y) is its centre.
    """

    sop_instance_uid: str
    finding: str
    level: str
    x0: float
    y0: float
    x1: float
    y1: float
    x: float
    y: float


def write_truth(path: Path, rows: list[dict[str, object]]) -> None:
    """Write the truth table, a row a film."""
    pq.write_table(pa.Table.from_pylist(rows, schema=TRUTH), path, compression="zstd")


def write_rows(
    path: Path, kind: "type[DataclassInstance]", rows: "Iterable[DataclassInstance]"
) -> int:
    """Write rows of one kind as CSV (UTF-8, RFC 4180 quoting); return how many there were."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(kind)], lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(asdict(row))
            count += 1
    return count
