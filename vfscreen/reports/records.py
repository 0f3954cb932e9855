"""What a reader of reports yields: a report, or the place of a record that is none."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from vfscreen.errors import FailureReason


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """One report as its source gives it, fields normalised (stripped, empty as ``None``).

    Parameters
    ----------
    report_id : str
        The source's own, or one derived by `derived_report_id`.
    accession_number, study_instance_uid : str or None
        At least one of them is there.
    issuer : str or None
        Who issues the accession number.
    patient_id : str or None
    report_datetime : datetime or None
        Always with a time zone. A source that names none is taken as UTC.
    result_status : str or None
        As the source spells it, in lower case (``final``, ``f``, ``addendum`` ...).
    text : str
        As dictated, line breaks and all: the labeller's offsets count its characters.
    content_sha256 : str
        Over all fields above: a report that is imported twice unchanged is imported once.
    """

    report_id: str
    accession_number: str | None
    issuer: str | None
    study_instance_uid: str | None
    patient_id: str | None
    report_datetime: datetime | None
    result_status: str | None
    text: str
    content_sha256: str


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no report: where it is and what is wrong with it, without its content.

    `line` is the line of the file on which the record begins, from 1; `file_number` counts the
    files of a folder in the order of their names, from 1.
    """

    line: int
    message: str
    file_number: int = 1
    reason: FailureReason = FailureReason.BAD_REPORT_RECORD


def report_record(
    *,
    report_id: str | None,
    accession_number: str | None,
    issuer: str | None,
    study_instance_uid: str | None,
    patient_id: str | None,
    report_datetime: datetime | None,
    result_status: str | None,
    text: str,
) -> ReportRecord:
    """Complete normalised fields with the report's id and the hash of its content."""
    keys = (accession_number, issuer, study_instance_uid, patient_id)
    when = report_datetime.isoformat() if report_datetime else None
    if report_id is None:
        report_id = derived_report_id(*keys, when, result_status, text)
    return ReportRecord(
        report_id=report_id,
        accession_number=accession_number,
        issuer=issuer,
        study_instance_uid=study_instance_uid,
        patient_id=patient_id,
        report_datetime=report_datetime,
        result_status=result_status,
        text=text,
        content_sha256=_sha256(report_id, *keys, when, result_status, text),
    )


def derived_report_id(
    accession_number: str | None,
    issuer: str | None,
    study_instance_uid: str | None,
    patient_id: str | None,
    when: str | None,
    result_status: str | None,
    text: str,
) -> str:
    """Name a report whose source does not: by its keys and its time.

    A later version of a report then is another report of the same study, which the study's status
    counts anyway. A report without a time is told from its siblings by status and text.
    """
    keys = (accession_number, issuer, study_instance_uid, patient_id)
    distinct = (when,) if when else (result_status, text)
    return "derived-" + _sha256(*keys, *distinct)[:32]


def _sha256(*fields: str | None) -> str:
    digest = hashlib.sha256()
    for value in fields:
        # Length before content, so that no two lists of fields give the same bytes; "-" is None.
        raw = b"" if value is None else value.encode("utf-8", "surrogatepass")
        digest.update(b"-;" if value is None else b"%d;" % len(raw))
        digest.update(raw)
    return digest.hexdigest()
