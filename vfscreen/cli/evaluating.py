"""`evaluate`: how good a checkpoint is on the site's own labelled films."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfscreen.cli.options import (
    ArchiveOption,
    CheckpointOption,
    ConfigOption,
    ExcludeSeenOption,
    ForceOption,
    LabelsOption,
    ProblemsOption,
    load_config,
    log_to_stderr,
    refuse_both,
)

if TYPE_CHECKING:
    from vfscreen.jobs.evaluate import Evaluation, FindingEvaluation
    from vfscreen.jobs.evaluation_figures import LevelFigures, Rate
    from vfscreen.model.statistics import Estimate


def evaluate(
    checkpoint: CheckpointOption,
    archive: ArchiveOption,
    labels: LabelsOption,
    out: Annotated[
        Path, typer.Option(help="Folder of the report: index.html, report.json.")
    ] = Path("report"),
    compare: Annotated[
        str | None,
        typer.Option(help="A second checkpoint, on the same films.", show_default=False),
    ] = None,
    readers: Annotated[
        Path | None,
        typer.Option(help="CSV of readers' calls on the same films.", show_default=False),
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option(help="Only this finding; may be repeated.", show_default=False),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.9999,
            help="Give PPV and NPV at this share as well.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            "-r",
            help="Use what is already screened in this results folder.",
            show_default=False,
        ),
    ] = None,
    exclude_seen: ExcludeSeenOption = False,
    force: ForceOption = False,
    problems: ProblemsOption = None,
    config: ConfigOption = None,
) -> None:
    """Hold a checkpoint against labelled films: one page and one JSON, each figure with its
    interval."""
    log_to_stderr()
    from vfscreen.jobs.evaluate import EvaluateRequest, run_evaluate
    from vfscreen.jobs.stopping import StopRequest, stop_on_signals

    refuse_both(force=force, exclude_seen=exclude_seen)
    request = EvaluateRequest(
        checkpoint=checkpoint,
        archive=archive,
        labels=labels,
        out=out,
        results=results,
        compare=compare,
        readers=readers,
        findings=tuple(finding) if finding else None,
        prevalence=prevalence,
        force=force,
        exclude_seen=exclude_seen,
        problems=problems,
    )
    stop = StopRequest()
    with stop_on_signals(stop):
        evaluation = run_evaluate(request, load_config(config), stop)
    print_evaluation(evaluation)
    print_unused(evaluation.material.label_rows_unused, problems)
    if evaluation.error is not None:
        raise evaluation.error


def print_unused(rows: dict[str, int], listed: Path | None) -> None:
    """Rows of the labels file that say nothing of the figures."""
    if not rows:
        return
    reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in rows.items())
    where = f"all of them are in {listed}" if listed else "--problems FILE lists them by line"
    typer.echo(f"Rows of the labels file that are not used: {reasons}; {where}.")


def print_evaluation(evaluation: "Evaluation") -> None:
    """The main figures by film and by study, what has to be said of them, and where the rest is."""
    from vfscreen.cli.rows import print_table
    from vfscreen.jobs.evaluation_report import PAGE, notices_of

    for finding in evaluation.findings:
        print_table([finding.finding, "by film", "by study"], _rows(finding))
        if finding.readers is not None:
            typer.echo(
                f"{finding.readers.above} of {len(finding.readers.readers)} readers lie above the "
                "curve."
            )
    for notice in notices_of(evaluation):
        typer.echo(notice)
    typer.echo(f"\nAll figures and plots: {evaluation.report / PAGE}")


def _rows(finding: "FindingEvaluation") -> list[list[Any]]:
    levels = finding.levels
    rows: list[list[Any]] = [
        ["screened", *(f"{level.units:,}" for level in levels)],
        ["with / without", *(f"{level.positives:,} / {level.negatives:,}" for level in levels)],
        ["failed", *(f"{level.failed_positives + level.failed_negatives:,}" for level in levels)],
        ["AUC", *(_estimate(level.auc) for level in levels)],
        ["average precision", *(_estimate(level.average_precision) for level in levels)],
        ["Brier", *(_estimate(level.brier) for level in levels)],
        [
            "calibration slope",
            *(_slope(level) for level in levels),
        ],
    ]
    for points in zip(*(level.operating_points for level in levels), strict=True):
        name = f"{points[0].name.replace('_', ' ')} ({points[0].threshold:.3f})"
        rows += [
            [f"{name}: {figure}", *(_rate(getattr(point, figure)) for point in points)]
            for figure in ("sensitivity", "specificity", "ppv", "npv")
        ]
    for level in finding.comparisons:
        place = 1 if level.level == "film" else 2
        row = ["second minus first: AUC", "", ""]
        row[place] = _estimate(level.difference)
        rows.append(row)
    return rows


def _slope(level: "LevelFigures") -> str:
    return _estimate(None if level.calibration is None else level.calibration.slope, 2)


def _estimate(of: "Estimate | None", digits: int = 3) -> str:
    if of is None:
        return "-"
    return f"{of.value:.{digits}f} ({of.low:.{digits}f} to {of.high:.{digits}f})"


def _rate(of: "Rate") -> str:
    if of.value is None or of.low is None or of.high is None:
        return "-"
    return f"{of.value:.1%} ({of.low:.1%} to {of.high:.1%})"


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(evaluate)
