"""`vfscreen calibrate`: a site's labelled films in, a new checkpoint out, the old one untouched.

The results folder holds logits that were written by hand, so that no film is decoded: what the
network makes of films is the business of other tests.
"""

import hashlib
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from archive_films import encoded, film
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.config import CalibrateConfig, Config, EligibilityConfig, RunConfig
from vfscreen.errors import ConfigError, InputError, LabelsError, UsageError, VfscreenError
from vfscreen.jobs.calibrate import CalibrateRequest, run_calibrate
from vfscreen.jobs.flag import run_flag
from vfscreen.jobs.scan import run_scan
from vfscreen.jobs.seen_patients import training_patients
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import CheckpointInfo, read_info
from vfscreen.privacy import load_key, patient_key
from vfscreen.results.calibrations import Calibration, probability
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import existing_results
from vfscreen.results.parts import write_part
from vfscreen.results.sql import fetch

VF = "vertebral_fracture"
LABELLED, UNLABELLED = 120, 120
TRUE_CURVE = Calibration(0.6, -0.4)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 films, two a patient, of which half are labelled; all are screened."""
    site = tmp_path_factory.mktemp("site")
    archive = site / "archive"
    archive.mkdir()
    count = LABELLED + UNLABELLED
    for n in range(count):
        made = date(2024, 1, 1) + timedelta(days=n % 28)
        content = encoded(
            film(
                SOPInstanceUID=f"1.2.{n}", StudyInstanceUID=f"1.3.{n}", PatientID=f"P{n // 2}",
                StudyDate=f"{made:%Y%m%d}", AccessionNumber=f"A{n}",
                Manufacturer="Maker" if n % 10 else "maker ",
                PatientSex="F" if n % 4 else None,
            )
        )  # fmt: skip
        (archive / f"{n}.dcm").write_bytes(content)
    run_scan(archive, site / "results", configured(site))
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, count).astype(np.float32)
    truth = rng.random(count) < probability(logits, TRUE_CURVE)
    np.save(site / "truth.npy", truth)
    rows = "".join(f"1.2.{n},{int(truth[n])},\n" for n in range(LABELLED))
    (site / "labels.csv").write_text(f"sop_instance_uid,{VF},hip_fracture\n{rows}")
    screened(site, {f"1.2.{n}": float(logits[n]) for n in range(count)})
    return site


@pytest.fixture
def home(site: Path, tmp_path: Path) -> Path:
    """The site as each test finds it; the archive is the same for all."""
    shutil.copytree(site, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("archive"))
    (tmp_path / "archive").symlink_to(site / "archive")
    return tmp_path


@pytest.fixture
def config(home: Path) -> Config:
    return configured(home)


def configured(home: Path) -> Config:
    return Config(
        eligibility=EligibilityConfig(min_short_side_px=16),
        run=RunConfig(pseudonym_key=str(home / "key")),
    )


def screened(home: Path, logits: dict[str, float]) -> None:
    """What a night with the demonstration checkpoint would have left."""
    results = existing_results(home / "results")
    with connect(results) as catalogue:
        films = fetch(
            catalogue,
            "select sop_instance_uid, study_instance_uid, content_fingerprint from instances",
        )
    films = films.filter(pa.array([uid.as_py() in logits for uid in films["sop_instance_uid"]]))
    count = films.num_rows
    more = {
        "finding": pa.array([VF] * count),
        "logit": pa.array([logits[uid.as_py()] for uid in films["sop_instance_uid"]], pa.float32()),
        "model_sha256": pa.array([read_info("demo").model_sha256] * count),
        "run_id": pa.array(["night"] * count),
        "screened_at": pa.array([datetime(2024, 2, 1, tzinfo=UTC)] * count),
    }
    for name, column in more.items():
        films = films.append_column(name, column)
    write_part(results, "predictions", films)
    publish(results)


def asked(home: Path, **changes: object) -> CalibrateRequest:
    request = CalibrateRequest(
        "demo", home / "archive", home / "labels.csv", home / "new.safetensors", home / "results"
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def test_a_new_checkpoint_has_the_sites_curve_and_the_old_network(
    home: Path, config: Config
) -> None:
    demo = read_info("demo")
    before = hashlib.sha256(demo.path.read_bytes()).hexdigest()
    done = run_calibrate(asked(home), config, StopRequest())
    assert done.error is None
    new, old = done.info, demo
    assert new.model_sha256 == old.model_sha256
    assert new.checkpoint_sha256 != old.checkpoint_sha256
    assert hashlib.sha256(demo.path.read_bytes()).hexdigest() == before
    found = done.findings[VF]
    assert (found.films, found.patients) == (LABELLED, LABELLED // 2)
    assert new.calibration[VF] == found.calibration
    assert found.calibration.slope == pytest.approx(TRUE_CURVE.slope, abs=0.25)
    assert found.after.log_loss < found.before.log_loss
    assert set(new.operating_points[VF]) == {"default", "high_sensitivity", "high_specificity"}


def test_every_probability_changes_without_a_film_decoded(home: Path, config: Config) -> None:
    done = run_calibrate(asked(home, prevalence=0.05), config, StopRequest())
    ledger = run_flag(home / "results", config, None, None, str(done.info.path))
    assert ledger.screened == 0
    with connect(existing_results(home / "results")) as catalogue:
        rows = fetch(catalogue, "select logit, probability from predictions")
    derived = probability(rows["logit"].to_numpy(), done.info.calibration[VF])
    assert rows["probability"].to_numpy() == pytest.approx(derived, abs=1e-9)


def test_the_checkpoint_says_what_its_calibration_rests_on(home: Path, config: Config) -> None:
    new = run_calibrate(asked(home), config, StopRequest()).info
    told = new.provenance["calibration"]["findings"][VF]
    assert (told["films"], told["patients"]) == (LABELLED, LABELLED // 2)
    assert [row["method"] for row in told["methods_compared"]] == [
        "temperature", "platt", "isotonic",
    ]  # fmt: skip
    counts = new.provenance["operating_point_counts"][VF]["default"]
    assert counts["positives"] + counts["negatives"] == LABELLED
    assert "## Calibration on the site's own films" in new.model_card
    # What was said before is still there, and a second calibration replaces the first.
    assert new.model_card.startswith(read_info("demo").model_card.rstrip())
    again = run_calibrate(
        asked(home, checkpoint=str(new.path), out=home / "again.safetensors"),
        config,
        StopRequest(),
    )
    assert again.info.model_card.count("## Calibration on") == 1


def test_no_identifier_gets_into_the_checkpoint(home: Path, config: Config) -> None:
    written = run_calibrate(asked(home), config, StopRequest()).info.path.read_bytes()
    for identifier in (b"P1", b"1.2.7", b"1.3.7", b"A17", b"DOE"):
        header = written[: int.from_bytes(written[:8], "little")]
        assert b'"' + identifier not in header


def test_the_reference_describes_the_calibration_set(home: Path, config: Config) -> None:
    reference = run_calibrate(asked(home), config, StopRequest()).info.reference
    assert reference is not None
    told = reference[VF]
    assert told["films"] == LABELLED
    assert told["missing"]["sex"] == pytest.approx(0.25, abs=0.01)
    assert told["manufacturers"] == {"MAKER": pytest.approx(1.0)}
    assert sum(told["shares"]) == pytest.approx(1.0)


def test_a_stated_prevalence_shifts_all_odds(home: Path, config: Config) -> None:
    own = run_calibrate(asked(home), config, StopRequest()).findings[VF]
    rare = run_calibrate(
        asked(home, prevalence=0.05, out=home / "rare.safetensors"), config, StopRequest()
    ).findings[VF]
    share = own.positives / own.films
    moved = np.log(0.05 / 0.95) - np.log(share / (1 - share))
    assert rare.calibration.intercept - own.calibration.intercept == pytest.approx(moved)
    # The same films are found: only their probabilities are others.
    assert rare.points_after["default"].counts() == own.points_after["default"].counts()


def test_the_archives_prevalence_is_estimated_from_its_screened_films(
    home: Path, config: Config
) -> None:
    found = run_calibrate(asked(home, prevalence="archive"), config, StopRequest()).findings[VF]
    assert found.estimated is not None
    assert found.estimated.low < np.load(home / "truth.npy").mean() < found.estimated.high
    assert found.prevalence == found.estimated.value
    with pytest.raises(UsageError, match="--results"):
        run_calibrate(
            asked(home, prevalence="archive", results=None, out=home / "x"), config, StopRequest()
        )


def test_films_a_week_go_by_the_archives_own_weeks(home: Path, config: Config) -> None:
    rules = CalibrateConfig(operating_points=("default=youden", "busy=films_per_week<=10"))
    new = run_calibrate(asked(home), replace(config, calibrate=rules), StopRequest()).info
    run_flag(home / "results", config, None, None, str(new.path))
    with connect(existing_results(home / "results")) as catalogue:
        rows = fetch(catalogue, "select probability from predictions")
    # The first four weeks of 2024, from a Monday on.
    assert (rows["probability"].to_numpy() >= new.operating_points[VF]["busy"]).sum() == 40


def test_a_rule_that_cannot_be_met_is_said_and_left_out(home: Path, config: Config) -> None:
    rules = CalibrateConfig(operating_points=("default=youden", "busy=films_per_week<=0.1"))
    done = run_calibrate(asked(home), replace(config, calibrate=rules), StopRequest())
    assert set(done.info.operating_points[VF]) == {"default"}
    (said,) = done.info.provenance["calibration"]["findings"][VF]["not_met"]
    assert "busy" in said
    assert said in done.info.model_card


def test_a_checkpoint_that_is_there_is_never_overwritten(home: Path, config: Config) -> None:
    (home / "new.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        run_calibrate(asked(home), config, StopRequest())
    assert (home / "new.safetensors").read_text() == "mine"


def trained_on(patients: list[str], config: Config) -> CheckpointInfo:
    key = load_key(config.run.pseudonym_key)
    hashes = [patient_key(key, None, patient, "") for patient in patients]
    return replace(read_info("demo"), training_patients=training_patients(hashes, key))


def test_patients_seen_in_training_are_refused_or_named_in_every_output(
    home: Path, config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vfscreen.cli.calibration_tables import print_calibrated

    known = trained_on(["P1", "P2"], config)
    monkeypatch.setattr("vfscreen.jobs.calibrate.read_info", lambda _: known)
    with pytest.raises(UsageError, match="trained on 2 of the 60 patients"):
        run_calibrate(asked(home), config, StopRequest())
    assert not (home / "new.safetensors").exists()
    forced = run_calibrate(asked(home, force=True), config, StopRequest())
    assert "2 of the 60 patients" in forced.info.provenance["calibration"]["seen_in_training"]
    assert "2 of the 60 patients" in forced.info.model_card
    print_calibrated(forced, None)
    assert "2 of the 60 patients" in capsys.readouterr().out
    without = run_calibrate(
        asked(home, exclude_seen=True, out=home / "b.safetensors"), config, StopRequest()
    )
    assert without.findings[VF].films == LABELLED - 4


def test_too_few_patients_of_a_class_are_refused(home: Path, config: Config) -> None:
    rows = "".join(f"1.2.{n},{int(n < 6)}\n" for n in range(40))
    (home / "labels.csv").write_text(f"sop_instance_uid,{VF}\n{rows}")
    with pytest.raises(InputError, match="there are 3 and 17"):
        run_calibrate(asked(home), config, StopRequest())


def test_labels_of_other_findings_are_refused(home: Path, config: Config) -> None:
    (home / "labels.csv").write_text("sop_instance_uid,hip_fracture\n1.2.1,1\n1.2.2,0\n")
    with pytest.raises(LabelsError, match="no column for what the checkpoint predicts"):
        run_calibrate(asked(home), config, StopRequest())


@pytest.mark.parametrize(
    "section",
    [{"operating_points": ("default=best",)}, {"method": "spline"}],
)
def test_a_section_that_is_not_understood_is_refused(
    home: Path, config: Config, section: dict[str, object]
) -> None:
    wrong = replace(config, calibrate=CalibrateConfig(**section))  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        run_calibrate(asked(home), wrong, StopRequest())


def command(home: Path, *more: str) -> tuple[int, str]:
    """`vfscreen calibrate` as a person types it: exit code, and all that it prints."""
    (home / "vfscreen.toml").write_text(
        f'[eligibility]\nmin_short_side_px = 16\n[run]\npseudonym_key = "{home / "key"}"\n'
        '[calibrate]\noperating_points = ["default=youden", "nurse=films_per_week<=10"]\n'
    )
    named = {
        "checkpoint": "demo", "archive": home / "archive", "labels": home / "labels.csv",
        "out": home / "new.safetensors", "results": home / "results",
        "config": home / "vfscreen.toml",
    }  # fmt: skip
    words = [word for name, value in named.items() for word in (f"--{name}", str(value))]
    answer = CliRunner().invoke(app, ["calibrate", *words, *more])
    if isinstance(answer.exception, VfscreenError):
        return answer.exception.exit_code, str(answer.exception)
    return answer.exit_code, answer.output


def test_patients_are_counted_or_left_out_but_not_both(home: Path, config: Config) -> None:
    code, said = command(home, "--force", "--exclude-seen")
    assert code == 2 and "not both" in said
    assert not (home / "new.safetensors").exists()


def test_the_command_shows_before_and_after(home: Path, config: Config) -> None:
    code, shown = command(home, "--prevalence", "0.1")
    assert code == 0
    for said in (
        "120 films of 60 patients", "temperature", "isotonic", "cross-validated", "nurse",
        "films_per_week<=10", "meant for a prevalence of 10.0%, as stated", "trained on",
        "new.safetensors",
    ):  # fmt: skip
        assert said in shown
    for identifier in ("1.2.7", "1.3.7", "P17", "DOE"):
        assert identifier not in shown
    assert command(home)[0] == 2
    assert not list(home.glob(".*.scoring"))


@pytest.mark.parametrize("prevalence", ["0", "1", "10%", "nan", "archives", "-0.1"])
def test_a_prevalence_that_is_no_share_is_refused_before_anything_is_read(
    tmp_path: Path, prevalence: str
) -> None:
    code, said = command(tmp_path, f"--prevalence={prevalence}")
    assert code == 2
    assert "above 0 and below 1" in said


def test_checkpoint_info_tells_whose_films_these_were(home: Path, config: Config) -> None:
    new = run_calibrate(asked(home), config, StopRequest()).info
    answer = CliRunner().invoke(app, ["checkpoint", "info", str(new.path)])
    assert "calibrated on the site's films" in answer.stdout
