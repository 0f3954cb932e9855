"""`vfscreen status` holds what the model screened lately against its calibration set."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.errors import CheckpointError
from vfscreen.jobs.drift import drift_of
from vfscreen.model.drift import TAGS, Drift, Reference, reference_of
from vfscreen.results.calibrations import Calibration
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import register_checkpoint
from vfscreen.results.folder import Results, open_results
from vfscreen.results.ledger import new_ledger, write_ledger
from vfscreen.results.parts import write_part
from vfscreen.results.rows import CheckpointHead, checkpoints_table
from vfscreen.results.schemas import FAILURES, MANIFEST, PREDICTIONS

VF = "vertebral_fracture"
UNTIL = datetime(2024, 6, 30, 6, tzinfo=UTC)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return open_results(tmp_path / "results")


def reference(seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    labels = rng.random(300) < 0.3
    return reference_of(
        rng.normal(labels * 2.0, 1.0), labels, np.arange(300),
        missing={tag: np.zeros(300) for tag in TAGS}, manufacturers=["Maker"] * 300,
        prevalence=0.3, threshold_logit=1.0, tried=300, failed=0,
    )  # fmt: skip


def use(results: Results, told: str | None) -> None:
    """Register a checkpoint that says this of its calibration set."""
    heads = [CheckpointHead(VF, Calibration(), {"default": 0.5, "other": 0.7}, told)]
    rows = checkpoints_table(
        heads, checkpoint_sha256="c", model_sha256="m", name="test", path="none",
        demonstration=False,
    )  # fmt: skip
    register_checkpoint(results, rows)
    publish(results)


def film(number: int, logit: float, **changes: Any) -> dict[str, Any]:
    """A film as the night left it; `days` before the last."""
    return {
        "number": number, "logit": logit, "days": 1.0, "age": 70, "sex": "F", "view": "AP",
        "manufacturer": "Maker", "study": f"S{number}", "model": "m",
    } | changes  # fmt: skip


def screened(results: Results, films: list[dict[str, Any]]) -> None:
    manifest = [
        {
            "archive_root": "/archive", "archive_path": f"{f['number']}", "eligible": True,
            "instance_key": f"K{f['number']}", "sop_instance_uid": f"F{f['number']}",
            "study_instance_uid": f["study"], "study_date": date(2020, 1, 1), "run_id": "r",
            "patient_age_years": f["age"], "patient_sex": f["sex"], "view_position": f["view"],
            "manufacturer": f["manufacturer"], "scanned_at": UNTIL,
        }
        for f in films
    ]  # fmt: skip
    predictions = [
        {
            "sop_instance_uid": f"F{f['number']}", "study_instance_uid": f["study"], "finding": VF,
            "logit": f["logit"], "model_sha256": f["model"], "run_id": "r",
            "screened_at": UNTIL - timedelta(days=f["days"]),
        }
        for f in films
    ]  # fmt: skip
    write_part(results, "manifest", pa.Table.from_pylist(manifest, schema=MANIFEST))
    write_part(results, "predictions", pa.Table.from_pylist(predictions, schema=PREDICTIONS))
    publish(results)


def failed(results: Results, *numbers: int, days: float = 1.0) -> None:
    rows = [
        {
            "instance_key": f"K{n}", "sop_instance_uid": f"F{n}", "stage": "decode",
            "reason": "truncated", "transient": False, "model_sha256": "m", "run_id": "r",
            "failed_at": UNTIL - timedelta(days=days),
        }
        for n in numbers
    ]  # fmt: skip
    write_part(results, "failures", pa.Table.from_pylist(rows, schema=FAILURES))
    publish(results)


def asked(results: Results) -> Drift:
    with connect(results) as catalogue:
        return drift_of(catalogue)[VF]


def test_the_month_is_counted_as_a_loop_would(results: Results) -> None:
    told = reference()
    use(results, json.dumps(told.to_json()))
    rng = np.random.default_rng(5)
    films = [
        film(
            n,
            # Some exactly on an edge.
            float(np.float32(rng.choice([*told.edges, *rng.normal(0, 2, 9)]))),
            age=rng.choice([None, 70]),
            sex=rng.choice([None, "", " ", "F"]),
            view=rng.choice(["", "AP"]),
            manufacturer=rng.choice(["Maker", "Other\tCo", None, "  "]),
            study=f"S{n // 3}",
        )
        for n in range(500)
    ]
    screened(results, films)
    failed(results, 600, 601, 602)
    month = asked(results).month
    logits = np.array([f["logit"] for f in films])
    bins = Counter(int(np.searchsorted(told.edges, z, "right")) for z in logits)
    assert month.bins == tuple(bins.get(b, 0) for b in range(len(told.shares)))
    assert (month.films, month.studies, month.failed) == (500, 167, 3)
    assert month.positive == (logits >= told.threshold_logit).sum()
    assert month.missing == {
        "age": sum(f["age"] is None for f in films),
        "sex": sum(not (f["sex"] or "").strip() for f in films),
        "view": sum(f["view"] == "" for f in films),
        "manufacturer": sum(not (f["manufacturer"] or "").strip() for f in films),
    }
    assert month.manufacturers["Other\tCo"] == sum(f["manufacturer"] == "Other\tCo" for f in films)


def test_only_the_last_thirty_days_of_this_model_count(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    screened(
        results,
        [
            film(1, 0.0, days=0), film(2, 0.0, days=29.9), film(3, 0.0, days=30.1),
            film(4, 0.0, days=-5, model="another"),
        ],
    )  # fmt: skip
    failed(results, 5, days=31)
    month = asked(results).month
    assert (month.films, month.failed) == (2, 0)
    assert (month.since, month.until) == (date(2024, 5, 31), date(2024, 6, 30))


def test_a_film_counts_once_with_its_last_logit_and_not_as_failed(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    failed(results, 1, days=3)
    screened(results, [film(1, 5.0, days=2), film(2, -5.0)])
    screened(results, [film(1, -5.0, days=1)])
    month = asked(results).month
    assert (month.films, month.positive, month.failed) == (2, 0, 0)


def test_a_checkpoint_that_does_not_describe_its_films_is_not_compared(results: Results) -> None:
    use(results, None)
    screened(results, [film(1, 0.0)])
    with connect(results) as catalogue:
        assert drift_of(catalogue) == {}


def test_before_the_first_film_there_is_nothing_to_compare(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    with connect(results) as catalogue:
        assert drift_of(catalogue) == {}


@pytest.mark.parametrize("told", ["", "{", "[]", "{}", '{"films": 1}', "[" * 5000])
def test_a_damaged_description_is_said(results: Results, told: str) -> None:
    use(results, told)
    screened(results, [film(1, 0.0)])
    with connect(results) as catalogue, pytest.raises(CheckpointError, match="damaged"):
        drift_of(catalogue)


def status(results: Results) -> str:
    ledger = new_ledger("screen")
    ledger.end("done", 0)
    write_ledger(results, ledger)
    answer = CliRunner().invoke(app, ["status", "--results", str(results.path)])
    assert answer.exit_code == 0
    return answer.stdout


def test_status_of_a_damaged_description_still_shows_the_runs(results: Results) -> None:
    use(results, "{}")
    screened(results, [film(1, 0.0)])
    write_ledger(results, new_ledger("screen"))
    answer = CliRunner().invoke(app, ["status", "--results", str(results.path)])
    assert isinstance(answer.exception, CheckpointError)
    assert "screen" in answer.stdout


def test_status_says_when_to_calibrate_again_and_why(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    rng = np.random.default_rng(1)
    shifted = rng.normal(1.5, 1.0, 300)
    screened(
        results,
        [film(n, float(z), manufacturer="New\x1b[2J Maker") for n, z in enumerate(shifted)],
    )
    said = status(results)
    assert "300 studies screened from 2024-05-30 to 2024-06-29 are not like the films" in said
    assert "the model's outputs are distributed otherwise" in said
    assert "100% instead of 0%" in said
    assert "vfscreen calibrate" in said
    assert "\x1b" not in said


def test_status_of_a_month_like_the_calibration_set_calls_for_nothing(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    rng = np.random.default_rng(2)
    logits = rng.normal((rng.random(300) < 0.3) * 2.0, 1.0)
    screened(results, [film(n, float(z)) for n, z in enumerate(logits)])
    said = status(results)
    assert "none to speak of in 300 studies" in said
    assert "vfscreen calibrate" not in said


def test_status_of_few_films_says_that_they_are_few(results: Results) -> None:
    use(results, json.dumps(reference().to_json()))
    screened(results, [film(n, 9.0) for n in range(20)])
    said = status(results)
    assert "20 studies were screened" in said
    assert "too few" in said


def test_status_without_a_description_says_nothing_of_drift(results: Results) -> None:
    use(results, None)
    screened(results, [film(1, 0.0)])
    assert "rift" not in status(results)
