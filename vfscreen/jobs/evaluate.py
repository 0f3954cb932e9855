"""Evaluate a checkpoint on a site's own labelled films, by the path that the nightly job uses."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vfscreen import __version__
from vfscreen.config import Config
from vfscreen.errors import FailureReason, UsageError, VfscreenError
from vfscreen.jobs.evaluation_figures import LevelFigures, Resampling, level_figures
from vfscreen.jobs.evaluation_parts import Comparison, Subgroup, compare, subgroups
from vfscreen.jobs.evaluation_report import refuse_folder, write_report
from vfscreen.jobs.evaluation_samples import scored_films
from vfscreen.jobs.label_tables import label_findings
from vfscreen.jobs.labels import Labelled, LabelProblems
from vfscreen.jobs.readers import Calls, ReadersFigures, read_calls, reader_figures
from vfscreen.jobs.run import Run, end
from vfscreen.jobs.scan import refuse_nesting
from vfscreen.jobs.scoring import (
    failed_by_reason,
    open_scoring,
    scan_and_label,
    score_films,
    scoring_verdict,
)
from vfscreen.jobs.seen_patients import Overlap, settle_seen
from vfscreen.jobs.stopping import StopRequest
from vfscreen.model.checkpoint import CheckpointInfo, read_info

DEFAULT_POINT = "default"
_LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "statsmodels", "pydicom")


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What to evaluate, on what, into where.

    Attributes
    ----------
    findings
        Of the checkpoint's; None: those that the labels file has a column for.
    prevalence
        At which PPV and NPV are given beside the sample's own.
    force, exclude_seen
        What becomes of patients whom the checkpoint was trained on: evaluated and said so, or left
        out; neither: the evaluation is refused.
    """

    checkpoint: str
    archive: Path
    labels: Path
    out: Path
    results: Path | None = None
    compare: str | None = None
    readers: Path | None = None
    findings: tuple[str, ...] | None = None
    prevalence: float | None = None
    force: bool = False
    exclude_seen: bool = False
    problems: Path | None = None


@dataclass(frozen=True, slots=True)
class FindingEvaluation:
    """All figures of one finding; `levels` are film and study."""

    finding: str
    levels: tuple[LevelFigures, LevelFigures]
    subgroups: list[Subgroup]
    comparisons: list[Comparison]
    readers: ReadersFigures | None


@dataclass(frozen=True, slots=True)
class Model:
    """What a report says of a checkpoint."""

    name: str
    demonstration: bool
    architecture: str
    members: int
    flip: bool
    located: bool
    input_size_px: int
    findings: tuple[str, ...]
    model_sha256: str
    checkpoint_sha256: str
    trained_with: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Material:
    """The films behind the figures: every file found and every label row has its place here.

    `found` is the sum of `excluded` and `unreadable` (by reason) and of the labelled films.
    """

    found: int
    excluded: dict[str, int]
    unreadable: dict[str, int]
    labelled_films: int
    labelled_studies: int
    labelled_patients: int
    failed: dict[str, int]
    label_rows: int
    label_rows_used: int
    label_rows_unused: dict[str, int]
    labels_by: str
    labels_sha256: str
    reader_rows: int
    reader_rows_unused: dict[str, int]
    first_year: int | None
    last_year: int | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a report says, and how the command ends (`error` None: all went well)."""

    made_at: str
    versions: dict[str, str]
    model: Model
    second_model: Model | None
    overlaps: tuple[Overlap, ...]
    material: Material
    findings: list[FindingEvaluation]
    prevalence: float | None
    settings: dict[str, int]
    report: Path
    error: VfscreenError | None


def run_evaluate(request: EvaluateRequest, config: Config, stop: StopRequest) -> Evaluation:
    """`vfscreen evaluate`: score the labelled films, make the figures, write the report.

    Raises
    ------
    UsageError
        The report folder is in use, patients were seen in training, or no finding is both labelled
        and predicted.
    InputError
        Checkpoint, archive, labels or readers cannot be used.
    InterruptedRunError
        Stopped: the same command goes on.
    """
    refuse_folder(request.out)
    refuse_nesting(request.archive, request.out)
    info = read_info(request.checkpoint)
    second = None if request.compare is None else read_info(request.compare)
    findings = _findings(request, info, second)
    with open_scoring("evaluate", request.archive, request.out, request.results, config) as run:
        labelled = scan_and_label(
            run, request.archive, request.labels, config, stop,
            findings=findings, problems_path=request.problems,
        )  # fmt: skip
        models = [info] if second is None else [info, second]
        labelled, overlaps = _unseen(run, models, labelled, request)
        calls = read_readers(run, request, info)
        scored = [
            score_films(run, labelled, request.archive, model, config, stop) for model in models
        ]
        error = scoring_verdict(run, scored[0], config)
        evaluation = Evaluation(
            made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            versions=_versions(),
            model=_model(info),
            second_model=None if second is None else _model(second),
            overlaps=overlaps,
            material=_material(run, labelled, scored[0], calls),
            findings=[
                evaluate_finding(finding, models, scored, calls, request.prevalence, config)
                for finding in findings
            ],
            prevalence=request.prevalence,
            settings={
                "draws": config.evaluate.draws,
                "seed": config.evaluate.seed,
                "subgroup_min_films": config.evaluate.subgroup_min_films,
                "smallest_count": config.evaluate.smallest_count,
            },
            report=request.out,
            error=error,
        )
        write_report(evaluation, request.out)
        end(run, error)
    return evaluation


def _findings(
    request: EvaluateRequest, info: CheckpointInfo, second: CheckpointInfo | None
) -> tuple[str, ...]:
    """What is both labelled and predicted, in the checkpoint's order."""
    labelled = label_findings(request.labels)
    wanted = request.findings or tuple(f for f in info.findings if f in labelled)
    missing = [f for f in wanted if f not in info.findings]
    if missing or not wanted:
        what = f"not {missing[0]}" if missing else "none of which the labels file has a column for"
        raise UsageError(f"The checkpoint predicts {', '.join(info.findings)}, {what}.")
    if second is not None and not set(wanted) <= set(second.findings):
        raise UsageError(
            f"The second checkpoint predicts {', '.join(second.findings)}: name what both predict "
            "by --finding."
        )
    return wanted


