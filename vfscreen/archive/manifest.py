"""Manifest rows: what was found and read, judged, as Arrow tables.

Headers become Arrow rows in batches, so that a first scan of a million files holds a few thousand
of them as Python objects.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.archive.eligibility import ExclusionReason, exclusion
from vfscreen.archive.header import Header, HeaderFailure, NotDicom, read_header
from vfscreen.archive.walk import FoundFile, locate
from vfscreen.config import EligibilityConfig
from vfscreen.errors import FailureReason
from vfscreen.results.schemas import MANIFEST

Bools = NDArray[np.bool_]

ELIGIBLE = "eligible"
BATCH_ROWS = 8192

_HEADER_COLUMNS = tuple(f.name for f in fields(Header))
_header_values = attrgetter(*_HEADER_COLUMNS)
_WRITTEN = (
    "archive_path", "size_bytes", "mtime_ns", "content_fingerprint", "instance_key",
    "exclusion_reason", "failure_reason", *_HEADER_COLUMNS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row of one scan carries."""

    archive_root: str
    eligibility_sha256: str
    run_id: str
    hash_key: Callable[[str], str]
    scanned_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Described:
    """One file with what its header says and what follows from it."""

    file: FoundFile
    opened: bool
    header: Header = field(default_factory=Header)
    content_fingerprint: str | None = None
    exclusion_reason: ExclusionReason | None = None
    failure_reason: FailureReason | None = None


def describe(file: FoundFile, archive_root: str, config: EligibilityConfig) -> Described:
    """Read and judge one file; pipes, sockets and devices are never opened.

    A film that could not be screened anyway (a truncated chest) counts as excluded, not as failed:
    a failure is something that somebody should look into.
    """
    if file.failure is not None:
        return Described(file, False, failure_reason=file.failure)
    if not file.regular:
        return Described(file, False, exclusion_reason=ExclusionReason.NOT_DICOM)
    outcome = read_header(locate(archive_root, file.archive_path))
    if isinstance(outcome, NotDicom):
        return Described(file, True, exclusion_reason=ExclusionReason.NOT_DICOM)
    if isinstance(outcome, HeaderFailure):
        header, fingerprint = outcome.header, outcome.content_fingerprint
        reason = None if header is None else exclusion(header, config)
        if reason == ExclusionReason.NOT_AN_IMAGE:  # not known where the header is cut short
            reason = None
        failure = outcome.reason if reason is None else None
        return Described(file, True, header or Header(), fingerprint, reason, failure)
    header, fingerprint = outcome
    return Described(file, True, header, fingerprint, exclusion(header, config))


def table(described: Iterable[Described], stamp: Stamp) -> pa.Table:
    """Manifest rows of files that were described, before duplicates are known."""
    rows = [
        (
            d.file.archive_path,
            d.file.size_bytes,
            d.file.mtime_ns,
            d.content_fingerprint,
            stamp.hash_key(d.header.sop_instance_uid or d.file.archive_path),
            d.exclusion_reason,
            d.failure_reason,
            *_header_values(d.header),
        )
        for d in described
    ]
    if not rows:
        return MANIFEST.empty_table()
    values = dict(zip(_WRITTEN, map(list, zip(*rows, strict=True)), strict=True))
    columns = {name: _exact(v, MANIFEST.field(name).type) for name, v in values.items()}
    columns["archive_root"] = constant(stamp.archive_root, pa.string(), len(rows))
    facts = pa.table({n: columns.get(n, constant(None, t, len(rows))) for n, t in _types()})
    return decided(facts, objects(values["exclusion_reason"]), stamp)


