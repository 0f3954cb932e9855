"""Calibrate a checkpoint on a site's labelled films: probabilities, operating points, reference.

The new checkpoint has the old one's network: `vfscreen flag --checkpoint NEW` changes every
probability of a results folder and decodes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vfscreen import __version__
from vfscreen.archive.walk import archive_root
from vfscreen.config import Config
from vfscreen.errors import ConfigError, LabelsError, UsageError, VfscreenError
from vfscreen.jobs.calibration_card import card_with, recorded
from vfscreen.jobs.label_tables import label_findings
from vfscreen.jobs.labels import Labelled
from vfscreen.jobs.run import Run, end
from vfscreen.jobs.scoring import (
    failed_by_reason,
    open_scoring,
    scan_and_label,
    score_films,
    scoring_verdict,
)
from vfscreen.jobs.seen_patients import Overlap, settle_seen
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import CheckpointInfo, read_info, with_calibration
from vfscreen.model.operating_points import Rule, parse_rules
from vfscreen.results.calibrations import METHODS, logit_at
from vfscreen.results.catalogue import connect
from vfscreen.results.sql import ask

if TYPE_CHECKING:
    from vfscreen.model.recalibration import ArchiveLogits, LabelledLogits, Recalibration

ALL_METHODS = ("auto", *METHODS)


@dataclass(frozen=True, slots=True)
class CalibrateRequest:
    """What to calibrate, on which films, into which new file.

    Attributes
    ----------
    results : Path or None
        A results folder in which the archive was screened: labelled films that it has are not
        decoded again, and its other films tell prevalence and films a week.
    prevalence : float, "archive" or None
        That the probabilities are meant for; None: that of the labelled films.
    force, exclude_seen : bool
        What to do about patients that the checkpoint was trained on: count them, or leave them
        out; neither: refuse.
    problems : Path or None
        Where to list the rows of the labels file that are not used.
    """

    checkpoint: str
    archive: Path
    labels: Path
    out: Path
    results: Path | None = None
    prevalence: float | str | None = None
    force: bool = False
    exclude_seen: bool = False
    problems: Path | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was written, and what it rests on; `error` decides the exit code (None: all well)."""

    info: CheckpointInfo
    labelled: Labelled
    overlap: Overlap
    failed: dict[str, int]
    findings: "dict[str, Recalibration]"
    untouched: tuple[str, ...]
    error: VfscreenError | None


def run_calibrate(request: CalibrateRequest, config: Config, stop: StopRequest) -> Calibrated:
    """Label, score, calibrate each finding that is labelled, and write a new checkpoint.

    Raises
    ------
    UsageError
        The new checkpoint's place is taken, or the set has patients of the training set.
    ConfigError
        The section `calibrate` is not understood.
    InputError
        Labels, checkpoint or archive cannot be used, or the films do not suffice.
    """
    _refuse_place(request)
    if config.calibrate.method not in ALL_METHODS:
        raise ConfigError(f"calibrate.method is one of {', '.join(ALL_METHODS)}.")
    rules = parse_rules(config.calibrate.operating_points)
    info = read_info(request.checkpoint)
    findings = _findings(request.labels, info)
    with open_scoring("calibrate", request.archive, request.out, request.results, config) as run:
        labelled = scan_and_label(
            run, request.archive, request.labels, config, stop,
            findings=findings, problems_path=request.problems,
        )  # fmt: skip
        labelled, overlap = settle_seen(
            run, info, request.labels, labelled, force=request.force, exclude=request.exclude_seen
        )
        scored = score_films(run, labelled, request.archive, info, config, stop)
        with run.timed("calibrate"):
            found = {
                finding: _recalibrate(run, request, info, scored, finding, rules, config)
                for finding in findings
            }
            tried = _tried(run, request, info)
            written = _write(request, info, labelled, overlap, scored, found, tried)
        error = scoring_verdict(run, scored, config)
        end(run, error)
    return Calibrated(
        info=written,
        labelled=labelled,
        overlap=overlap,
        failed=failed_by_reason(scored),
        findings=found,
        untouched=tuple(f for f in info.findings if f not in found),
        error=error,
    )


def _refuse_place(request: CalibrateRequest) -> None:
    """A checkpoint in use is never changed: an hour of scoring must not end with that."""
    if request.out.exists():
        raise UsageError(f"{request.out} is there already: name a new file with --out.")
    if not request.out.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {request.out.absolute().parent} for --out.")
    if request.prevalence == "archive" and request.results is None:
        raise UsageError(
            "--prevalence archive goes by the screened films of the archive: name their results "
            "folder with --results."
        )


def _findings(labels: Path, info: CheckpointInfo) -> tuple[str, ...]:
    """The checkpoint's findings that the labels file has a column for."""
    columns = label_findings(labels)
    found = tuple(finding for finding in info.findings if finding in columns)
    if not found:
        raise LabelsError(
            f"{labels} has no column for what the checkpoint predicts: {', '.join(info.findings)}."
        )
    return found


