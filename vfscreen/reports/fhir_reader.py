"""Reports from FHIR R4 DiagnosticReport resources.

Read as plain JSON: the models of fhir.resources refuse a whole report for an unknown element, an
`issued` without a zone or a missing `code`, none of which a list of patients needs, and take twenty
times as long.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfscreen.config import ReportsConfig
from vfscreen.reports.dates import parse_date, parse_datetime
from vfscreen.reports.fhir_stream import Resource, read_resources
from vfscreen.reports.html_text import html_text
from vfscreen.reports.records import (
    BadRecord,
    RecordProblemError,
    ReportRecord,
    attempt,
    report_record,
)
from vfscreen.reports.statuses import ADDENDUM

WINDOW, WINDOW_BYTES = 10_000, 32 << 20
"""Reports that wait for the resources they refer to; the file is read again once a window."""

_KEPT = frozenset(
    {"resourceType", "id", "identifier", "code", "status", "valueString", "valueCodeableConcept",
     "component", "modality"}
)  # fmt: skip
_EXTENSION = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-"
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*)){3,}")
_MAX_UID_CHARACTERS = 64
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_WRONG = frozenset({"entered-in-error", "cancelled"})

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Report:
    """A DiagnosticReport with what it refers to: reference -> resource."""

    body: Body
    found: dict[str, Body]

    def resolved(self, reference: Any) -> Body:
        """The resource of a Reference, of this report or of its file; empty where it is nowhere."""
        name = _text(reference, "reference") or ""
        if name.startswith("#"):
            contained = (item for item in _list(self.body, "contained") if isinstance(item, dict))
            return next((item for item in contained if item.get("id") == name[1:]), {})
        return self.found.get(name) or self.found.get(_local(name)) or {}

    def all(self, *names: str) -> Iterator[Body]:
        """References of the report, of several elements."""
        for name in names:
            value = self.body.get(name)
            yield from (v for v in (value if isinstance(value, list) else [value]) if v)


def read_fhir(path: Path, config: ReportsConfig, label: str) -> Iterator[ReportRecord | BadRecord]:
    """Stream the DiagnosticReports of an NDJSON file or a Bundle.

    Resources that a report refers to are found within it, or anywhere in the same file. Memory is
    bounded by `WINDOW` reports and the largest resource.

    Raises
    ------
    ReportsError
        The file cannot be read.
    """
    waiting: list[Resource] = []
    size = 0
    alone = True  # nothing but reports so far
    for item in read_resources(path, label):
        if isinstance(item, BadRecord):
            yield item
        elif item.kind != "DiagnosticReport":
            alone = False
        elif not any(_references(item.body)):
            yield from _settled([item], {}, config)
        else:
            waiting.append(item)
            size += item.size_bytes
            if len(waiting) == WINDOW or size > WINDOW_BYTES:
                yield from _settled(waiting, _referred(waiting, path, label), config)
                waiting, size = [], 0
    found = {} if alone else _referred(waiting, path, label)
    yield from _settled(waiting, found, config)


def _referred(reports: list[Resource], path: Path, label: str) -> dict[str, Body]:
    """Resources of the file that the reports refer to."""
    wanted = {name for report in reports for name in _references(report.body)}
    found: dict[str, Body] = {}
    if not wanted:
        return found
    for item in read_resources(path, label):
        if isinstance(item, Resource) and item.kind != "DiagnosticReport":
            for name in wanted.intersection(item.names()):
                found[name] = {k: v for k, v in item.body.items() if k in _KEPT}
    return found


def _references(body: Body) -> Iterator[str]:
    report = _Report(body, {})
    elements = ("subject", "basedOn", "imagingStudy", "study", "resultsInterpreter", "performer")
    for reference in report.all(*elements, *(() if _attached(body) else ("result",))):
        name = _text(reference, "reference")
        if name and not name.startswith("#"):
            yield name
            yield _local(name)


def _local(name: str) -> str:
    """`Type/id` of an absolute or versioned reference."""
    return "/".join(name.split("/_history/", 1)[0].rsplit("/", 2)[-2:])


def _settled(
    waiting: list[Resource], found: dict[str, Body], config: ReportsConfig
) -> Iterator[ReportRecord | BadRecord]:
    for item in waiting:
        report = _Report(item.body, found)
        yield attempt(item.place, lambda report=report: _record(report, config))  # type: ignore[misc]


def _record(report: _Report, config: ReportsConfig) -> ReportRecord:
    body = report.body
    status = _text(body, "status")
    extensions = {
        str(item.get("url", "")).removeprefix(_EXTENSION): item.get("valueReference")
        for item in _list(body, "extension")
        if isinstance(item, dict) and str(item.get("url", "")).startswith(_EXTENSION)
    }
    if "addendumOf" in extensions and status not in _WRONG:
        status = ADDENDUM
    accessions = list(_accessions(report, config))
    patient, patient_issuer = _patient(report)
    own_id = _text(body, "id")
    when = _text(body, "issued") or _text(body.get("meta"), "lastUpdated")
    studies = [report.resolved(reference) for reference in report.all("imagingStudy", "study")]
    modalities = {_text(item, "code") for study in studies for item in _list(study, "modality")}
    day = _text(body, "effectiveDateTime") or _text(body.get("effectivePeriod"), "start")
    return report_record(
        config,
        "fhir",
        "" if status in _WRONG else _report_text(report, config),
        report_id=f"DiagnosticReport/{own_id}" if own_id else None,
        accession_numbers=[number for number, _ in accessions],
        issuer=accessions[0][1] if accessions else None,
        study_instance_uids=_study_uids(report),
        patient_id=patient,
        issuer_of_patient_id=patient_issuer,
        study_date=parse_date(day) if day else None,
        modality=modalities.pop() if len(modalities) == 1 else None,
        author_role=_author_role(report),
        report_datetime=parse_datetime(when) if when else None,
        result_status=status,
        replaces=[_local(_text(extensions.get("replaces"), "reference") or "")],
    )


def _report_text(report: _Report, config: ReportsConfig) -> str:
    """`presentedForm`, else Observations and `conclusion`, else the narrative."""
    attached = _attached(report.body)
    if attached:
        return "\n\n".join(_decoded(item, kind, config) for item, kind in attached)
    parts = []
    for reference in report.all("result"):
        parts += _observation(report.resolved(reference))
    conclusion = _text(report.body, "conclusion")
    if conclusion:
        parts.append(f"CONCLUSION:\n{conclusion}" if parts else conclusion)
    if parts:
        return "\n".join(parts)
    markup = _text(report.body.get("text"), "div") or ""
    text = html_text(markup) if len(markup) <= 4 * config.max_text_characters else ""
    if not text and (kinds := sorted({_kind(f) for f in _forms(report.body)} - {""})):
        raise RecordProblemError(f"no text, only {', '.join(kinds)[:100]}, which is not read")
    return text


def _forms(body: Body) -> list[Body]:
    return [form for form in _list(body, "presentedForm") if isinstance(form, dict)]


def _attached(body: Body) -> list[tuple[Body, str]]:
    """Attachments with their kind: all plain texts, else the first HTML."""
    readable = [(form, _kind(form)) for form in _forms(body) if _text(form, "data")]
    plain = [item for item in readable if item[1] == "text/plain"]
    return plain or [item for item in readable if item[1] in _HTML][:1]


_HTML = frozenset({"text/html", "application/xhtml+xml"})


def _kind(form: Body) -> str:
    """The media type, in lower case and without parameters; nothing that could be a name."""
    kind = (_text(form, "contentType") or "").partition(";")[0].strip().lower()
    return kind if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", kind) else ""


def _decoded(form: Body, kind: str, config: ReportsConfig) -> str:
    raw = "".join((_text(form, "data") or "").split())
    if len(raw) > 16 * config.max_text_characters:  # base64 of four bytes a character, of markup
        raise RecordProblemError("text longer than reports.max_text_characters")
    charset = _CHARSET.search(_text(form, "contentType") or "")
    try:
        text = base64.b64decode(raw, validate=True).decode(charset[1] if charset else "utf-8-sig")
    except binascii.Error:
        raise RecordProblemError("an attachment that is not base64") from None
    except (UnicodeError, LookupError):
        raise RecordProblemError("an attachment in another character set") from None
    return html_text(text) if kind in _HTML else text.replace("\r\n", "\n").replace("\r", "\n")


def _observation(body: Body) -> list[str]:
    """An Observation as a heading and its text; one that was withdrawn is not there."""
    if _text(body, "status") in _WRONG:
        return []
    lines = []
    for part in (body, *(p for p in _list(body, "component") if isinstance(p, dict))):
        value = _text(part, "valueString") or _words(part.get("valueCodeableConcept"))
        if value:
            heading = _words(part.get("code"))
            lines += [f"{heading}:", value] if heading else [value]
    return lines


def _words(concept: Any) -> str:
    codings = [c for c in _list(concept, "coding") if isinstance(c, dict)]
    displays = (_text(coding, "display") for coding in codings)
    return _text(concept, "text") or next((d for d in displays if d), "")


def _accessions(report: _Report, config: ReportsConfig) -> Iterator[tuple[str, str]]:
    """Accession numbers with their issuers: the report's own, its orders', its studies'."""
    for identifier in _identifiers(report, report.body, ("basedOn", "imagingStudy", "study")):
        system = _text(identifier, "system")
        typed = "ACSN" in _codes(identifier.get("type"))
        if typed or (system and system == config.fhir_accession_system):
            number = _text(identifier, "value")
            if number:
                yield number, _assigner(identifier)


