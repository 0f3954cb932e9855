"""The list follows the reports: import, flag, a correction, flag; through the real commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from spec_tables import part
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.results.calibrations import Calibration
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import register_checkpoint
from vfscreen.results.folder import existing_results, open_results
from vfscreen.results.parts import write_part
from vfscreen.results.rows import CheckpointHead, ScreenedFilm, checkpoints_table, predictions_table
from vfscreen.results.sql import fetch

VF = "vertebral_fracture"
HEADER = (
    "report_id", "accession_number", "issuer", "study_instance_uid", "patient_id",
    "report_datetime", "result_status", "text",
)  # fmt: skip
SILENT = "Findings: Normal bowel gas pattern. No free air."
NAMED = "Findings: Compression fracture of the L1 vertebral body."
DENIED = "Findings: No vertebral fracture."


def use(folder: Path, checkpoint: str = "c", intercept: float = 0.0, model: str = "m") -> None:
    results = existing_results(folder)
    heads = [CheckpointHead(VF, Calibration(1.0, intercept), {"default": 0.5})]
    register_checkpoint(
        results,
        checkpoints_table(
            heads, checkpoint_sha256=checkpoint, model_sha256=model, name="test", path="none",
            demonstration=True,
        ),
    )  # fmt: skip
    publish(results)


def screened(folder: Path, films: dict[str, float], model: str = "m") -> None:
    """Predictions as a screening leaves them: film F1 of study S1 ..., with these logits."""
    seen = [ScreenedFilm(name, name.replace("F", "S"), "v1", "test") for name in films]
    logits = np.array([[logit] for logit in films.values()], np.float32)
    heads = [CheckpointHead(VF, Calibration(), {"default": 0.5})]
    results = existing_results(folder)
    write_part(
        results, "predictions",
        predictions_table(
            seen, logits, heads, model_sha256=model, checkpoint_sha256="c", run_id="r"
        ),
    )  # fmt: skip
    publish(results)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with two likely fractures and one film that shows none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("VFSCREEN_RESULTS", str(tmp_path / "results"))
    results = open_results(tmp_path / "results")
    manifest = """
        film | study | accession | accession_issuer | patient | date       | modality
        F1   | S1    | A1        | RIS              | P1      | 2024-03-01 | DX
        F2   | S2    | A2        | RIS              | P1      | 2024-02-01 | DX
        F3   | S3    | A3        | RIS              | P3      | 2024-03-03 | DX
    """
    write_part(results, "manifest", part("manifest", manifest))
    publish(results)
    use(results.path)
    screened(results.path, {"F1": 2.0, "F2": 1.0, "F3": -3.0})
    return tmp_path


def run(*words: str) -> str:
    answer = CliRunner().invoke(app, list(words))
    assert answer.exit_code == 0, answer.output
    return answer.output


def imported(site: Path, *rows: tuple[str, ...]) -> str:
    """Import reports: id, accession number, day of March 2024, result status, text."""
    path = site / "reports.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for report, accession, day, status, text in rows:
            when = f"2024-03-{day}T10:00:00+00:00" if day else ""
            writer.writerow((report, accession, "RIS", "", "", when, status, text))
    return run("reports", "import", str(path))


def moved(study: str = "S1") -> tuple[str, ...]:
    """The last move of a study: what, to which list, why."""
    moves = json.loads(run("flagged", "--changed-since", "2020-01-01", "--format", "json"))
    last = next(move for move in moves if move["study_instance_uid"] == study)
    return last["change"], last["to_list"] or last["from_list"], last["reason"]


def test_the_list_follows_a_report_that_arrives_late_is_corrected_and_withdrawn(site: Path) -> None:
    run("flag")
    assert moved() == ("on", "no_report", "new film")
    imported(site, ("R1", "A1", "02", "preliminary", SILENT))
    assert moved() == ("on", "no_report", "new film")  # an import alone moves nobody
    run("flag")
    assert moved() == ("moved", "unreported", "report arrived")
    imported(site, ("R1", "A1", "03", "final", NAMED))
    run("flag")
    assert moved() == ("off", "unreported", "report corrected")
    imported(site, ("R1", "A1", "04", "corrected", DENIED))
    run("flag")
    assert moved() == ("on", "unreported", "report corrected")
    imported(site, ("R1", "A1", "05", "cancelled", DENIED))
    run("flag")
    assert moved() == ("moved", "no_report", "report withdrawn")
    assert moved("S2") == ("on", "no_report", "new film")


@pytest.mark.drill
def test_an_addendum_that_comes_before_its_report_counts_after_it(site: Path) -> None:
    imported(site, ("R1-add", "A1", "04", "addendum", f"Addendum: {NAMED}"))
    run("flag")
    imported(site, ("R1", "A1", "02", "final", SILENT))
    run("flag")
    listed = json.loads(run("flagged", "--status", "no_report", "--format", "json"))
    assert [row["study_instance_uid"] for row in listed] == ["S2"]
    imported(site, ("R2", "A1", "05", "addendum", f"Addendum: {DENIED}"))
    run("flag")
    assert moved() == ("on", "unreported", "report corrected")


@pytest.mark.drill
def test_a_report_named_before_a_draft_of_the_same_study_is_signed(site: Path) -> None:
    imported(site, ("R1", "A1", "02", "preliminary", NAMED))
    run("flag")
    with pytest.raises(StopIteration):
        moved()
    imported(site, ("R2", "A1", "03", "final", SILENT))
    run("flag")
    assert moved() == ("on", "unreported", "report arrived")


@pytest.mark.drill
def test_threshold_calibration_model_and_eligibility_are_told_apart(site: Path) -> None:
    run("flag")
    run("flag", "--threshold", "0.8")
    assert moved("S2") == ("off", "no_report", "threshold")
    run("flag", "--threshold", "0.5")
    assert moved("S2") == ("on", "no_report", "threshold")
    use(site / "results", "recalibrated", intercept=-5.0)
    run("flag", "--threshold", "0.5")
    assert moved("S2") == ("off", "no_report", "recalibrated")
    use(site / "results", "recalibrated again", intercept=5.0)
    run("flag", "--threshold", "0.5")
    assert moved("S3") == ("on", "no_report", "recalibrated")
    use(site / "results", "newer", model="n")
    run("flag", "--threshold", "0.5")
    assert moved("S3") == ("off", "no_report", "new model")
    screened(site / "results", {"F1": 2.0, "F2": -1.0, "F3": -1.0}, model="n")
    run("flag", "--threshold", "0.5")
    assert moved("S1") == ("on", "no_report", "new model")
    again = part("manifest", "film | study | eligible | scanned_at\nF1 | S1 | no | 2025-01-01")
    write_part(existing_results(site / "results"), "manifest", again)
    publish(existing_results(site / "results"))
    run("flag", "--threshold", "0.5")
    assert moved("S1") == ("off", "no_report", "no longer eligible")


@pytest.mark.drill
def test_a_review_moves_the_study_off_at_once_and_covers_the_patients_earlier_one(
    site: Path,
) -> None:
    run("flag")
    run("review", "A1", "confirm", "--reviewer", "nurse")
    assert moved("S1") == ("off", "no_report", "reviewed: confirm")
    assert moved("S2") == ("off", "no_report", "reviewed at another study: confirm")
    run("flag", "--threshold", "0.8")  # who is off already does not move again
    assert moved("S2") == ("off", "no_report", "reviewed at another study: confirm")


def test_nothing_that_moved_before_the_day_is_shown(site: Path) -> None:
    run("flag")
    assert "Nothing has moved" in run("flagged", "--changed-since", "2999-01-01")
    table = run("flagged", "--changed-since", "2020-01-01")
    assert "on no report" in table
    assert "new film" in table
    assert "moves not shown: 1." in run("flagged", "--changed-since", "2020-01-01", "--top", "1")
    refused = CliRunner().invoke(
        app, ["flagged", "--changed-since", "2020-01-01", "--status", "denied"]
    )
    assert refused.exit_code != 0


def test_unmatched_reports_are_counted_listed_and_named_only_on_request(site: Path) -> None:
    said = imported(
        site, ("R1", "A1", "02", "final", SILENT), ("R8", "SECRET-8", "02", "final", SILENT)
    )
    assert "1 study not in archive" in said
    assert "1 study not in archive" in run("status")
    counted = run("reports", "unmatched")
    assert "study not in archive" in counted
    assert "SECRET-8" not in counted
    assert "SECRET-8" not in run("reports", "unmatched", "--format", "json")
    rows = json.loads(run("reports", "unmatched", "--show-identifiers", "--format", "json"))
    assert [(row["report_id"], row["accession_number"]) for row in rows] == [("R8", "SECRET-8")]
    imported(site, ("R8", "A2", "03", "corrected", SILENT))
    assert "No report is without" in run("reports", "unmatched")


@pytest.mark.drill
def test_matching_by_patient_and_day_follows_the_configuration_at_the_next_flag(
    site: Path,
) -> None:
    nameless = """
        report | patient | date       | modality
        R1     | P3      | 2024-03-03 | DX
    """
    results = existing_results(site / "results")
    write_part(results, "reports", part("reports", nameless))
    publish(results)
    assert "1 patient and date off" in run("flag")
    (site / "vfscreen.toml").write_text("[reports]\nmatch_by_patient_and_date = true\n")
    assert "belong to no study" not in run("flag")
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select * from study_reports").to_pylist()
    assert [(row["study_instance_uid"], row["matched_by"]) for row in rows] == [
        ("S3", "patient_and_date")
    ]