def _recalibrate(
    run: Run,
    request: CalibrateRequest,
    info: CheckpointInfo,
    scored: pa.Table,
    finding: str,
    rules: Mapping[str, Rule],
    config: Config,
) -> "Recalibration":
    from vfscreen.model.recalibration import recalibrate

    return recalibrate(
        _labelled_logits(_known(scored, finding), finding),
        info.calibration[finding],
        info.operating_points[finding],
        rules,
        method=config.calibrate.method,
        prevalence=request.prevalence,
        archive=None if request.results is None else _archive(run, request, info, finding),
    )


def _known(scored: pa.Table, finding: str) -> pa.Table:
    """The films with a logit whose truth is known."""
    return scored.filter(
        pc.and_(pc.is_valid(scored[finding]), pc.is_valid(scored[f"logit:{finding}"]))
    )


def _labelled_logits(films: pa.Table, finding: str) -> "LabelledLogits":
    from vfscreen.model.recalibration import LabelledLogits

    patients = np.unique(films["patient_key"].to_numpy(), return_inverse=True)[1]
    return LabelledLogits(
        films[f"logit:{finding}"].to_numpy().astype(np.float64),
        films[finding].to_numpy().astype(bool),
        patients,
    )


def _archive(
    run: Run, request: CalibrateRequest, info: CheckpointInfo, finding: str
) -> "ArchiveLogits":
    """All films of the archive that the results folder has screened with this model."""
    from vfscreen.model.recalibration import ArchiveLogits

    with connect(run.results) as catalogue:
        rows = ask(
            catalogue,
            "archive_logits",
            model_sha256=info.model_sha256,
            finding=finding,
            archive_roots=[archive_root(request.archive)],
        )
    dated = np.asarray(pc.is_valid(rows["study_date"]))
    days = pc.drop_null(rows["study_date"]).cast(pa.int32()).to_numpy()
    # Day 0 was a Thursday; weeks begin on Monday.
    weeks = len(np.unique((days + 3) // 7))
    return ArchiveLogits(rows["logit"].to_numpy().astype(np.float64), dated, weeks)


def _write(
    request: CalibrateRequest,
    info: CheckpointInfo,
    labelled: Labelled,
    overlap: Overlap,
    scored: pa.Table,
    found: "dict[str, Recalibration]",
    tried: tuple[int, int],
) -> CheckpointInfo:
    """The new checkpoint: what was not calibrated stays as it was."""
    record = {
        "of_checkpoint_sha256": info.checkpoint_sha256,
        "labels_sha256": labelled.labels_sha256,
        "seen_in_training": overlap.sentence,
        "failed": failed_by_reason(scored),
        "vfscreen": __version__,
        "findings": {finding: recorded(new) for finding, new in found.items()},
    }
    counts: dict[str, Any] = dict(info.provenance.get("operating_point_counts") or {})
    for finding, new in found.items():
        counts[finding] = {
            name: new.points_after.get(name, point).counts()
            for name, point in new.points.points.items()
        }
    references = {
        finding: _reference(scored, finding, new, tried) for finding, new in found.items()
    }
    return with_calibration(
        info,
        request.out,
        calibration=info.calibration | {f: new.calibration for f, new in found.items()},
        operating_points=info.operating_points
        | {f: new.points.thresholds() for f, new in found.items()},
        reference=dict(info.reference or {}) | references,
        model_card=card_with(info.model_card, found, overlap.sentence),
        provenance=info.provenance | {"calibration": record, "operating_point_counts": counts},
    )


def _reference(
    scored: pa.Table, finding: str, new: "Recalibration", tried: tuple[int, int]
) -> dict[str, Any]:
    """The calibration set as `vfscreen status` holds the months to come against."""
    from vfscreen.model.drift import reference_of

    films = _known(scored, finding)
    of_films = _labelled_logits(films, finding)
    tags = {
        "age": "patient_age_years", "sex": "patient_sex", "view": "view_position",
        "manufacturer": "manufacturer",
    }  # fmt: skip
    threshold = new.points.points["default"].threshold
    return reference_of(
        of_films.logits,
        of_films.labels,
        of_films.patients,
        missing={tag: _missing(films[column]) for tag, column in tags.items()},
        manufacturers=films["manufacturer"].to_pylist(),
        prevalence=new.prevalence,
        threshold_logit=logit_at(min(max(threshold, 1e-12), 1 - 1e-12), new.calibration),
        tried=tried[0],
        failed=tried[1],
    ).to_json()


def _tried(run: Run, request: CalibrateRequest, info: CheckpointInfo) -> tuple[int, int]:
    """How many of the archive's films the model was given here, and how many of them failed."""
    with connect(run.results) as catalogue:
        rows = ask(
            catalogue,
            "film_outcomes",
            archive_roots=[archive_root(request.archive)],
            model_sha256=info.model_sha256,
        )
    failed = len(rows) - rows["failure_reason"].null_count
    return pc.count_distinct(rows["sop_instance_uid"]).as_py(), failed


def _missing(column: pa.ChunkedArray) -> "np.typing.NDArray[np.bool_]":
    """Whether a tag is missing or empty."""
    empty = pc.is_null(column)
    if pa.types.is_string(column.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True))
    return np.asarray(empty)
