"""Reports from DICOM Structured Reports: Basic Text, Enhanced, Comprehensive (PS3.3 A.35)."""

import warnings
import zlib
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfscreen.config import ReportsConfig
from vfscreen.errors import FailureReason
from vfscreen.reports.dates import parse_date, parse_datetime
from vfscreen.reports.records import (
    BadRecord,
    NotAReport,
    RecordProblemError,
    ReportRecord,
    report_record,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SR_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in (11, 22, 33, 34, 35))
"""Basic Text, Enhanced, Comprehensive, Comprehensive 3D, Extensible; not key objects, dose, CAD."""
MAX_FILE_BYTES = 64 << 20
"""A larger file is no text report; nor is what a deflated one unpacks to."""
MAX_DEPTH = 64

_DEFLATED = "1.2.840.10008.1.2.1.99"
_WHOLE = "whole file"
# Who, when, in which language and under which circumstances: not what the report says.
_CONTEXT = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"})
_OBSERVER_ROLE = "121011"  # DCM: Person Observer's Role in this Procedure
# Concept names of a TEXT that say nothing, or nothing beyond the heading of their container.
_EMPTY = frozenset({"text", "report", "report text", "narrative"})
_REPEATED = frozenset({"finding", "impression", "conclusion", "recommendation"})


def read_sr(
    path: Path, config: ReportsConfig, label: str = ""
) -> Iterator[ReportRecord | BadRecord | NotAReport]:
    """The one report of a file; nothing that a file holds raises out of here.

    The report's id is its SOP instance UID.
    """
    try:
        with warnings.catch_warnings():
            # pydicom's warnings quote values.
            warnings.simplefilter("ignore")
            yield _read(path, config)
    except RecordProblemError as problem:
        yield BadRecord(_WHOLE, str(problem))
    except FileNotFoundError:
        yield BadRecord(_WHOLE, "no longer there", reason=FailureReason.UNREADABLE_FILE)
    except OSError as error:
        reason = FailureReason.UNREADABLE_FILE
        yield BadRecord(_WHOLE, error.strerror or "cannot be read", reason=reason)
    except Exception as error:  # noqa: BLE001  what a damaged file makes pydicom raise has no end
        yield BadRecord(_WHOLE, f"not readable as DICOM ({type(error).__name__})")


def _read(path: Path, config: ReportsConfig) -> ReportRecord | NotAReport:
    import pydicom

    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("MediaStorageSOPClassUID") not in SR_CLASSES:
        return NotAReport()
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise RecordProblemError("a file too large for a text report")
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        _refuse_bomb(data, meta)
    document = pydicom.dcmread(BytesIO(data))
    document.decode()
    return _record(document, config)


def _refuse_bomb(data: bytes, meta: Any) -> None:
    """Unpack a deflated data set (PS3.5 A.5) no further than a report could need."""
    begins = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
    unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[begins:], MAX_FILE_BYTES + 1)
    if len(unpacked) > MAX_FILE_BYTES:
        raise RecordProblemError("a file that unpacks to more than a text report")


def _record(document: "Dataset", config: ReportsConfig) -> ReportRecord:
    uid = _text(document, "SOPInstanceUID")
    if uid is None:
        raise RecordProblemError("SOPInstanceUID is missing")
    requests = list(_items(document, "ReferencedRequestSequence"))
    evidence = list(_items(document, "CurrentRequestedProcedureEvidenceSequence"))
    day = _text(document, "StudyDate")
    issuers = (_issuer(holder) for holder in (document, *requests))
    lines = _Lines()
    lines.add(document, 0)
    status = _status(document)
    text = "\n".join(lines.text)
    if not lines.spoken and status != "cancelled":
        raise RecordProblemError("a structured report without text, of measurements perhaps")
    return report_record(
        config,
        "sr",
        text,
        report_id=uid,
        accession_numbers=[_text(holder, "AccessionNumber") for holder in (document, *requests)],
        issuer=next((issuer for issuer in issuers if issuer), None),
        study_instance_uids=[
            _text(holder, "StudyInstanceUID") for holder in (document, *evidence, *requests)
        ],
        patient_id=_text(document, "PatientID"),
        issuer_of_patient_id=_text(document, "IssuerOfPatientID"),
        study_date=parse_date(day) if day else None,
        author_role=lines.author_role,
        report_datetime=_moment(document),
        result_status=status,
        replaces=[
            _text(instance, "ReferencedSOPInstanceUID")
            for study in _items(document, "PredecessorDocumentsSequence")
            for series in _items(study, "ReferencedSeriesSequence")
            for instance in _items(series, "ReferencedSOPSequence")
        ],
    )


