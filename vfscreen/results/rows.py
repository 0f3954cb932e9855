"""Rows that jobs hand to the results folder, from arrays and dataclasses to Arrow tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vfscreen.errors import FailureReason, Stage
from vfscreen.results.calibrations import Calibration, probability
from vfscreen.results.schemas import CHECKPOINTS, FAILURES, HEATMAPS, PREDICTIONS


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be done for one instance; the message holds no identifier and no path."""

    instance_key: str
    sop_instance_uid: str | None
    content_fingerprint: str | None
    model_sha256: str | None
    stage: Stage
    reason: FailureReason
    message: str
    transfer_syntax_uid: str | None


@dataclass(frozen=True, slots=True)
class ScreenedFilm:
    """One film that the network has seen, without its logits."""

    sop_instance_uid: str
    study_instance_uid: str
    content_fingerprint: str
    decode_route: str


@dataclass(frozen=True, slots=True)
class CheckpointHead:
    """One finding of a checkpoint: its calibration and operating points (name to threshold).

    `reference` is what the checkpoint says of the films it was calibrated on, as JSON.
    """

    finding: str
    calibration: Calibration
    operating_points: dict[str, float]
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A rendered heatmap: its pictures, below heatmaps/, and its peak in pixels of the film."""

    sop_instance_uid: str
    finding: str
    model_sha256: str
    film_file: str
    heatmap_file: str
    peak_column_px: float
    peak_row_px: float


def failures_table(failures: Sequence[Failure], run_id: str) -> pa.Table:
    """Failures as rows of `failures`."""
    now = datetime.now(UTC)
    return pa.Table.from_pylist(
        [
            {
                "instance_key": f.instance_key,
                "sop_instance_uid": f.sop_instance_uid,
                "content_fingerprint": f.content_fingerprint,
                "model_sha256": f.model_sha256,
                "stage": f.stage.value,
                "reason": f.reason.value,
                "transient": f.reason.transient,
                "message": f.message,
                "transfer_syntax_uid": f.transfer_syntax_uid,
                "run_id": run_id,
                "failed_at": now,
            }
            for f in failures
        ],
        schema=FAILURES,
    )


def predictions_table(
    films: Sequence[ScreenedFilm],
    logits: NDArray[np.float32],
    heads: Sequence[CheckpointHead],
    *,
    model_sha256: str,
    checkpoint_sha256: str,
    run_id: str,
) -> pa.Table:
    """Logits of a shard as rows of `predictions`, one a film and finding.

    A finding that was not judged on a film (a level that the film does not show) has no row.

    Parameters
    ----------
    films
        N films.
    logits
        (N, len(heads)) float32, finite; NaN: not judged.
    heads
        The checkpoint's findings, in the order of the logits' columns.
    """
    count, findings = len(films), len(heads)
    if logits.shape != (count, findings):
        raise ValueError(f"logits of shape {logits.shape} for {count} films, {findings} findings")
    calibrated = [probability(logits[:, k], h.calibration) for k, h in enumerate(heads)]
    each = [i for i in range(count) for _ in heads]
    rows = pa.table(
        {
            "sop_instance_uid": [films[i].sop_instance_uid for i in each],
            "study_instance_uid": [films[i].study_instance_uid for i in each],
            "finding": [h.finding for h in heads] * count,
            "logit": logits.reshape(-1),
            "raw_probability": probability(logits, Calibration()).reshape(-1).astype(np.float32),
            "probability": np.stack(calibrated, axis=1).reshape(-1).astype(np.float32),
            "content_fingerprint": [films[i].content_fingerprint for i in each],
            "model_sha256": [model_sha256] * len(each),
            "checkpoint_sha256": [checkpoint_sha256] * len(each),
            "decode_route": [films[i].decode_route for i in each],
            "run_id": [run_id] * len(each),
            "screened_at": [datetime.now(UTC)] * len(each),
        },
        schema=PREDICTIONS,
    )
    return rows.filter(pa.array(~np.isnan(logits).reshape(-1)))


def checkpoints_table(
    heads: Sequence[CheckpointHead],
    *,
    checkpoint_sha256: str,
    model_sha256: str,
    name: str,
    path: str,
    demonstration: bool,
) -> pa.Table:
    """A checkpoint as rows of `checkpoints`, one a finding and operating point.

    A head without an operating point cannot be listed, and has no row.
    """
    now = datetime.now(UTC)
    return pa.Table.from_pylist(
        [
            {
                "checkpoint_sha256": checkpoint_sha256,
                "model_sha256": model_sha256,
                "name": name,
                "path": path,
                "demonstration": demonstration,
                "finding": head.finding,
                "calibration_method": head.calibration.method,
                "calibration_slope": head.calibration.slope,
                "calibration_intercept": head.calibration.intercept,
                "calibration_knots": [
                    {"logit": logit, "log_odds": odds} for logit, odds in head.calibration.knots
                ],
                "reference": head.reference,
                "operating_point": point,
                "threshold": threshold,
                "registered_at": now,
            }
            for head in heads
            for point, threshold in head.operating_points.items()
        ],
        schema=CHECKPOINTS,
    )


def heatmaps_table(heatmaps: Sequence[Heatmap]) -> pa.Table:
    """Rendered heatmaps as rows of `heatmaps`."""
    now = datetime.now(UTC)
    return pa.Table.from_pylist(
        [
            {name: getattr(h, name) for name in Heatmap.__slots__} | {"rendered_at": now}
            for h in heatmaps
        ],
        schema=HEATMAPS,
    )
