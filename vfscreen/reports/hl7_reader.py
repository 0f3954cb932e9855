"""Reports from HL7 v2 ORU messages.

The grammar is split here and not by a library: of the same messages of 13 segments python-hl7 reads
2,000 a second, hl7apy under 100, this about 15,000; and python-hl7 drops the rest of a text behind
a lone backslash, and logs field contents. Tests hold this reader against python-hl7 on what both
read.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError
from vfscreen.reports.dates import parse_date, parse_datetime
from vfscreen.reports.hl7_stream import Message, read_messages
from vfscreen.reports.hl7_text import Delimiters, delimiters, known_codec, observation_text
from vfscreen.reports.records import (
    BadRecord,
    NotAReport,
    RecordProblemError,
    ReportRecord,
    report_record,
)
from vfscreen.reports.statuses import ADDENDUM, CANCELLED, CORRECTED, FINAL, normal_status

HEADINGS = {
    # OBX-3 suffixes (HL7 v2 chapter 7) and LOINC codes whose OBX is a section of the report.
    "IMP": "IMPRESSION", "19005-8": "IMPRESSION",
    "GDT": "FINDINGS", "59776-5": "FINDINGS", "18782-3": "FINDINGS",
    "REC": "RECOMMENDATION", "18783-1": "RECOMMENDATION",
    "ADT": "ADDENDUM", "55107-7": "ADDENDUM",
    "11329-0": "HISTORY", "18785-6": "INDICATION", "18834-2": "COMPARISON",
}  # fmt: skip
MODALITIES = {"NMR": "MR", "RUS": "US", "OUS": "US", "VUS": "US", "NMS": "NM"}
"""Table 0074 (OBR-24) -> DICOM, where they differ and the meaning is plain; RAD names none."""

_STUDY_UID = "113014"  # DCM code "DICOM Study": an OBX whose value is the study's UID (IHE)
_WITHDRAWN = frozenset("DWX")  # OBX-11: this observation does not count (any longer)
_FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-(\d{1,3})(?:\.(\d{1,2}))?")
_PATIENT_ID_TYPES = ("MR", "PI", "PT", "")

Segment = list[str]


@dataclass(slots=True)
class _Group:
    """An order of a message with its observations."""

    patient: Segment
    segments: dict[str, Segment]
    """The first OBR, ORC, ZDS and IPC."""
    observations: list[Segment] = field(default_factory=list)
    also: "list[_Group]" = field(default_factory=list)
    """Other orders that this one's report is over."""


def read_hl7(
    path: Path, config: ReportsConfig, label: str
) -> Iterator[ReportRecord | BadRecord | NotAReport]:
    """Stream the reports of a file of messages; memory is bounded by the longest message.

    Raises
    ------
    ReportsError
        The file cannot be read.
    ConfigError
        `reports.encoding` or `reports.hl7_accession` cannot be.
    """
    if not known_codec(config.encoding):
        raise ConfigError(f"`reports.encoding`: there is no encoding {config.encoding!r}.")
    accession = [_field_of(name) for name in config.hl7_accession]
    for item in read_messages(path, label):
        if isinstance(item, BadRecord):
            yield item
            continue
        try:
            reports = _reports(item, config, accession)
        except RecordProblemError as problem:
            yield BadRecord(item.place, str(problem))
            continue
        yield from reports
        if not reports:
            yield NotAReport()


def _field_of(name: str) -> tuple[str, int, int]:
    match = _FIELD.fullmatch(name.strip())
    if not match:
        raise ConfigError(
            f"`reports.hl7_accession`: write a field as `OBR-18` or `OBR-18.1`, not `{name}`."
        )
    return match[1], int(match[2]), int(match[3] or 1)


def _reports(
    message: Message, config: ReportsConfig, accession: list[tuple[str, int, int]]
) -> list[ReportRecord]:
    """The reports of a message; none of one that is no ORU."""
    marks = delimiters(message.segments[0], config.encoding)
    text = "\r".join(message.segments)
    # ISO 2022 writes everything in ASCII, behind escape characters.
    if not message.decoded and not (text.isascii() and "\x1b" not in text):
        try:
            text = text.encode("latin-1").decode(marks.codec)
        except UnicodeError:
            raise RecordProblemError(
                f"not {marks.codec}; the sender should set MSH-18, or the site reports.encoding"
            ) from None
    segments = [part.split(marks.field) for part in text.split("\r")]
    # MSH-1 is the delimiter itself: what comes after it lies one place further on.
    header = [segments[0][0], marks.field, *segments[0][1:]]
    kind = _at(header, 9).partition(marks.component)[0].strip()
    if not kind:
        raise RecordProblemError("MSH-9 names no kind of message")
    if kind != "ORU":
        return []
    drafts = _drafts(_groups(segments), marks)
    if not drafts:
        raise RecordProblemError("no OBR segment")
    return [_report(draft, header, marks, config, accession) for draft in drafts]


