"""What a reader of reports yields: a report, or the place of a record that is none."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from vfscreen.config import ReportsConfig
from vfscreen.errors import FailureReason
from vfscreen.reports.statuses import CANCELLED, normal_status, pairs

MAX_FIELD_CHARACTERS = 1024
"""Longest identifier: DICOM's LO has 64, FHIR and HL7 systems name namespaces in theirs."""
MAX_STUDIES = 100
"""Studies one report may be over, and reports that it may replace."""


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """One report as its source gives it, fields normalised (stripped, empty as ``None``).

    The columns are those of `results.schemas.REPORTS`.

    Parameters
    ----------
    report_id : str
        The source's own, or one derived by `derived_report_id`.
    accession_number, study_instance_uid : str or None
        The first of each; at least one of them or `patient_id` is there.
    issuer : str or None
        Who issues the accession number.
    also_accession_numbers, also_study_instance_uids : tuple of str
        Further ones, of a report over several studies.
    study_date, modality
        What the report says of the examination.
    author_role : str or None
        As the source spells it; never a name.
    report_datetime : datetime or None
        Always with a time zone. A source that names none is taken as UTC.
    result_status : str or None
        ``preliminary``, ``final``, ``addendum``, ``corrected`` or ``cancelled`` (`statuses`).
    replaces : tuple of str
        Report ids that this one takes the place of.
    text : str
        As dictated, line breaks and all: the labeller's offsets count its characters. Empty only
        where the report is cancelled.
    content_sha256 : str
        Over all fields above: a report that is imported twice unchanged is imported once.
    unknown_status : bool
        The source gives a status that nobody knows.
    """

    report_id: str
    accession_number: str | None
    issuer: str | None
    study_instance_uid: str | None
    patient_id: str | None
    issuer_of_patient_id: str | None
    also_accession_numbers: tuple[str, ...]
    also_study_instance_uids: tuple[str, ...]
    study_date: date | None
    modality: str | None
    author_role: str | None
    report_datetime: datetime | None
    result_status: str | None
    replaces: tuple[str, ...]
    source_format: str
    text: str
    content_sha256: str
    unknown_status: bool = False


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no report: where it is and what is wrong with it, without its content.

    `place` is a line, row, message or entry of its file, from 1; `file_number` counts the files
    of a folder in the order of their names, from 1.
    """

    place: str
    message: str
    file_number: int = 1
    reason: FailureReason = FailureReason.BAD_REPORT_RECORD


@dataclass(frozen=True, slots=True)
class NotAReport:
    """Something whole that is of another kind: an HL7 order, a film, a PDF. Counted, no failure."""


class RecordProblemError(Exception):
    """Why a record is no report, without its content; `attempt` makes a `BadRecord` of it."""


def attempt(place: str, read: Callable[[], ReportRecord]) -> ReportRecord | BadRecord:
    """The record that `read` gives, or the place of the problem that it raises."""
    try:
        return read()
    except RecordProblemError as problem:
        return BadRecord(place, str(problem))


def report_record(
    config: ReportsConfig,
    source_format: str,
    text: str | None,
    *,
    report_id: str | None = None,
    accession_numbers: Iterable[str | None] = (),
    issuer: str | None = None,
    study_instance_uids: Iterable[str | None] = (),
    patient_id: str | None = None,
    issuer_of_patient_id: str | None = None,
    study_date: date | None = None,
    modality: str | None = None,
    author_role: str | None = None,
    report_datetime: datetime | None = None,
    result_status: str | None = None,
    replaces: Iterable[str | None] = (),
) -> ReportRecord:
    """Normalise a report's fields and complete them with its id and the hash of its content.

    Raises
    ------
    RecordProblemError
        No text (of a report that is not cancelled), no key, or a field that is too long.
    """
    status = normal_status(result_status, config.statuses)
    text = _storable(text or "")
    if len(text) > config.max_text_characters:
        raise RecordProblemError("text longer than reports.max_text_characters")
    if not text.strip() and status != CANCELLED:
        raise RecordProblemError("no text")
    accessions, studies = _distinct(accession_numbers), _distinct(study_instance_uids)
    patient_id = _clean(patient_id)
    if not accessions and not studies and patient_id is None:
        raise RecordProblemError("neither accession_number, study_instance_uid nor patient_id")
    issuers = pairs("issuers", config.issuers) if config.issuers else {}
    issuer, issuer_of_patient_id = _clean(issuer), _clean(issuer_of_patient_id)
    issuer = _clean(issuers.get(issuer or "", issuer))
    issuer_of_patient_id = _clean(issuers.get(issuer_of_patient_id or "", issuer_of_patient_id))
    modality, author_role = _clean(modality), _clean(author_role)
    replaced, report_id = _distinct(replaces), _clean(report_id)
    when = report_datetime.isoformat() if report_datetime else None
    if report_id is None:
        report_id = derived_report_id(
            (*accessions, None, issuer, None, *studies, None, patient_id), when, status, text
        )
    content = (
        report_id, *accessions, None, issuer, None, *studies, None, patient_id,
        issuer_of_patient_id, study_date.isoformat() if study_date else None, modality,
        author_role, when, status, *replaced, None, text,
    )  # fmt: skip
    return ReportRecord(
        report_id=report_id,
        accession_number=accessions[0] if accessions else None,
        issuer=issuer if accessions else None,
        study_instance_uid=studies[0] if studies else None,
        patient_id=patient_id,
        issuer_of_patient_id=issuer_of_patient_id,
        also_accession_numbers=accessions[1:],
        also_study_instance_uids=studies[1:],
        study_date=study_date,
        modality=modality.upper() if modality else None,
        author_role=author_role.lower() if author_role else None,
        report_datetime=report_datetime,
        result_status=status,
        replaces=replaced,
        source_format=source_format,
        text=text,
        content_sha256=_sha256(*content),
        unknown_status=status is None and _clean(result_status) is not None,
    )


def derived_report_id(
    keys: tuple[str | None, ...], when: str | None, result_status: str | None, text: str
) -> str:
    """Name a report whose source does not: by its keys and its time.

    A later version of a report then is another report of the same study, which the study's status
    counts anyway. A report without a time is told from its siblings by status and text.
    """
    distinct = (when,) if when else (result_status, text)
    return "derived-" + _sha256(*keys, *distinct)[:32]


def _storable(text: str) -> str:
    """Text that Parquet can hold: no NUL, and nothing in place of half a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text


def _clean(value: str | None) -> str | None:
    value = _storable(value).strip() if value else None
    if value and len(value) > MAX_FIELD_CHARACTERS:
        raise RecordProblemError(f"a field longer than {MAX_FIELD_CHARACTERS:,} characters")
    return value or None


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(v for value in values if (v := _clean(value)) is not None))
    if len(found) > MAX_STUDIES:
        raise RecordProblemError(f"more than {MAX_STUDIES} studies or reports named")
    return found


def _sha256(*fields: str | None) -> str:
    digest = hashlib.sha256()
    for value in fields:
        # Length before content, so that no two lists of fields give the same bytes; "-" is None.
        raw = b"" if value is None else value.encode("utf-8")
        digest.update(b"-;" if value is None else b"%d;" % len(raw))
        digest.update(raw)
    return digest.hexdigest()