class _Lines:
    """The text of a content tree, depth first: headings of containers, then what they hold."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.spoken = False
        self.author_role: str | None = None

    def add(self, item: "Dataset", depth: int, heading: str = "") -> None:
        """Add a content item and its children (PS3.3 C.17.3)."""
        if depth > MAX_DEPTH:
            raise RecordProblemError("a content tree that is nested too deeply")
        concept = _meaning(item, "ConceptNameCodeSequence")
        kind = _text(item, "ValueType")
        below = heading
        if kind == "CONTAINER" and depth and concept:
            self.text.append(f"{concept}:")
            below = concept
        elif kind == "TEXT":
            self._say(_text(item, "TextValue"), concept, heading, plain=True)
        elif kind == "CODE":
            self._say(_meaning(item, "ConceptCodeSequence"), concept, heading)
        elif kind == "NUM":
            self._say(_measured(item), concept, heading)
        for child in _items(item, "ContentSequence"):
            if (_text(child, "RelationshipType") or "").upper() in _CONTEXT:
                self._note_role(child)
            else:
                self.add(child, depth + 1, below)

    def _say(self, value: str | None, concept: str, heading: str, *, plain: bool = False) -> None:
        if not value:
            return
        self.spoken |= plain
        value = value.replace("\r\n", "\n").replace("\r", "\n")
        name = concept.lower()
        if plain and (name in _EMPTY or name == heading.lower() or (heading and name in _REPEATED)):
            concept = ""
        if not concept:
            self.text.append(value)
        elif plain:
            self.text += [f"{concept}:", value]
        else:
            self.text.append(f"{concept}: {value}")

    def _note_role(self, item: "Dataset") -> None:
        for name in _items(item, "ConceptNameCodeSequence"):
            if _text(name, "CodeValue") == _OBSERVER_ROLE:
                self.author_role = _meaning(item, "ConceptCodeSequence") or None


def _items(holder: "Dataset", keyword: str) -> "Iterator[Dataset]":
    found = holder.get(keyword)
    yield from found if found is not None and not isinstance(found, str) else ()


def _text(holder: "Dataset", keyword: str) -> str | None:
    """A value as text; of several, the first."""
    value = holder.get(keyword)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bytes):
        return None
    if hasattr(value, "__iter__"):
        value = next(iter(value), None)
    return None if value is None else str(value) or None


def _meaning(item: "Dataset", keyword: str) -> str:
    return next((m for code in _items(item, keyword) if (m := _text(code, "CodeMeaning"))), "")


def _measured(item: "Dataset") -> str:
    for measured in _items(item, "MeasuredValueSequence"):
        value = _text(measured, "NumericValue")
        unit = next(_items(measured, "MeasurementUnitsCodeSequence"), None)
        if value:
            return f"{value} {_text(unit, 'CodeValue') or ''}".strip() if unit else value
    return ""


def _issuer(holder: "Dataset") -> str | None:
    for item in _items(holder, "IssuerOfAccessionNumberSequence"):
        return _text(item, "LocalNamespaceEntityID") or _text(item, "UniversalEntityID")
    return None


def _status(document: "Dataset") -> str:
    """PreliminaryFlag where it is given, else completion and verification together."""
    flag = _text(document, "PreliminaryFlag")
    if flag:
        return flag
    completion = _text(document, "CompletionFlag") or ""
    return f"{completion} {_text(document, 'VerificationFlag') or 'UNVERIFIED'}".strip()


def _moment(document: "Dataset") -> datetime | None:
    """The last verification, else when the content was made."""
    zone = _text(document, "TimezoneOffsetFromUTC") or ""
    observers = _items(document, "VerifyingObserverSequence")
    verified = (_text(observer, "VerificationDateTime") for observer in observers)
    moments = [m for value in verified if value and (m := _zoned(value, zone)) is not None]
    if moments:
        return max(moments)
    day = _text(document, "ContentDate")
    return _zoned(day + (_text(document, "ContentTime") or ""), zone) if day else None


def _zoned(value: str, zone: str) -> datetime | None:
    return parse_datetime(value if value[-5:-4] in ("+", "-") else value + zone)
