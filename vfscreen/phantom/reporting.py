"""The reports of one study as rows of the reports file: what they say, their keys, whether late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from vfscreen.phantom.anatomy import Fracture
from vfscreen.phantom.dictation import dictate, draw_report_status
from vfscreen.phantom.headers import Identity
from vfscreen.phantom.mimics import MimicFinding
from vfscreen.phantom.streams import stream
from vfscreen.phantom.truth import ReportRow

NO_REPORT = "no_report"
# From such a delay of the first report on, the study's reports missed the export that
# reports.csv is, and lie in reports_late.csv, all of them.
LATE_DAYS = 2.0
# What the report's row can be matched by; the rest has both keys.
SHARE_ACCESSION_ONLY = 0.25
SHARE_STUDY_UID_ONLY = 0.15
SHARE_ISSUER = 0.7


@dataclass(frozen=True, slots=True)
class StudyReports:
    """What a study's reports say before and after the late ones have arrived, and the rows."""

    status: str
    history: bool
    status_late: str
    rows: tuple[ReportRow, ...]
    late_rows: tuple[ReportRow, ...]


NO_REPORTS = StudyReports(NO_REPORT, False, NO_REPORT, (), ())


def report_study(
    archive_seed: int,
    index: int,
    identity: Identity,
    *,
    fractures: Sequence[Fracture],
    mimics: Sequence[MimicFinding],
    shared_accession: bool,
) -> StudyReports:
    """Dictate the reports of a study of the archive.

    Parameters
    ----------
    archive_seed, index : int
        The archive and the study's place in it.
    identity : Identity
        Whose, and when.
    fractures, mimics
        What its film shows.
    shared_accession : bool
        Another site has given the same accession number: only the issuer tells them apart.
    """
    rng = stream(archive_seed, "reports", index)
    status, history = draw_report_status(rng, bool(fractures))
    if status == NO_REPORT:
        return NO_REPORTS
    dictated = dictate(
        rng,
        fractures=fractures,
        mimics=mimics,
        age_years=identity.age_years,
        sex=identity.sex,
        status=status,
        history=history,
    )
    rng = stream(archive_seed, "report rows", index)
    key = rng.random()
    has_accession = shared_accession or key >= SHARE_STUDY_UID_ONLY
    has_study_uid = not SHARE_STUDY_UID_ONLY <= key < SHARE_STUDY_UID_ONLY + SHARE_ACCESSION_ONLY
    has_issuer = has_accession and (shared_accession or rng.random() < SHARE_ISSUER)
    read = identity.study_datetime + timedelta(minutes=int(rng.integers(20, 600)))
    rows = tuple(
        ReportRow(
            report_id=f"R{archive_seed % 1000:03d}{index:06d}{number}",
            accession_number=identity.accession_number if has_accession else "",
            issuer=identity.issuer if has_issuer else "",
            study_instance_uid=str(identity.study_instance_uid) if has_study_uid else "",
            patient_id=identity.patient_id,
            report_datetime=(read + timedelta(days=report.delay_days)).isoformat(
                timespec="seconds"
            ),
            result_status=report.kind,
            text=report.text,
        )
        for number, report in enumerate(dictated, start=1)
    )
    if dictated[0].delay_days >= LATE_DAYS:
        return StudyReports(NO_REPORT, False, status, (), rows)
    return StudyReports(status, history, status, rows, ())