def _study_uids(report: _Report) -> Iterator[str]:
    for reference in report.all("imagingStudy", "study"):
        study = report.resolved(reference)
        named = reference.get("identifier") if isinstance(reference, dict) else None
        for identifier in (*_list(study, "identifier"), named):
            value = _text(identifier, "value") or ""
            if value.startswith("urn:oid:") or _text(identifier, "system") == "urn:dicom:uid":
                yield value.removeprefix("urn:oid:")
        name = _local(_text(reference, "reference") or "").rpartition("/")[2]
        if len(name) <= _MAX_UID_CHARACTERS and _UID.fullmatch(name):
            yield name


def _identifiers(report: _Report, body: Body, references: Iterable[str]) -> Iterator[Body]:
    """Identifiers of a resource, of its references, and of what these refer to."""
    given = list(_list(body, "identifier"))
    for reference in report.all(*references):
        if isinstance(reference, dict):
            given += [reference.get("identifier"), *_list(report.resolved(reference), "identifier")]
    yield from (item for item in given if isinstance(item, dict))


def _patient(report: _Report) -> tuple[str | None, str | None]:
    """The medical record number (type MR), else the first identifier."""
    subject = report.body.get("subject")
    given = [subject.get("identifier")] if isinstance(subject, dict) else []
    given += _list(report.resolved(subject), "identifier")
    known = [item for item in given if isinstance(item, dict) and _text(item, "value")]
    for identifier in sorted(known, key=lambda item: "MR" not in _codes(item.get("type"))):
        return _text(identifier, "value"), _assigner(identifier)
    return None, None


def _assigner(identifier: Body) -> str:
    assigner = identifier.get("assigner")
    inner = assigner.get("identifier") if isinstance(assigner, dict) else None
    return _text(inner, "value") or _text(assigner, "display") or ""


def _codes(concept: Any) -> set[str | None]:
    return {_text(coding, "code") for coding in _list(concept, "coding")}


def _author_role(report: _Report) -> str | None:
    for reference in report.all("resultsInterpreter", "performer"):
        body = report.resolved(reference)
        for concept in _list(body, "code"):
            if words := _words(concept):
                return words
    return None


def _list(body: Any, name: str) -> list[Any]:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, list) else []


def _text(body: Any, name: str) -> str | None:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) and value.strip() else None
