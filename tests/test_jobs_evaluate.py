"""`vfscreen evaluate` from films and a labels file to the report."""

import csv
import errno
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import vfscreen
from dicom_films import anatomy, film, write

from vfscreen.config import CanaryConfig, Config, DecodeConfig, EligibilityConfig, EvaluateConfig
from vfscreen.errors import (
    InterruptedRunError,
    LabelsError,
    StorageError,
    TooManyFailuresError,
    UsageError,
)
from vfscreen.jobs import evaluate as job
from vfscreen.jobs import evaluation_report
from vfscreen.jobs.evaluate import EvaluateRequest, run_evaluate
from vfscreen.jobs.evaluation_report import DEMONSTRATION, reporting_items
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import TrainingPatients, read_info
from vfscreen.privacy import key_id, load_key, patient_key
from vfscreen.results.folder import open_results

MARK = "Tq7ZmarkedX"
HOSTILE = "<script>alert(1)</script>"
FILMS, PATIENTS, BROKEN = 24, 10, 5


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """24 small films of 10 patients, marked and hostile in every tag, one of them broken."""
    folder = tmp_path_factory.mktemp("evaluate")
    archive = folder / "archive" / MARK
    archive.mkdir(parents=True)
    labels, readers = [], []
    for number in range(FILMS):
        uid = f"1.2.{number}"
        stored = anatomy(64, 64, seed=number)
        made = film(
            np.full_like(stored, 7) if number == BROKEN else stored,
            SOPInstanceUID=uid, StudyInstanceUID=f"9.{number // 2}", Modality="DX",
            PatientAge="070Y", PatientSex="FM"[number % 2], BodyPartExamined="ABDOMEN",
            ViewPosition="AP", PatientID=f"{MARK}{number % PATIENTS}", StudyDate="20240102",
            PatientName=MARK, AccessionNumber=f"{MARK}{number // 2}", InstitutionName=MARK,
            StationName=MARK, StudyDescription=f"ABDOMEN {MARK}",
            Manufacturer=HOSTILE if number < 20 else f"{MARK} Inc",
        )  # fmt: skip
        write(made, archive / f"{MARK}{number}.dcm")
        labels.append([uid, int(number % 3 == 0)])
        readers += [[uid, f"Dr {MARK} {reader}", int(number % (reader + 2) == 0)]
                    for reader in (1, 0)]  # fmt: skip
    for name, header, rows in (
        ("labels", ["sop_instance_uid", "vertebral_fracture"], [*labels, [MARK, 1]]),
        ("readers", ["sop_instance_uid", "reader", "call"], [*readers, [MARK, MARK, 0]]),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    return folder


@pytest.fixture(scope="module")
def config(home):
    config = Config(
        eligibility=EligibilityConfig(min_short_side_px=32),
        decode=DecodeConfig(workers=1),
        canary=CanaryConfig(min_films=0),
        evaluate=EvaluateConfig(draws=200, subgroup_min_films=3),
    )
    return replace(config, run=replace(config.run, pseudonym_key=str(home / "key")))


def request(home, **changes):
    return replace(
        EvaluateRequest("demo", home / "archive", home / "labels.csv", home / "report"), **changes
    )


@pytest.fixture(scope="module")
def results(home, config):
    """What the demonstration checkpoint makes of the films, kept for all tests."""
    folder = open_results(home / "results").path
    run_evaluate(request(home, results=folder, out=home / "first"), config, StopRequest())
    return folder


@pytest.fixture(scope="module")
def evaluated(home, config, results):
    asked = request(
        home, results=results, readers=home / "readers.csv", compare="demo", prevalence=0.1
    )
    return run_evaluate(asked, config, StopRequest())


@pytest.fixture(scope="module")
def report(evaluated):
    return json.loads((evaluated.report / "report.json").read_text())


@pytest.fixture(scope="module")
def page(evaluated):
    return (evaluated.report / "index.html").read_text()


def test_every_labelled_film_is_in_the_figures_or_a_counted_failure(report):
    by_film = report["findings"][0]["levels"]["film"]
    failed = by_film["failed_positives"] + by_film["failed_negatives"]
    assert by_film["units"] + failed == report["material"]["labelled_films"] == FILMS
    assert report["material"]["failed"] == {"constant_frame": 1}
    assert report["material"]["label_rows_unused"] == {"unmatched": 1}
    assert report["material"]["labelled_patients"] == PATIENTS
    material = report["material"]
    unused = sum(material["excluded"].values()) + sum(material["unreadable"].values())
    assert material["found"] == unused + material["labelled_films"]
    for point in by_film["operating_points"]:
        counts = [point[f"{a}_{b}"] for a in ("true", "false") for b in ("positives", "negatives")]
        assert sum(counts) == by_film["units"]


def test_studies_are_fewer_than_films_and_patients_repeat(report):
    levels = report["findings"][0]["levels"]
    assert levels["study"]["units"] == FILMS // 2
    assert levels["film"]["intervals"] == "patients"


def test_a_checkpoint_against_itself_does_not_differ(report):
    for compared in report["findings"][0]["comparisons"]:
        assert compared["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
        assert compared["operating_points"][0]["sensitivity_test"]["only_first"] == 0


def test_readers_are_numbers(report):
    readers = report["findings"][0]["readers"]["readers"]
    assert [reader["reader"] for reader in readers] == [1, 2]
    assert report["material"]["reader_rows_unused"] == {"unmatched": 1}


def test_nothing_in_the_report_names_anybody(evaluated, report, page):
    # The one maker of four films is pooled: it may be a name.
    assert MARK not in json.dumps(report)
    assert MARK not in page
    assert str(evaluated.report.parent) not in page
    assert str(evaluated.report.parent) not in json.dumps(report)


def test_hostile_text_is_shown_and_does_nothing(report, page):
    makers = [s["name"] for s in report["findings"][0]["subgroups"]]
    assert HOSTILE in makers
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_loads_nothing_from_elsewhere(page):
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:image/svg\+xml;base64,)", page)
    assert page.count("data:image/svg+xml;base64,") == 6


def test_of_a_checkpoints_provenance_no_path_or_command_is_shown(evaluated):
    said = {
        "init": {"source": "imagenet", "sha256": None},
        "command": f"vfscreen train --labels {MARK}.csv",
        "trained_from": f"C:\\films\\{MARK}",
        "configuration": {
            "run": {"group": MARK},
            "train": {"epochs": 40, "cache": f"/data/{MARK}"},
        },
    }
    trained = replace(evaluated, model=replace(evaluated.model, trained_with=said))
    report = evaluation_report.report_json(trained)
    assert report["model"]["trained_with"] == {"init.source": "imagenet", "settings.epochs": 40}
    assert MARK not in json.dumps(report)
    (item,) = (i for i in report["guidelines"][0]["items"] if i["id"] == "24")
    assert item["says"] == "imagenet."


def test_the_demonstration_model_is_named_as_such_everywhere(report, page):
    assert DEMONSTRATION in report["notices"]
    assert DEMONSTRATION in page


def test_every_item_of_both_guidelines_is_there_and_filled_or_the_sites(report, page):
    claim, tripod = report["guidelines"]
    assert [item["id"] for item in claim["items"]] == [str(n) for n in range(1, 45)]
    assert {int(re.sub(r"\D", "", i["id"])) for i in tripod["items"]} == set(range(1, 28))
    for item in (*claim["items"], *tripod["items"]):
        assert bool(item["says"]) == (item["by"] in ("vfscreen", "both")), item
        assert bool(item["site"]) == (item["by"] in ("site", "both")), item
    assert "e240300" in page
    assert "e078378" in page
    assert len(reporting_items()["guideline"]) == 2


def test_the_same_films_give_the_same_figures(home, config, results, evaluated, report):
    asked = request(
        home, results=results, readers=home / "readers.csv", compare="demo", prevalence=0.1,
        out=home / "again",
    )  # fmt: skip
    run_evaluate(asked, config, StopRequest())
    again = json.loads((home / "again" / "report.json").read_text())
    for made in (report, again):
        made.pop("made_at")
    assert again == report
    pages = [(home / name / "index.html").read_text() for name in ("again", "report")]
    assert len({re.sub(r"\d\d:\d\d UTC", "", text) for text in pages}) == 1


def test_a_report_replaces_a_report_and_nothing_else(home, config, results, evaluated):
    out = home / "mine"
    out.mkdir()
    (out / "report.json").write_text("of last year")
    evaluation_report.refuse_folder(out)
    evaluation_report.write_report(evaluated, out)
    assert json.loads((out / "report.json").read_text())["schema"] == "vfscreen-evaluation"
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "report.json"]
    assert not [path for path in home.iterdir() if path.name.startswith(".mine")]
    (out / "thesis.doc").write_text("years of work")
    with pytest.raises(UsageError, match="something else than a report"):
        run_evaluate(request(home, results=results, out=out), config, StopRequest())
    with pytest.raises(UsageError, match="must not lie in one another"):
        run_evaluate(request(home, out=home / "archive" / "report"), config, StopRequest())