def decided(rows: pa.Table, reasons: NDArray[np.object_], stamp: Stamp) -> pa.Table:
    """The rows with exclusion reasons (str or None) and all that follows written into them."""
    exclusion_reason = pa.array(reasons, pa.string(), from_pandas=False)
    unexcluded = pc.is_null(exclusion_reason)
    constants = {
        "eligibility_sha256": stamp.eligibility_sha256,
        "run_id": stamp.run_id,
        "scanned_at": stamp.scanned_at,
    }
    columns: dict[str, Any] = {
        "eligible": pc.and_(unexcluded, pc.is_null(rows["failure_reason"])),
        "exclusion_reason": exclusion_reason,
    }
    for name, value in constants.items():
        columns[name] = constant(value, MANIFEST.field(name).type, rows.num_rows)
    arrays = [columns.get(name, rows[name]) for name in MANIFEST.names]
    return pa.Table.from_arrays(arrays, schema=MANIFEST)


def constant(value: Any, kind: pa.DataType, count: int) -> pa.ChunkedArray:
    """One value `count` times over, in chunks that share their memory."""
    block = _block(value, kind)
    whole, rest = divmod(count, BATCH_ROWS)
    return pa.chunked_array([*[block] * whole, block.slice(0, rest)], kind)


@lru_cache(maxsize=64)
def _block(value: Any, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), BATCH_ROWS)


def _exact(values: list[Any], kind: pa.DataType) -> pa.Array:
    """An array that takes no more memory than its values.

    Arrow's default allocator leaves an array that was built value by value up to twice its size,
    the C library's does not: of a million rows, 400 MB. A column without values takes none.
    """
    array = pa.array(values, kind, memory_pool=pa.system_memory_pool())
    return constant(None, kind, len(values)) if array.null_count == len(values) else array


def vanished(rows: pa.Table, stamp: Stamp) -> pa.Table:
    """Rows that say of known files that they are gone."""
    at = MANIFEST.get_field_index("failure_reason")
    rows = rows.set_column(at, MANIFEST.field(at), pa.nulls(rows.num_rows, pa.string()))
    return decided(rows, objects([ExclusionReason.VANISHED] * rows.num_rows), stamp)


def judged_again(
    known: pa.Table, index: NDArray[np.int64], config: EligibilityConfig
) -> NDArray[np.object_]:
    """Exclusion reasons of the known rows at `index` by another configuration.

    What was not DICOM, or has a failure, stays so.
    """
    asked = known.select([*_HEADER_COLUMNS, "exclusion_reason", "failure_reason"])
    reasons: list[str | None] = []
    for start in range(0, len(index), BATCH_ROWS):
        for row in asked.take(pa.array(index[start : start + BATCH_ROWS])).to_pylist():
            reason, failure = row.pop("exclusion_reason"), row.pop("failure_reason")
            if reason != ExclusionReason.NOT_DICOM and failure is None:
                row["image_type"] = row["image_type"] and tuple(row["image_type"])
                reason = exclusion(Header(**row), config)
            reasons.append(reason)
    return objects(reasons)


def states(reasons: NDArray[np.object_], failure_reason: pa.ChunkedArray) -> Counter[str]:
    """Files by state: failure reason, else exclusion reason, else eligible."""
    state = pc.coalesce(failure_reason, pa.array(reasons, pa.string()), pa.scalar(ELIGIBLE))
    return Counter({v["values"]: v["counts"] for v in pc.value_counts(state).to_pylist()})


def conform(known: pa.Table | None) -> pa.Table:
    """A manifest table in our column order and types; columns that a reader lacks are null."""
    if known is None:
        return MANIFEST.empty_table()
    arrays = [
        known[name].cast(kind) if name in known.column_names else pa.nulls(known.num_rows, kind)
        for name, kind in _types()
    ]
    return pa.Table.from_arrays(arrays, schema=MANIFEST)


def objects(values: list[Any]) -> NDArray[np.object_]:
    """Strings (enum members as plain ones) and None as an object array."""
    array = np.empty(len(values), object)
    array[:] = [None if value is None else str(value) for value in values]
    return array


def numpy(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """An Arrow column without nulls as a NumPy array."""
    return np.asarray(column)


def _types() -> list[tuple[str, pa.DataType]]:
    return [(column.name, column.type) for column in MANIFEST]
