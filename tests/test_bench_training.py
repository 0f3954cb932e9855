"""The training study: its plan, its arithmetic, its tables; once in miniature, as a drill."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from benchmarks import training_report, training_study
from benchmarks.training_rows import ROWS, SHIFTED, SHIFTS, Study
from benchmarks.training_speed import films_per_s
from benchmarks.training_study import Bench, epochs_of
from vfscreen.config_file import load
from vfscreen.jobs.evaluation_figures import LevelFigures
from vfscreen.phantom.shift import Shift

TRAIN = {"input_size_px": 224, "batch_size": 16, "learning_rate": 6e-4}


def study(**changes: Any) -> Study:
    usual: dict[str, Any] = {
        "budget_min": 20, "training": 100, "calibration": 40, "test": 60, "films": "usual",
        "long_side_px": 900, "seed": 1, "rows": tuple(r.name for r in ROWS),
        "shifts": tuple(SHIFTS), "shift_row": SHIFTED, "train": TRAIN,
    }  # fmt: skip
    return Study(**usual | changes)


def test_the_rows_are_the_questions() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert SHIFTED in names
    assert tuple(SHIFTS) == tuple(shift.value for shift in Shift)
    assert [r.name for r in study().chosen()] == [n for n in names if n != "imagenet-224"]
    assert [r.name for r in study(imagenet="w.pth").chosen()] == names


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_settings_of_a_row_are_settings_of_vfscreen(row: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path, study(eligibility={"min_short_side_px": 64}))
    settings = {"folds": 0, **TRAIN, **row.settings}
    config = load(bench.write_config(tmp_path, settings))
    assert {name: getattr(config.train, name) for name in settings} == settings
    assert config.eligibility.min_short_side_px == 64


def test_epochs_fill_the_budget_and_are_at_least_one() -> None:
    assert epochs_of(20, 10.0, 1000) == 12
    assert epochs_of(0.1, 1.0, 1000) == 1


def test_a_work_folder_holds_one_study(tmp_path: Path) -> None:
    Bench(tmp_path, study())
    Bench(tmp_path, study())
    with pytest.raises(SystemExit, match="another study"):
        Bench(tmp_path, study(seed=2))


def test_what_is_kept_of_a_report_is_in_it() -> None:
    names = {field.name for field in fields(LevelFigures)}
    assert {"units", "positives", "auc", "brier", "calibration", "operating_points"} <= names


def test_speed_on_random_tensors_is_measured() -> None:
    assert films_per_s("resnext50_32x4d", 32, 64, 2, 0) > 0


def figures(auc: float) -> dict[str, Any]:
    def share(value: float) -> dict[str, Any]:
        return {"count": 1, "total": 2, "value": value, "low": value - 0.1, "high": value + 0.1}

    return {
        "films": 60, "positives": 20, "failed": 0,
        "auc": {"value": auc, "low": auc - 0.03, "high": auc + 0.02},
        "brier": {"value": 0.123, "low": 0.1, "high": 0.2},
        "calibration_slope": {"value": 0.91, "low": 0.7, "high": 1.1},
        "sensitivity": share(0.7), "specificity": share(0.8),
        "grades": {"grade 1": {"auc": 0.71}, "grade 3": {"auc": 0.93}},
    }  # fmt: skip


def test_the_tables_have_every_row_and_name_their_file() -> None:
    more = {"settings": {"epochs": 9}, "films_per_s": 4.5, "random_films_per_s": 5.0}
    rows = {r.name: {"shown": r.shown, **figures(0.86), **more} for r in ROWS}
    rows["located-512"] = {"shown": "located", "error": "no memory"}
    said = "networks rank the films of x no better than chance (AUC 0.520 (0.410 to 0.630)): no"
    rows["scratch-224"] = {"shown": "scratch", "error": said}
    result = {
        "study": asdict(study()), "rows": rows,
        "shifts": {
            "noise": {"before": figures(0.61), "after": figures(0.61)},
            "curve": {"error": "no memory"},
        },
        "machine": {"cores": 2, "processor": "P", "commit": "abc"}, "command": "python -m x",
    }  # fmt: skip
    text = training_report.render(result, "training-study-x.json")
    assert "| 224 px, from ImageNet | 0.860 (0.830 to 0.880) | 0.710 |  | 0.930 |" in text
    assert "| scratch | no better than chance; in validation AUC 0.520 (0.410 to 0.630) |" in text
    assert "| 9 | 4.5 | 90% |" in text
    assert "| located | failed |" in text and "**Failed: located; another maker's curve.**" in text
    assert "| an eighth of the dose, recalibrated | 0.610" in text
    assert "From `benchmarks/results/training-study-x.json`" in text
    page = training_report.PAGE.read_text()
    written = training_report.replaced(page, text, training_report.BEGIN, training_report.END)
    assert text in written


@pytest.mark.drill
@pytest.mark.timeout(1800)
def test_a_study_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row and a shift through the real commands; the second time nothing is done again.

    The network begins as the demonstration's: so few films teach none from the beginning.
    """
    arguments = [
        "--budget", "0.02", "--training", "30", "--calibration", "60", "--test", "30",
        "--films", "easy", "--long-side-px", "300", "--smallest-px", "64", "--batch-size", "8",
        "--learning-rate", "1e-6", "--rows", "imagenet-224", "--imagenet", "demo",
        "--shifts", "photograph", "--shift-row", "imagenet-224",
        "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert training_study.main(arguments) == 0
    (kept,) = (tmp_path / "out").iterdir()
    result = json.loads(kept.read_text())
    (row,) = result["rows"].values()
    assert row["films"] >= 25 and row["failed"] == 0
    assert row["auc"]["value"] > 0.8
    assert result["shifts"]["photograph"]["after"]["films"] == row["films"]
    assert "recalibrated" in capsys.readouterr().out
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "work").rglob("*.safetensors")}
    assert training_study.main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in times} == times