def test_without_a_results_folder_films_are_scored_in_one_that_goes(home, config, evaluated):
    alone = run_evaluate(request(home, out=home / "alone"), config, StopRequest())
    found = alone.findings[0].levels[0]
    kept = evaluated.findings[0].levels[0]
    assert found.auc.value == kept.auc.value
    assert not (home / ".alone.scoring").exists()


def test_stopped_it_says_so_and_writes_no_report(home, config):
    stop = StopRequest()
    stop.ask("test")
    with pytest.raises(InterruptedRunError):
        run_evaluate(request(home, out=home / "stopped"), config, stop)
    assert not (home / "stopped").exists()
    shutil.rmtree(home / ".stopped.scoring")


def test_too_many_failures_are_the_commands_verdict_and_the_report_says_so(home, config, results):
    strict = replace(config, run=replace(config.run, min_failures=1, max_failure_rate=0.01))
    found = run_evaluate(request(home, results=results, out=home / "strict"), strict, StopRequest())
    assert isinstance(found.error, TooManyFailuresError)
    assert "1 of 24 labelled films failed" in (home / "strict" / "index.html").read_text()


def test_a_full_disk_leaves_the_earlier_report(home, evaluated, monkeypatch):
    out = home / "full"
    out.mkdir()
    (out / "report.json").write_text("of last year")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluation_report.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        evaluation_report.write_report(evaluated, out)
    assert (out / "report.json").read_text() == "of last year"
    assert not [path for path in home.iterdir() if path.name.startswith(".full")]


