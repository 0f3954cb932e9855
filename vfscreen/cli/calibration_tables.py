"""What `calibrate` shows: methods, figures and operating points, before and after."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vfscreen.cli.labels_table import print_labelled
from vfscreen.cli.rows import plain, print_table
from vfscreen.cli.tables import NOTICE
from vfscreen.results.calibrations import METHODS

if TYPE_CHECKING:
    from vfscreen.jobs.calibrate import Calibrated
    from vfscreen.model.drift import Drift
    from vfscreen.model.recalibration import Recalibration
    from vfscreen.model.statistics import Estimate

# With fewer films of either class a calibration is a guess; its intervals say how much of one.
_FEW = 100


def print_calibrated(done: "Calibrated", problems: Path | None) -> None:
    """Before and after, a finding after the other, and what to do with the new checkpoint."""
    print_labelled(done.labelled, problems)
    if done.failed:
        lost = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in done.failed.items())
        typer.echo(f"Labelled films that could not be screened, and are left out: {lost}.")
    for finding, new in done.findings.items():
        typer.echo("")
        _print_finding(finding, new)
    if done.untouched:
        typer.echo(f"Not labelled, and calibrated as before: {', '.join(done.untouched)}.")
    typer.echo(f"\n{done.overlap.sentence}")
    typer.echo(
        f"Written: {done.info.path}. The network is the same; "
        f"`vfscreen flag --checkpoint {done.info.path}` changes all probabilities of a results "
        f"folder and decodes nothing.\n{NOTICE}"
    )


def print_drift(finding: str, drift: "Drift") -> None:
    """Whether what was screened lately is like the calibration set, and what to do if not."""
    month = drift.month
    when = f"from {month.since} to {month.until}"
    if not drift.enough:
        typer.echo(
            f"Drift of {finding}: {month.studies:,} studies were screened {when}, too few to "
            f"compare with the films of the calibration ({drift.fewest:,} are needed)."
        )
        return
    print_table(
        ["drift", "at calibration", when, "differs"],
        [
            [
                row.what,
                "" if row.calibration is None else f"{row.calibration:.1%}",
                f"{row.month:.3f}" if row.calibration is None else f"{row.month:.1%}",
                "yes" if row.differs else "",
            ]
            for row in drift.rows
        ],
    )
    if not drift.reasons:
        typer.echo(
            f"Drift of {finding}: none to speak of in {month.studies:,} studies screened {when}."
        )
        return
    typer.echo(
        f"Drift of {finding}: {month.studies:,} studies screened {when} are not like the films of "
        f"the calibration: {plain('; '.join(drift.reasons))}. Find out what has changed, then "
        "label films of this time and run `vfscreen calibrate`; until then the list's order may "
        "hold, its probabilities do not."
    )


def _print_finding(finding: str, new: "Recalibration") -> None:
    negatives = new.films - new.positives
    typer.echo(
        f"{finding}: {new.films:,} films of {new.patients:,} patients, {new.positives:,} with the "
        f"finding ({new.positives / new.films:.1%})."
    )
    if min(new.positives, negatives) < _FEW:
        typer.echo(f"Fewer than {_FEW} films with it or without: take the intervals seriously.")
    if new.choice is not None:
        print_table(
            ["method", "log loss", "worse by", "standard error", "taken"],
            [
                [
                    row.method, f"{row.log_loss:.4f}", f"{row.worse_by:.4f}",
                    f"{row.standard_error:.4f}", row.method == new.choice.method,
                ]
                for row in new.choice.losses
            ],
        )  # fmt: skip
        without = [m for m in METHODS if m not in {row.method for row in new.choice.losses}]
        if without:
            typer.echo(f"Cannot be fitted to these films in every fold: {', '.join(without)}.")
        typer.echo("Taken: the simplest within one standard error of the best.")
    print_table(
        ["figure", "before", "after"],
        [
            ["log loss", f"{new.before.log_loss:.4f}", f"{new.after.log_loss:.4f}"],
            ["Brier", f"{new.before.brier:.4f}", f"{new.after.brier:.4f}"],
            ["ECE", f"{new.before.ece:.4f}", f"{new.after.ece:.4f}"],
            ["slope (1 is right)", _interval(new.before.slope), _interval(new.after.slope)],
            [
                "intercept (0 is right)",
                _interval(new.before.intercept_in_the_large),
                _interval(new.after.intercept_in_the_large),
            ],
        ],
    )
    _print_points(new)
    typer.echo(
        "After: cross-validated; each film is judged by what was fitted on other patients."
        f"\n{_meant_for(new)}"
    )
    if new.after.log_loss >= new.before.log_loss:
        typer.echo(
            "The old calibration is no worse on these films: there is no need for a new one, "
            "unless the prevalence is another."
        )
    for sentence in (*new.points.unmet.values(), *new.points.notes):
        typer.echo(sentence)


def _print_points(new: "Recalibration") -> None:
    rows: list[list[Any]] = [
        ["before", name, "", f"{point.threshold:.3f}", *_rates(point)]
        for name, point in new.points_before.items()
    ]
    for name, point in new.points.points.items():
        told = new.points_after.get(name)
        rates = _rates(told) if told else ["not cross-validated: a fold cannot meet it", "", ""]
        rows.append(["after", name, str(point.rule), f"{point.threshold:.3f}", *rates])
    print_table(
        [
            "",
            "operating point",
            "rule",
            "threshold",
            "sensitivity",
            "specificity",
            f"PPV at {new.prevalence:.1%}",
        ],
        rows,
    )


def _rates(point: Any) -> list[str]:
    return [_share(point.sensitivity), _share(point.specificity), f"{point.ppv:.1%}"]


def _share(estimate: "Estimate") -> str:
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _interval(estimate: "Estimate | None") -> str:
    if estimate is None:
        return "none fits"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _meant_for(new: "Recalibration") -> str:
    said = f"Probabilities and PPV are meant for a prevalence of {new.prevalence:.1%}"
    if new.estimated is not None:
        return (
            f"{said}, estimated from the archive's films ({new.estimated.low:.1%} to "
            f"{new.estimated.high:.1%}): right if films with the finding look the same there as "
            "here, and those without it do; another device or other patients are taken for more "
            "or fewer fractures."
        )
    if new.prevalence != new.positives / new.films:
        return f"{said}, as stated; the other figures are of the labelled films."
    return (
        f"{said}, as in the labelled films. Were positives sought out for them, state the "
        "archive's with --prevalence."
    )
