"""Identifiers, report text and archive paths never leave the results folder unasked."""

import csv
import json
import shutil
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pydicom
import pytest
from conftest import screen, vfscreen
from pydicom.errors import InvalidDicomError

MARK = "Tq7ZmarkedX"
HOSTILE = "O'Brien\"; drop view flagged; --<script>alert(1)</script>\x1b[31m"
IDENTIFYING = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "AccessionNumber",
    "ReferringPhysicianName", "StudyID", "InstitutionName", "StationName", "PerformedStationName",
    "OperatorsName", "PatientComments", "RequestedProcedureDescription", "DeviceSerialNumber",
)  # fmt: skip


def marked_archive(source: Path, to: Path, text: str) -> None:
    """Copy the phantom's archive with `text` in every identifying tag and file name."""
    for index, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        if path.is_symlink():
            continue
        folder = to / f"{MARK}-{index % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / f"{MARK} {index}.dcm"
        try:
            with warnings.catch_warnings():
                # Damaged films, and values longer than DICOM allows, are what this is about.
                warnings.simplefilter("ignore")
                film = pydicom.dcmread(path)
                for keyword in IDENTIFYING:
                    setattr(film, keyword, f"{text}{index}")
                film.StudyDescription = f"ABDOMEN {text}"
                film.save_as(out)
        except (InvalidDicomError, OSError, ValueError, KeyError, AttributeError, EOFError):
            shutil.copy(path, out)


def marked_reports(source: Path, to: Path, text: str) -> None:
    with source.open(newline="") as read, to.open("w", newline="") as out:
        rows = list(csv.DictReader(read))
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        for row in rows:
            body = f"{row['text']}\nSeen by {text}."
            writer.writerow(row | {"text": body, "accession_number": "", "patient_id": text})
        out.write(f"{text},only,three\n")


@pytest.fixture(scope="module")
def marked(phantom, tmp_path_factory):
    """A marked archive, screened; the output of every command that was not asked for names."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "vfscreen.toml").write_text("[eligibility]\nmin_short_side_px = 300\n")
    source = folder / "source"
    marked_archive(phantom / "archive", source / "archive", MARK)
    marked_reports(phantom / "reports.csv", source / "reports.csv", MARK)
    answers = [
        vfscreen("scan", source / "archive", "-r", "other", cwd=folder),
        screen(folder, source, check=False, VFSCREEN_LOG="1"),
        vfscreen("flag", "-r", "results", cwd=folder),
        vfscreen("reports", "import", source / "reports.csv", "-r", "results", cwd=folder),
        vfscreen("status", "-r", "results", cwd=folder),
        vfscreen("doctor", "-r", "results", cwd=folder, check=False),
        vfscreen("audit", "draw", "--films", 20, "--out", "l.csv", "-r", "results", cwd=folder),
        vfscreen("audit", "import", "l.csv", "-r", "results", cwd=folder),
        vfscreen(
            "audit", "import", source / "reports.csv", "-r", "results", cwd=folder, check=False
        ),
        vfscreen("review", f"{MARK}3", "reject", "-r", "results", cwd=folder, check=False),
        vfscreen(
            "evaluate",
            "--checkpoint",
            "demo",
            "--archive",
            source / "archive",
            "--labels",
            phantom / "labels.csv",
            "-r",
            "results",
            "--out",
            "report",
            cwd=folder,
        ),
    ]
    return folder, answers


def test_output_names_nobody(marked):
    _, answers = marked
    for answer in answers:
        assert MARK not in answer.stdout
        assert MARK not in answer.stderr


def test_ledgers_and_failures_name_nobody(marked):
    folder, _ = marked
    runs = list((folder / "results" / "runs").glob("*.json"))
    assert runs
    assert not any(MARK in path.read_text() for path in runs)
    failures = [
        row
        for part in (folder / "results" / "failures").glob("*.parquet")
        for row in pq.read_table(part).to_pylist()
    ]
    assert failures
    assert MARK not in json.dumps(failures, default=str)


def test_the_report_of_an_evaluation_names_nobody(marked):
    folder, _ = marked
    for path in (folder / "report").iterdir():
        assert MARK not in path.read_text()


def test_names_of_files_name_nobody(marked):
    folder, _ = marked
    for results in ("results", "other"):
        assert not any(MARK in p.name for p in (folder / results).rglob("*"))


def test_the_mark_was_really_there(marked):
    folder, _ = marked
    out = vfscreen("flagged", "--format", "json", "-r", "results", cwd=folder).stdout
    assert MARK in out


def test_a_key_nobody_has_guessed_hides_the_names(marked):
    folder, _ = marked
    key = folder / "config" / "vfscreen" / "pseudonym.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (folder / "results").stat().st_mode & 0o777 == 0o700


def test_hostile_text_is_shown_and_does_nothing(phantom, tmp_path):
    (tmp_path / "vfscreen.toml").write_text("[eligibility]\nmin_short_side_px = 300\n")
    source = tmp_path / "source"
    marked_archive(phantom / "archive", source / "archive", HOSTILE)
    marked_reports(phantom / "reports.csv", source / "reports.csv", HOSTILE)
    screen(tmp_path, source, check=False)
    listed = json.loads(
        vfscreen("flagged", "--format", "json", "-r", "results", cwd=tmp_path).stdout
    )
    assert listed[0]["patient_id"].startswith("O'Brien")
    page = (tmp_path / "results" / "worklist.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    table = vfscreen("flagged", "-r", "results", cwd=tmp_path).stdout
    assert "\x1b" not in table
    assert "O'Brien" in table