def test_readers_of_studies_are_matched_by_study(home, config, results):
    path = home / "studies.csv"
    rows = [f"9.{study},{reader},{study % 2}" for study in range(12) for reader in "AB"]
    path.write_text("study_instance_uid,reader,call\n" + "\n".join(rows) + "\n")
    asked = request(home, results=results, readers=path, out=home / "studies")
    found = run_evaluate(asked, config, StopRequest()).findings[0].readers
    assert (found.level, len(found.readers), found.readers[0].units) == ("study", 2, 12)


def seen(monkeypatch, home, config, patients):
    """As if the checkpoint had been trained on these patients."""
    key = load_key(config.run.pseudonym_key)
    hashes = tuple(patient_key(key, None, f"{MARK}{patient}", "") for patient in patients)
    info = replace(read_info("demo"), training_patients=TrainingPatients(key_id(key), hashes))
    monkeypatch.setattr(job, "read_info", lambda _: info)


def test_patients_seen_in_training_are_refused_or_left_out_or_named(
    home, config, results, monkeypatch
):
    seen(monkeypatch, home, config, [0, 3])
    asked = request(home, results=results, out=home / "seen")
    with pytest.raises(UsageError, match="--exclude-seen"):
        run_evaluate(asked, config, StopRequest())
    assert not (home / "seen").exists()
    forced = run_evaluate(replace(asked, force=True), config, StopRequest())
    sentence = forced.overlaps[0].sentence
    assert "2 of the 10 patients" in sentence
    text = (home / "seen" / "report.json").read_text()
    assert sentence in json.loads(text)["notices"]
    assert sentence in (home / "seen" / "index.html").read_text()
    assert not any(key in text for key in forced.overlaps[0].patient_keys)
    left = run_evaluate(replace(asked, exclude_seen=True), config, StopRequest())
    assert left.material.labelled_patients == PATIENTS - 2
    assert left.material.labelled_films == FILMS - 6
    assert "Left out" in (home / "seen" / "index.html").read_text()


