"""Rows of the results folder, from arrays."""

import numpy as np

from vfscreen.results.calibrations import Calibration
from vfscreen.results.rows import CheckpointHead, ScreenedFilm, predictions_table


def test_a_finding_that_was_not_judged_on_a_film_has_no_row() -> None:
    films = [ScreenedFilm(f"1.{i}", "1", "f", "cpu") for i in range(2)]
    heads = [CheckpointHead(name, Calibration(), {}) for name in ("film", "film_L1")]
    rows = predictions_table(
        films,
        np.array([[0.5, np.nan], [1.0, 2.0]], np.float32),
        heads,
        model_sha256="m",
        checkpoint_sha256="c",
        run_id="r",
    )
    assert rows.select(["sop_instance_uid", "finding", "logit"]).to_pylist() == [
        {"sop_instance_uid": "1.0", "finding": "film", "logit": 0.5},
        {"sop_instance_uid": "1.1", "finding": "film", "logit": 1.0},
        {"sop_instance_uid": "1.1", "finding": "film_L1", "logit": 2.0},
    ]
