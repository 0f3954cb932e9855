"""The nightly job, from an archive to a list, as its users run it."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from conftest import screen, vfscreen


def ask(folder, statement, results="results"):
    with duckdb.connect(str(folder / results / "catalog.duckdb"), read_only=True) as catalogue:
        return catalogue.execute(statement).fetchall()


def ledgers(folder, results="results"):
    return [json.loads(p.read_text()) for p in sorted((folder / results / "runs").glob("*.json"))]


def balance(ledger):
    reached = sum(ledger["excluded"].values()) + sum(ledger["failed"].values())
    return reached + ledger["screened"] + ledger["already_done"] + ledger["not_reached"]


def test_every_instance_ends_in_exactly_one_state(workplace):
    ledger = ledgers(workplace)[0]
    assert ledger["exit_code"] == 0
    assert ledger["found"] == balance(ledger) > 24
    assert ledger["not_reached"] == 0


def test_every_eligible_phantom_film_is_screened_once(workplace, phantom):
    truth = pq.read_table(phantom / "truth.parquet").to_pylist()
    eligible = {row["sop_instance_uid"] for row in truth if row["eligible"]}
    screened = [uid for (uid,) in ask(workplace, "select sop_instance_uid from predictions")]
    assert len(screened) == len(set(screened))
    assert eligible <= set(screened)


def test_what_is_no_film_is_excluded_or_failed_with_its_reason(workplace):
    ledger = ledgers(workplace)[0]
    for reason in ("not_dicom", "not_an_image", "modality", "view", "under_age", "duplicate"):
        assert ledger["excluded"].get(reason), reason
    assert {"corrupt_codestream", "constant_frame"} <= set(ledger["failed"])


def test_all_transfer_syntaxes_are_screened(workplace):
    syntaxes = ask(
        workplace,
        "select distinct transfer_syntax_uid from instances semi join predictions "
        "using (sop_instance_uid)",
    )
    assert len(syntaxes) >= 8


def test_the_list_is_in_rank_order_with_what_others_rely_on(workplace):
    listed = json.loads(
        vfscreen("flagged", "--format", "json", "--results", "results", cwd=workplace).stdout
    )
    assert listed
    for name in (
        "rank", "patient_id", "study_instance_uid", "sop_instance_uid", "accession_number",
        "study_date", "patient_age", "patient_sex", "finding", "probability", "report_status",
        "known_elsewhere", "heatmap", "model_sha256",
    ):  # fmt: skip
        assert name in listed[0], name
    assert [row["rank"] for row in listed] == list(range(1, len(listed) + 1))
    order = [(row["known_elsewhere"], -row["probability"]) for row in listed]
    assert order == sorted(order)
    assert len({row["patient_id"] for row in listed}) == len(listed)
    assert "reported" not in {row["report_status"] for row in listed}
    assert all((workplace / "results" / row["heatmap"]).is_file() for row in listed)


@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_the_list_prints_in_each_format(workplace, format):
    out = vfscreen("flagged", "--format", format, "-r", "results", "--top", 3, cwd=workplace).stdout
    assert "PHANTOM" in out or "probability" in out
    if format == "csv":
        assert len(list(csv.reader(out.splitlines()))) == 4
    if format == "table":
        assert "phantom demonstration model" in out
        assert "not a diagnostic device" in out


def test_no_report_is_a_list_of_its_own(workplace):
    rows = json.loads(
        vfscreen(
            "flagged", "--status", "no_report", "--format", "json", "-r", "results", cwd=workplace
        ).stdout
    )
    assert {row["report_status"] for row in rows} <= {"no_report"}


def test_the_second_night_decodes_nothing_and_needs_no_torch(workplace, phantom):
    before = ask(workplace, "select count(*) from predictions")
    code = (
        "import sys; from vfscreen.cli.main import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "finally: print([m for m in ('torch', 'nvidia.dali', 'imagecodecs') if m in sys.modules])"
    )
    began = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-c", code, "screen", phantom / "archive", "--checkpoint", "demo",
         "--results", "results", "--reports", phantom / "reports.csv"],
        cwd=workplace, env={**os.environ, "XDG_CONFIG_HOME": str(workplace / "config")},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert time.monotonic() - began < 10
    assert answer.stdout.strip().endswith("[]")
    ledger = ledgers(workplace)[-1]
    assert ledger["screened"] == 0
    assert not any(name.startswith("decode") for name in ledger["stages"])
    assert balance(ledger) == ledger["found"]
    assert ask(workplace, "select count(*) from predictions") == before


def test_a_late_report_takes_its_study_off_the_list(phantom, site):
    screen(site, phantom)
    listed = json.loads(vfscreen("flagged", "--format", "json", "-r", "results", cwd=site).stdout)
    late = site / "late.csv"
    with late.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["report_id", "study_instance_uid", "report_datetime", "text"])
        writer.writerow(
            ["late-1", listed[0]["study_instance_uid"], "2030-01-01T08:00:00",
             "FINDINGS: Compression fracture of L1. IMPRESSION: L1 vertebral fracture."]
        )  # fmt: skip
    pixels_before = ledgers(site)[-1]["screened"]
    assert pixels_before > 0
    answer = vfscreen("flag", "-r", "results", "--reports", late, cwd=site)
    assert "unflagged" in answer.stdout
    after = json.loads(vfscreen("flagged", "--format", "json", "-r", "results", cwd=site).stdout)
    gone = listed[0]["study_instance_uid"]
    assert gone not in {row["study_instance_uid"] for row in after}
    assert len(after) == len(listed) - 1
    assert (gone, "reported") in ask(site, "select study_instance_uid, reason from flags_current")


def test_another_threshold_makes_another_list(workplace, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(workplace, copy, symlinks=True)
    everyone = vfscreen("flag", "-r", "results", "--threshold", 0.0, cwd=copy)
    assert "flagged" in everyone.stdout
    all_listed = vfscreen("flagged", "--format", "json", "-r", "results", cwd=copy).stdout
    vfscreen("flag", "-r", "results", "--threshold", 1.0, cwd=copy)
    none_listed = vfscreen("flagged", "--format", "json", "-r", "results", cwd=copy).stdout
    assert len(json.loads(all_listed)) > 5
    assert json.loads(none_listed) == []


def test_a_review_takes_a_study_off_and_the_list_moves_up(workplace, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(workplace, copy, symlinks=True)

    def listed():
        out = vfscreen("flagged", "--format", "json", "-r", "results", cwd=copy).stdout
        return [row["accession_number"] for row in json.loads(out)]

    before = listed()
    answer = vfscreen(
        "review", before[0], "reject", "--note", "old film", "--reviewer", "nurse",
        "-r", "results", cwd=copy,
    )  # fmt: skip
    assert before[0] not in answer.stdout
    assert listed() == before[1:]
    history = ask(copy, "select decision, note, reviewer from reviews_current")
    assert history == [("reject", "old film", "nurse")]
    unknown = vfscreen("review", "no-such", "reject", "-r", "results", cwd=copy, check=False)
    assert unknown.returncode == 2
    assert "no-such" not in unknown.stderr


def test_explain_prints_the_path_of_a_heatmap_that_exists(workplace, tmp_path):
    copy = tmp_path / "site"
    shutil.copytree(workplace, copy, symlinks=True)
    row = json.loads(vfscreen("flagged", "--format", "json", "-r", "results", cwd=copy).stdout)[0]
    (copy / "results" / row["heatmap"]).unlink()
    out = vfscreen("explain", row["accession_number"], "-r", "results", cwd=copy).stdout.strip()
    assert out.endswith(".png")
    assert Path(out).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_status_shows_runs_and_failures(workplace):
    out = vfscreen("status", "-r", "results", cwd=workplace).stdout
    assert "screen" in out
    assert "corrupt_codestream" in out


def test_sql_answers_and_refuses_to_change_anything(workplace):
    out = vfscreen(
        "sql", "select count(*) as n from predictions", "--format", "json", "-r", "results",
        cwd=workplace,
    ).stdout  # fmt: skip
    assert json.loads(out)[0]["n"] > 0
    refused = vfscreen("sql", "drop view flagged", "-r", "results", cwd=workplace, check=False)
    assert refused.returncode == 2


def test_the_worklist_page_holds_film_heatmap_and_report(workplace):
    page = (workplace / "results" / "worklist.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 2
    assert "Phantom demonstration model" in page
    assert "<mark" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_scan_alone_counts_and_decodes_nothing(phantom, site):
    out = vfscreen("scan", phantom / "archive", "-r", "results", cwd=site).stdout
    assert "eligible" in out
    assert "excluded: not dicom" in out
    assert ledgers(site)[0]["screened"] == 0
