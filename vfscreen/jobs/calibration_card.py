"""What a checkpoint says about its calibration: provenance, and a section of its card."""

import math
from dataclasses import asdict
from typing import Any

from vfscreen.model.operating_points import OperatingPoint
from vfscreen.model.recalibration import Figures, Recalibration
from vfscreen.model.statistics import Estimate

HEADING = "## Calibration on the site's own films"


def recorded(new: Recalibration) -> dict[str, Any]:
    """A calibration as plain objects, for a checkpoint's provenance; no identifiers."""
    return {
        "films": new.films,
        "positives": new.positives,
        "patients": new.patients,
        "method": new.calibration.method,
        "methods_compared": [asdict(row) for row in new.choice.losses] if new.choice else None,
        "prevalence": new.prevalence,
        "prevalence_of_films": new.positives / new.films,
        "prevalence_estimated": None if new.estimated is None else asdict(new.estimated),
        "rules": {name: str(point.rule) for name, point in new.points.points.items()},
        "not_met": list(new.points.unmet.values()),
        "not_cross_validated": sorted(set(new.points.points) - set(new.points_after)),
        "before": _plain(new.before),
        "after_cross_validated": _plain(new.after),
    }


def _plain(figures: Figures) -> dict[str, Any]:
    return {
        "log_loss": figures.log_loss,
        "brier": figures.brier,
        "ece": figures.ece,
        "slope": _known(figures.slope),
        "intercept_in_the_large": _known(figures.intercept_in_the_large),
    }


def _known(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None or not all(map(math.isfinite, asdict(estimate).values())):
        return None
    return asdict(estimate)


def card_with(card: str, found: dict[str, Recalibration], seen: str) -> str:
    """A model card with a section on this calibration, in place of an earlier one."""
    before, _, rest = card.partition(HEADING)
    _, another, after = rest.partition("\n## ")
    lines = [HEADING, "", seen, ""]
    for finding, new in found.items():
        lines += [*_section(finding, new), ""]
    return f"{before.rstrip()}\n\n" + "\n".join(lines) + (another + after).lstrip("\n")


def _section(finding: str, new: Recalibration) -> list[str]:
    lines = [
        f"`{finding}`: {new.films:,} films of {new.patients:,} patients, {new.positives:,} with "
        f"the finding. Method: {new.calibration.method}. Probabilities are meant for a prevalence "
        f"of {new.prevalence:.1%}{_origin(new)}. Figures after are cross-validated over patients.",
        "",
        "| figure | before | after |",
        "|---|---|---|",
    ]
    for name, one, other in (
        ("log loss", new.before.log_loss, new.after.log_loss),
        ("Brier", new.before.brier, new.after.brier),
        ("ECE", new.before.ece, new.after.ece),
        ("slope", new.before.slope, new.after.slope),
        (
            "intercept in the large",
            new.before.intercept_in_the_large,
            new.after.intercept_in_the_large,
        ),
    ):
        lines.append(f"| {name} | {figure(one)} | {figure(other)} |")
    lines += ["", "| operating point | rule | threshold | sensitivity | specificity |"]
    lines.append("|---|---|---|---|---|")
    for name, point in new.points.points.items():
        told = new.points_after.get(name)
        lines.append(
            f"| `{name}` | `{point.rule}` | {point.threshold:.3f} | {rate(told, 'sensitivity')} | "
            f"{rate(told, 'specificity')} |"
        )
    return [*lines, "", *new.points.unmet.values(), *new.points.notes]


def _origin(new: Recalibration) -> str:
    if new.estimated is not None:
        return f", estimated from the archive ({new.estimated.low:.1%} to {new.estimated.high:.1%})"
    return "" if new.prevalence == new.positives / new.films else ", as stated"


def figure(value: float | Estimate | None) -> str:
    """A figure with its interval, if it has one."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def rate(point: OperatingPoint | None, which: str) -> str:
    """Sensitivity or specificity of an operating point with its interval and counts."""
    if point is None:
        return "not cross-validated"
    share: Estimate = getattr(point, which)
    right, of = (
        (point.true_positives, point.positives)
        if which == "sensitivity"
        else (point.true_negatives, point.negatives)
    )
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}), {right} of {of}"
