"""DICOM SR: content trees, statuses, several studies; in a folder and in the archive itself."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from conftest import screen, vfscreen
from dicom_films import anatomy, film, write
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from report_files import (
    COMPREHENSIVE,
    ENHANCED,
    content,
    dataset,
    items,
    structured_report,
)
from spec_tables import catalogue, expect

from vfscreen.config import ReportsConfig
from vfscreen.errors import FailureReason
from vfscreen.reports import sr_reader
from vfscreen.reports.records import BadRecord, NotAReport, ReportRecord
from vfscreen.reports.sources import Item, read_reports

UID = "1.2.826.0.1.3680043.8.498.7"
BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"


def _read(folder: Path, document: Dataset, **config: object) -> Item:
    path = folder / "sr.dcm"
    document.save_as(path, enforce_file_format=True)
    (item,) = read_reports(path, ReportsConfig(**config))  # type: ignore[arg-type]
    return item


def _report(folder: Path, document: Dataset) -> ReportRecord:
    item = _read(folder, document)
    assert isinstance(item, ReportRecord), item
    return item


def basic(**attributes: object) -> Dataset:
    """A document with a line of findings."""
    text = content("TEXT", "Finding", "Normal.")
    return structured_report(UID, text, AccessionNumber="A1", **attributes)


@pytest.mark.parametrize("sop_class", [BASIC_TEXT, ENHANCED, COMPREHENSIVE])
def test_a_content_tree_becomes_text(tmp_path: Path, sop_class: str) -> None:
    language = content("CODE", "Language of Content", "English")
    language.RelationshipType = "HAS CONCEPT MOD"
    role = content("CODE", "Person Observer's Role", "Attending")
    role.RelationshipType, role.ConceptNameCodeSequence[0].CodeValue = "HAS OBS CONTEXT", "121011"
    document = structured_report(
        UID,
        language,
        role,
        content("CONTAINER", "History", None, content("TEXT", "History", "Back pain.")),
        content(
            "CONTAINER", "Findings", None,
            content(
                "TEXT", "Finding", "Height loss of L1.\r\nNo other.",
                content("NUM", "Height", "14.5"), content("CODE", "Severity", "Moderate"),
            ),
        ),
        content("TEXT", "Impression", "Wedge fracture of L1."),
        sop_class=sop_class,
    )  # fmt: skip
    report = _report(tmp_path, document)
    assert report.text == (
        "History:\nBack pain.\nFindings:\nHeight loss of L1.\nNo other.\nHeight: 14.5 mm\n"
        "Severity: Moderate\nImpression:\nWedge fracture of L1."
    )
    assert (report.report_id, report.source_format) == (UID, "sr")
    assert report.author_role == "attending"


def test_several_studies_accession_numbers_and_a_predecessor(tmp_path: Path) -> None:
    issuer = items(dataset(LocalNamespaceEntityID="RIS"))
    document = basic(
        StudyInstanceUID="1.2.1",
        StudyDate="20240501",
        PatientID="P1",
        IssuerOfPatientID="HOSP",
        CurrentRequestedProcedureEvidenceSequence=items(
            dataset(StudyInstanceUID="1.2.1"), dataset(StudyInstanceUID="1.2.2")
        ),
        ReferencedRequestSequence=items(
            dataset(
                StudyInstanceUID="1.2.3",
                AccessionNumber="A2",
                IssuerOfAccessionNumberSequence=issuer,
            )
        ),
        PredecessorDocumentsSequence=items(
            dataset(
                ReferencedSeriesSequence=items(
                    dataset(
                        ReferencedSOPSequence=items(dataset(ReferencedSOPInstanceUID=f"{UID}.0"))
                    )
                )
            )
        ),
    )
    report = _report(tmp_path, document)
    assert report.study_instance_uid == "1.2.1"
    assert report.also_study_instance_uids == ("1.2.2", "1.2.3")
    assert (report.accession_number, report.also_accession_numbers) == ("A1", ("A2",))
    assert (report.issuer, report.study_date) == ("RIS", date(2024, 5, 1))
    assert (report.patient_id, report.issuer_of_patient_id) == ("P1", "HOSP")
    assert report.replaces == (f"{UID}.0",)


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({}, "final"),
        ({"VerificationFlag": "UNVERIFIED"}, "preliminary"),
        ({"CompletionFlag": "PARTIAL"}, "preliminary"),
        ({"VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "FINAL"}, "final"),
        ({"PreliminaryFlag": "PRELIMINARY"}, "preliminary"),
    ],
)
def test_statuses(tmp_path: Path, flags: dict[str, str], status: str) -> None:
    assert _report(tmp_path, basic(**flags)).result_status == status


def test_times_in_their_zone(tmp_path: Path) -> None:
    made = basic(ContentDate="20240501", ContentTime="101500.5", TimezoneOffsetFromUTC="+0800")
    assert _report(tmp_path, made).report_datetime == datetime(
        2024, 5, 1, 2, 15, 0, 500000, tzinfo=UTC
    )
    verified = items(
        dataset(VerificationDateTime="20240501120000"),
        dataset(VerificationDateTime="20240501130000+0100"),
    )
    report = _report(tmp_path, basic(VerifyingObserverSequence=verified))
    assert report.report_datetime == datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("character_set", "text"),
    [
        ("ISO_IR 100", "Größe"),
        ("ISO_IR 192", "椎體塌陷"),
        ("GB18030", "椎体压缩"),
        (["", "ISO 2022 IR 87"], "圧迫骨折"),
    ],
)
def test_character_sets(tmp_path: Path, character_set: str | list[str], text: str) -> None:
    document = structured_report(
        UID, content("TEXT", "Text", text), AccessionNumber="A1", SpecificCharacterSet=character_set
    )
    assert _report(tmp_path, document).text == text


def test_measurements_without_text_are_no_report(tmp_path: Path) -> None:
    document = structured_report(UID, content("NUM", "Length", "3"), AccessionNumber="A1")
    item = _read(tmp_path, document)
    assert isinstance(item, BadRecord) and "measurements" in item.message


def test_a_film_in_a_folder_of_reports_is_no_report(tmp_path: Path) -> None:
    write(film(anatomy(16, 16), SOPInstanceUID="1.2.9"), tmp_path / "a.dcm")
    basic().save_as(tmp_path / "b.dcm", enforce_file_format=True)
    first, second = read_reports(tmp_path, ReportsConfig())
    assert isinstance(first, NotAReport) and isinstance(second, ReportRecord)


def test_damaged_and_hostile_files_are_bad_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sr_reader, "MAX_FILE_BYTES", 200_000)
    deep = content("TEXT", "Finding", "x")
    for _ in range(200):
        deep = content("CONTAINER", "c", None, deep)
    bomb = structured_report(UID, content("TEXT", "Text", "SECRET" * 100_000))
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    nameless = basic()
    del nameless.SOPInstanceUID
    cases = {
        "a deep": structured_report(UID, deep),
        "b bomb": bomb,
        "c large": structured_report(UID, content("TEXT", "Text", "y" * 300_000)),
        "d nameless": nameless,
    }
    for name, document in cases.items():
        document.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    basic().save_as(tmp_path / "e.dcm", enforce_file_format=True)
    data = (tmp_path / "e.dcm").read_bytes()
    (tmp_path / "e.dcm").write_bytes(data[:200])
    (tmp_path / "f.dcm").write_bytes(data[:-3])
    items = list(read_reports(tmp_path, ReportsConfig()))
    bad = [item for item in items if isinstance(item, BadRecord)]
    assert [b.file_number for b in bad][:4] == [1, 2, 3, 4]
    said = " / ".join(b.message for b in bad)
    assert "too deeply" in said and "unpacks" in said and "too large" in said
    assert "SECRET" not in said
    assert (tmp_path / "b bomb.dcm").stat().st_size < 20_000


def test_a_file_that_is_gone_is_tried_again() -> None:
    (item,) = sr_reader.read_sr(Path("/nowhere/1.dcm"), ReportsConfig())
    assert isinstance(item, BadRecord) and item.reason is FailureReason.UNREADABLE_FILE
    assert "nowhere" not in item.message


def test_the_archives_own_reports_are_read_once(phantom: Path, site: Path) -> None:
    archive = site / "source" / "archive"
    archive.mkdir(parents=True)
    (site / "source" / "reports.csv").write_text("accession_number,text\nX,Normal.\n")
    films = sorted(p for p in (phantom / "archive").rglob("*.dcm"))[:6]
    for number, path in enumerate(films):
        (archive / f"{number}.dcm").write_bytes(path.read_bytes())
    document = structured_report(UID, content("TEXT", "Text", "Fracture of T12."))
    document.save_as(archive / "sr.dcm", enforce_file_format=True)
    broken = structured_report(f"{UID}.2", content("NUM", "Length", "3"))
    broken.save_as(archive / "numbers.dcm", enforce_file_format=True)
    first = screen(site, site / "source")
    assert "2 imported" in first.stdout and "1 bad records" in first.stdout
    again = screen(site, site / "source")
    assert "imported" not in again.stdout and "bad records" not in again.stdout
    said = vfscreen(
        "sql", "select report_status from report_labels order by report_status", "-r", "results",
        cwd=site,
    )  # fmt: skip
    assert "reported" in said.stdout


ASKED = {
    "archive_root": "/archive",
    "sr_classes": [BASIC_TEXT],
    "transient_nights": 3,
}
DOCUMENTS = f"""
    film | sop_class_uid | archive_path | content | scanned_at | eligible | exclusion_reason
    D1   | {BASIC_TEXT}  | a            | v1      | 2024-06-01 | no       | not_an_image
    D2   | {BASIC_TEXT}  | b            | v1      | 2024-06-01 | no       | not_an_image
    D2   | {BASIC_TEXT}  | c            | v1      | 2024-06-01 | no       | not_an_image
    F1   | 1.2           | d            | v1      | 2024-06-01 | yes      |
    D3   | {BASIC_TEXT}  | e            | v1      | 2024-06-01 | no       | vanished
"""


def test_new_documents_are_read_each_once() -> None:
    expect(catalogue(manifest=DOCUMENTS), "archive_reports", "film\nD1\nD2", **ASKED)


def test_what_was_imported_or_failed_for_good_is_not_read_again() -> None:
    asked = catalogue(
        manifest=DOCUMENTS,
        reports="report | source_format | imported_at\nD1 | sr | 2024-01-01",
        failures="film | stage | transient | content\nD2 | reports | no | v1",
    )
    expect(asked, "archive_reports", "film", **ASKED)


def test_a_document_that_changed_under_its_uid_is_read_again() -> None:
    asked = catalogue(
        manifest=DOCUMENTS
        + f"    D1 | {BASIC_TEXT} | a | v2 | 2024-06-03 | no | not_an_image\n"
        + f"    D2 | {BASIC_TEXT} | b | v1 | 2024-06-03 | no | not_an_image\n",
        reports="""
            report | source_format | imported_at
            D1     | sr            | 2024-06-02
            D2     | sr            | 2024-06-02
        """,
    )
    expect(asked, "archive_reports", "film\nD1", **ASKED)