def _unseen(
    run: Run, models: list[CheckpointInfo], labelled: Labelled, request: EvaluateRequest
) -> tuple[Labelled, tuple[Overlap, ...]]:
    """The films that may be evaluated on, and what is to be said of patients seen in training."""
    overlaps = []
    for info in models:
        labelled, overlap = settle_seen(
            run, info, request.labels, labelled, force=request.force, exclude=request.exclude_seen
        )
        overlaps.append(overlap)
    return labelled, tuple(overlaps)


def read_readers(run: Run, request: EvaluateRequest, info: CheckpointInfo) -> Calls | None:
    """The readers' calls, if there are any."""
    if request.readers is None:
        return None
    return read_calls(run, request.readers, request.archive, info.findings)


def evaluate_finding(
    finding: str,
    models: list[CheckpointInfo],
    scored: list[pa.Table],
    calls: Calls | None,
    prevalence: float | None,
    config: Config,
) -> FindingEvaluation:
    """All figures of one finding.

    Parameters
    ----------
    models, scored
        One or two checkpoints, and their tables as `score_films` returns them.
    """
    settings = config.evaluate
    resampling = Resampling(settings.draws, settings.seed)
    info, points = models[0], models[0].operating_points[finding]
    films = scored_films(scored[0], info, finding)
    shown = DEFAULT_POINT if DEFAULT_POINT in points else next(iter(points))
    comparisons = []
    if len(models) > 1:
        others = models[1].operating_points[finding]
        both = {name: (points[name], others[name]) for name in points if name in others}
        second = scored_films(scored[1], models[1], finding)
        made = (compare(level, films, second, both, resampling) for level in ("film", "study"))
        comparisons = [comparison for comparison in made if comparison is not None]
    return FindingEvaluation(
        finding=finding,
        levels=(
            level_figures("film", films.films(), points, prevalence, resampling),
            level_figures("study", films.by_study(), points, prevalence, resampling),
        ),
        subgroups=subgroups(
            films,
            scored[0],
            {shown: points[shown]},
            settings.subgroup_min_films,
            settings.smallest_count,
            resampling,
        ),
        comparisons=comparisons,
        readers=None
        if calls is None
        else reader_figures(calls, finding, films, scored[0], resampling),
    )


def _model(info: CheckpointInfo) -> Model:
    return Model(
        name=info.name,
        demonstration=info.demonstration,
        architecture=info.architecture,
        members=info.members,
        flip=info.flip,
        located=info.locator is not None,
        input_size_px=info.preprocessing.input_size_px,
        findings=info.findings,
        model_sha256=info.model_sha256,
        checkpoint_sha256=info.checkpoint_sha256,
        trained_with=info.provenance,
    )


def _material(run: Run, labelled: Labelled, scored: pa.Table, calls: Calls | None) -> Material:
    films, problems = labelled.films, labelled.problems
    years = [day.year for day in films["study_date"].to_pylist() if day is not None]
    readers = calls.problems if calls else LabelProblems(0, 0, problems.rows.slice(0, 0))
    return Material(
        # Of the archive as it is: the ledger is of this run alone, which may go on from another.
        found=sum(labelled.archive_files.values()),
        excluded=dict(run.ledger.excluded),
        unreadable={
            state: count
            for state, count in labelled.archive_files.items()
            if state in {reason.value for reason in FailureReason}
        },
        labelled_films=films.num_rows,
        labelled_studies=pc.count_distinct(films["study_key"]).as_py(),
        labelled_patients=pc.count_distinct(films["patient_key"]).as_py(),
        failed=failed_by_reason(scored),
        label_rows=problems.total,
        label_rows_used=problems.used,
        label_rows_unused=problems.counts,
        labels_by=labelled.key,
        labels_sha256=labelled.labels_sha256,
        reader_rows=readers.total,
        reader_rows_unused=readers.counts,
        first_year=min(years, default=None),
        last_year=max(years, default=None),
    )


def _versions() -> dict[str, str]:
    versions = {"vfscreen": __version__, "python": platform.python_version()}
    return versions | {library: version(library) for library in _LIBRARIES}