def test_a_finding_that_nobody_predicts_is_refused(home, config, results):
    with pytest.raises(UsageError, match="predicts vertebral_fracture, not hip"):
        run_evaluate(request(home, findings=("hip",)), config, StopRequest())
    other = home / "other.csv"
    other.write_text("sop_instance_uid,hip\n1.2.1,0\n")
    with pytest.raises(UsageError, match="none of which the labels file has a column for"):
        run_evaluate(request(home, labels=other), config, StopRequest())


def test_a_second_checkpoint_that_predicts_something_else_is_refused(home, config, monkeypatch):
    infos = {"demo": read_info("demo"), "hip": replace(read_info("demo"), findings=("hip",))}
    monkeypatch.setattr(job, "read_info", infos.__getitem__)
    with pytest.raises(UsageError, match="second checkpoint predicts hip"):
        run_evaluate(request(home, compare="hip", out=home / "no"), config, StopRequest())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sop_instance_uid,reader\n1.2.1,A\n", "no column `call`"),
        ("film,reader,call\n1.2.1,A,1\n", "no column that names the films"),
        ("sop_instance_uid,reader,call\n1.2.1,A,1\n1.2.2,A,maybe\n", "line 3, column `call`"),
        ("sop_instance_uid,reader,call\n1.2.1,,1\n", "line 2, column `reader`"),
        ("sop_instance_uid,reader,finding,call\n1.2.1,A,hip,1\n", "line 2, column `finding`"),
    ],
)
def test_a_readers_file_that_is_not_understood_is_refused(home, config, results, text, says):
    path = home / "bad.csv"
    path.write_text(text)
    asked = request(home, results=results, readers=path, out=home / "bad")
    with pytest.raises(LabelsError, match=says):
        run_evaluate(asked, config, StopRequest())
    assert not (home / "bad").exists()


def test_the_command_on_a_phantom(workplace, phantom, tmp_path):
    """From truth to labels, as a site would write them; what is screened is not decoded again."""
    shutil.copytree(workplace / "results", tmp_path / "results")
    shutil.copy(workplace / "vfscreen.toml", tmp_path)
    shutil.copytree(workplace / "config", tmp_path / "config")
    truth = pq.read_table(phantom / "truth.parquet").to_pylist()
    with (tmp_path / "labels.csv").open("w") as file:
        file.write("study_instance_uid,vertebral_fracture\n")
        studies = {row["study_instance_uid"]: int(row["vertebral_fracture"]) for row in truth}
        file.writelines(f"{uid},{label}\n" for uid, label in studies.items())
    answer = vfscreen(
        "evaluate", "--checkpoint", "demo", "--archive", phantom / "archive", "--labels",
        "labels.csv", "--results", "results", "--out", "report", cwd=tmp_path,
    )  # fmt: skip
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["findings"][0]["levels"]["film"]["auc"]["value"] > 0.9
    assert report["material"]["labels_by"] == "study_instance_uid"
    assert "AUC" in answer.stdout
    assert DEMONSTRATION in answer.stdout
    assert "report/index.html" in answer.stdout