def _at(segment: Segment, number: int) -> str:
    """A field; HL7's explicit null, two double quotes, is empty."""
    value = segment[number] if number < len(segment) else ""
    return "" if value == '""' else value


def _groups(segments: list[Segment]) -> list[_Group]:
    """Orders in the order of the message; an ORC goes with the OBR behind it."""
    groups: list[_Group] = []
    patient: Segment = []
    order: Segment = []
    for segment in segments[1:]:
        name = segment[0]
        if name == "PID":
            patient = segment
        elif name == "ORC":
            order = segment
        elif name == "OBR":
            groups.append(_Group(patient, {"OBR": segment, "ORC": order, "PID": patient}))
            order = []
        elif name == "OBX" and groups:
            groups[-1].observations.append(segment)
        elif name in ("ZDS", "IPC") and groups:
            groups[-1].segments.setdefault(name, segment)
    return groups


@dataclass(slots=True)
class _Draft:
    """What will be one report: an order, and its lines of text."""

    group: _Group
    report_id: str
    status: str
    lines: list[str]


def _drafts(groups: list[_Group], marks: Delimiters) -> list[_Draft]:
    """One report an order with text; orders without any are of the next report, else the last.

    Orders of one filler number and status (a report sent section by section) are one report.
    """
    drafts: dict[tuple[str, str], _Draft] = {}
    waiting: list[_Group] = []
    last: _Draft | None = None
    for place, group in enumerate(groups):
        status = _status(group)
        lines = _lines(group, marks)
        if not lines and normal_status(status) != CANCELLED:
            waiting.append(group)
            continue
        report_id = _entity(group, marks)
        key = (report_id or str(place), status)
        if key in drafts:
            drafts[key].lines += lines
            drafts[key].group.also.append(group)
        else:
            drafts[key] = _Draft(group, report_id, status, lines)
        last = drafts[key]
        last.group.also += _same_patient(waiting, group)
        waiting = [other for other in waiting if other.patient is not group.patient]
    if last is None and groups:  # no text anywhere: one bad record
        last = _Draft(waiting.pop(0), "", "", [])
        drafts["", ""] = last
    if last is not None:
        last.group.also += _same_patient(waiting, last.group)
    return list(drafts.values())


def _same_patient(groups: list[_Group], group: _Group) -> list[_Group]:
    return [other for other in groups if other.patient is group.patient]


def _entity(group: _Group, marks: Delimiters) -> str:
    """The filler's number of the report, else the placer's, with who assigned it."""
    for number in (3, 2):
        for segment in (group.segments["OBR"], group.segments["ORC"]):
            parts = marks.components(_at(segment, number))
            if parts[0]:
                return "^".join(part for part in parts[:2] if part)
    return ""


def _status(group: _Group) -> str:
    """OBR-25, made more precise by OBX-11: a final report of corrected lines is corrected."""
    given = _at(group.segments["OBR"], 25).strip()
    of_lines = {_at(segment, 11).strip().upper() for segment in group.observations} - {""}
    if of_lines and of_lines <= _WITHDRAWN:
        return CANCELLED
    of_lines -= _WITHDRAWN
    if not given or normal_status(given) == FINAL:
        for better, codes in ((CORRECTED, {"C"}), (ADDENDUM, {"A"})):
            if not codes.isdisjoint(of_lines):
                return better
    if given:
        return given
    return of_lines.pop() if len(of_lines) == 1 else ""


