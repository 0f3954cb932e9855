"""From logits to the list and off it again, through parts and catalogue."""

from pathlib import Path

import numpy as np
import pytest
from spec_tables import part

from vfscreen.config import Config, ListConfig
from vfscreen.errors import FailureReason, Stage, UsageError
from vfscreen.results.calibrations import Calibration
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.flags import record_settings, register_checkpoint, update_flags
from vfscreen.results.folder import Results, open_results
from vfscreen.results.parts import write_part
from vfscreen.results.reviews import append_review, find_study
from vfscreen.results.rows import (
    CheckpointHead,
    Failure,
    Heatmap,
    ScreenedFilm,
    checkpoints_table,
    failures_table,
    heatmaps_table,
    predictions_table,
)
from vfscreen.results.sql import fetch

VF = "vertebral_fracture"
HEADS = [CheckpointHead(VF, Calibration(), {"default": 0.5})]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two patients of whom both are likely to have a fracture, and one who is not."""
    results = open_results(tmp_path / "results")
    films = [ScreenedFilm(f"F{n}", f"S{n}", "v1", "jpegls") for n in (1, 2, 3)]
    logits = np.array([[2.0], [1.0], [-200.0]], np.float32)
    manifest = """
        film | study | accession | patient | date
        F1   | S1    | A1        | P1      | 2024-03-01
        F2   | S2    | A2        | P2      | 2024-03-02
        F3   | S3    | A3        | P3      | 2024-03-03
    """
    write_part(results, "manifest", part("manifest", manifest))
    write_part(
        results, "predictions",
        predictions_table(
            films, logits, HEADS, model_sha256="m", checkpoint_sha256="c", run_id="r1"
        ),
    )  # fmt: skip
    publish(results)
    assert use(results, "c", HEADS)
    return results


def use(results: Results, checkpoint: str, heads: list[CheckpointHead]) -> bool:
    rows = checkpoints_table(
        heads,
        checkpoint_sha256=checkpoint,
        model_sha256="m",
        name="test",
        demonstration=True,
        path="test.safetensors",
    )
    new = register_checkpoint(results, rows)
    publish(results)
    return new


def listed(results: Results) -> list[str]:
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select study_instance_uid from flagged order by list, rank")
    return rows["study_instance_uid"].to_pylist()


def flag(results: Results, threshold: float = 0.5) -> dict[str, int]:
    return update_flags(results, finding=VF, threshold=threshold, run_id="r2")


def test_flagging_fills_the_list_once(results: Results) -> None:
    assert flag(results) == {"flagged_new": 2}
    assert listed(results) == ["S1", "S2"]
    assert flag(results) == {}
    assert flag(results, 0.8) == {"flagged_threshold": 1, "unflagged_below_threshold": 1}
    assert listed(results) == ["S1"]


def test_a_reviewed_study_leaves_the_list_at_once(results: Results) -> None:
    flag(results)
    with connect(results) as catalogue:
        study = find_study(catalogue, " A1 ")
    append_review(results, study, VF, "confirm", "seen on CT", "nurse")
    assert listed(results) == ["S2"]
    with connect(results) as catalogue:
        row = fetch(catalogue, "select * from reviews_current").to_pylist()[0]
    assert (row["patient_id"], row["note"], row["reviewer"]) == ("P1", "seen on CT", "nurse")


def test_a_decision_without_a_name_or_meaning_is_refused(results: Results) -> None:
    with pytest.raises(UsageError, match="who decided"):
        append_review(results, "S1", VF, "confirm", "", " ")
    with pytest.raises(UsageError, match="confirm, reject, known, refer"):
        append_review(results, "S1", VF, "perhaps", "", "nurse")


def test_an_unknown_accession_number_is_refused_without_repeating_it(results: Results) -> None:
    with connect(results) as catalogue, pytest.raises(UsageError) as refused:
        find_study(catalogue, "SECRET-123")
    assert "SECRET" not in str(refused.value)


def test_an_accession_number_of_two_studies_is_refused(results: Results) -> None:
    other = "film | study | accession | archive_path\nF9 | S9 | A1 | elsewhere"
    write_part(results, "manifest", part("manifest", other))
    publish(results)
    with connect(results) as catalogue, pytest.raises(UsageError, match="more than one study"):
        find_study(catalogue, "A1")


def test_the_checkpoint_used_last_is_the_current_one_even_if_it_was_used_before(
    results: Results,
) -> None:
    assert not use(results, "c", HEADS)
    assert use(
        results, "recalibrated", [CheckpointHead(VF, Calibration(0.1, -1.0), {"default": 0.5})]
    )
    assert flag(results) == {}  # 0.31 and 0.29
    assert use(results, "c", HEADS)
    assert flag(results) == {"flagged_new": 2}


def test_settings_are_written_when_they_change(results: Results) -> None:
    assert record_settings(results, Config(), "r1")
    publish(results)
    assert not record_settings(results, Config(), "r2")
    assert record_settings(results, Config(list=ListConfig(lookback_before_days=100)), "r3")
    publish(results)
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select lookback_before_days as n from settings").to_pylist()
    assert rows == [{"n": 100}]


def test_failures_and_heatmaps_keep_what_jobs_say(results: Results) -> None:
    failure = Failure("k1", "F1", "v1", "m", Stage.DECODE, FailureReason.LOST_WORKER, "lost", "1.2")
    heatmap = Heatmap("F1", VF, "m", "film.png", "map.png", 10.0, 20.0)
    write_part(results, "failures", failures_table([failure], "r1"))
    write_part(results, "heatmaps", heatmaps_table([heatmap]))
    publish(results)
    flag(results)
    with connect(results) as catalogue:
        failed = fetch(catalogue, "select * from failures").to_pylist()
        shown = fetch(catalogue, "select rank, heatmap from flagged order by rank").to_pylist()
    assert [(f["reason"], f["transient"], f["nights_tried"]) for f in failed] == [
        ("lost_worker", True, 1)
    ]
    assert shown == [{"rank": 1, "heatmap": "heatmaps/map.png"}, {"rank": 2, "heatmap": None}]


def test_an_extreme_logit_is_a_probability_and_no_warning(results: Results) -> None:
    with connect(results) as catalogue:
        rows = fetch(catalogue, "select probability from predictions order by sop_instance_uid")
    assert rows["probability"].to_pylist() == pytest.approx([0.8808, 0.7311, 0.0], abs=1e-4)