def _lines(group: _Group, marks: Delimiters) -> list[str]:
    """The text of an order, an OBX a line, with a heading where OBX-3 begins a section."""
    lines: list[str] = []
    heading = None
    unread: RecordProblemError | None = None
    for segment in group.observations:
        if _at(segment, 11).strip().upper() in _WITHDRAWN:
            continue
        kind, value = _at(segment, 2).strip().upper(), _at(segment, 5)
        if _is_study_uid(segment, marks):
            continue
        try:
            text = observation_text(kind, value, marks)
        except RecordProblemError as problem:  # a PDF beside the text it was made of
            unread = problem
            continue
        if text is None:
            continue
        section = _heading(_at(segment, 3), marks)
        # Findings that come first need no heading: they may be the whole report, with its own.
        named = section is not None and bool(text) and (bool(lines) or section != "FINDINGS")
        if named and section != heading and not text.lstrip().upper().startswith(str(section)):
            lines.append(f"{section}:")
        heading = section
        lines.append(text)
    if not any(line.strip() for line in lines):
        if unread is not None:
            raise unread
        return []
    return lines


def _heading(identifier: str, marks: Delimiters) -> str | None:
    code = identifier.partition(marks.component)[0]
    return HEADINGS.get(code.rpartition(marks.subcomponent)[2].strip().upper())


def _is_study_uid(segment: Segment, marks: Delimiters) -> bool:
    return _at(segment, 3).partition(marks.component)[0].strip() == _STUDY_UID


def _report(
    draft: _Draft,
    header: Segment,
    marks: Delimiters,
    config: ReportsConfig,
    accession: list[tuple[str, int, int]],
) -> ReportRecord:
    group = draft.group
    orders = [group, *group.also]
    order = group.segments["OBR"]
    numbers = [_accession(one, marks, accession) for one in orders]
    patient_id, patient_issuer = _patient(group.patient, marks)
    text = "\n".join(draft.lines)
    sent = _at(order, 22) or _at(header, 7)
    when = _moment(sent, marks)
    report_id = draft.report_id or None
    if report_id and normal_status(draft.status, config.statuses) == ADDENDUM:
        # An addendum may hold nothing but itself: it must not take the place of its report.
        which = when.isoformat() if when else hashlib.sha256(text.encode()).hexdigest()[:16]
        report_id = f"{report_id}:addendum:{which}"
    section = marks.components(_at(order, 24))[0].upper()
    return report_record(
        config,
        "hl7",
        text,
        report_id=report_id,
        accession_numbers=[number for number, _ in numbers],
        issuer=numbers[0][1],
        study_instance_uids=[uid for one in orders for uid in _study_uids(one, marks)],
        patient_id=patient_id,
        issuer_of_patient_id=patient_issuer,
        study_date=parse_date(marks.components(_at(order, 7))[0]),
        modality=MODALITIES.get(section, section if section != "RAD" else ""),
        author_role=_author_role(order),
        report_datetime=when,
        result_status=draft.status,
    )


def _accession(
    group: _Group, marks: Delimiters, fields: list[tuple[str, int, int]]
) -> tuple[str, str]:
    """Accession number and issuer of an order: the first of the configured fields that is there."""
    for name, number, component in fields:
        parts = [*marks.components(_at(group.segments.get(name, []), number)), ""]
        if component <= len(parts) and parts[component - 1]:
            return parts[component - 1], parts[1] if component == 1 else ""
    return "", ""


def _study_uids(group: _Group, marks: Delimiters) -> Iterator[str]:
    yield marks.components(_at(group.segments.get("ZDS", []), 1))[0]
    yield marks.components(_at(group.segments.get("IPC", []), 3))[0]
    for segment in group.observations:
        if _is_study_uid(segment, marks):
            yield marks.components(_at(segment, 5))[0]


def _patient(segment: Segment, marks: Delimiters) -> tuple[str, str]:
    """PID-3: the medical record number with its assigning authority; PID-2 where it is empty."""
    given = _at(segment, 3) or _at(segment, 2)
    best: tuple[int, str, str] | None = None
    for repetition in given.split(marks.repetition):
        parts = [*repetition.split(marks.component), *[""] * 5]
        number, kind = marks.plain(parts[0]).strip(), parts[4].strip().upper()
        rank = _PATIENT_ID_TYPES.index(kind) if kind in _PATIENT_ID_TYPES else 9
        if number and number != '""' and (best is None or rank < best[0]):
            authority = (marks.plain(p).strip() for p in parts[3].split(marks.subcomponent))
            best = rank, number, next((part for part in authority if part), "")
    return ("", "") if best is None else best[1:]


def _author_role(order: Segment) -> str | None:
    if _at(order, 32).strip():
        return "principal result interpreter"
    return "assistant result interpreter" if _at(order, 33).strip() else None


def _moment(value: str, marks: Delimiters) -> datetime | None:
    return parse_datetime(marks.components(value)[0])
