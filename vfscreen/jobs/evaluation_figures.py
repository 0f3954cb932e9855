"""The figures of one finding at one level (film or study), each with its interval and counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfscreen.model.calibration_figures import CalibrationFit, ReliabilityBin
from vfscreen.model.statistics import Estimate, share

if TYPE_CHECKING:
    from vfscreen.model.resampling import Floats

Bools = NDArray[np.bool_]
HISTOGRAM_BINS = 25


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn: `draws` draws of patients, from a seed."""

    draws: int
    seed: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Units (films or studies) of one finding: those screened, and those that failed.

    Attributes
    ----------
    probabilities, labels : ndarray
        (N,) of the units screened; truth is boolean.
    patients : ndarray
        (N,) whose each is, 0 to P - 1.
    failed : ndarray
        (M,) truth of the units that could not be screened.
    """

    probabilities: NDArray[np.float64]
    labels: Bools
    patients: NDArray[np.int64]
    failed: Bools

    @property
    def repeats(self) -> bool:
        """Whether a patient has more than one unit."""
        return len(np.unique(self.patients)) < len(self.patients)

    @property
    def two_classes(self) -> bool:
        """Whether there are units with and without the finding."""
        return bool(self.labels.any() and not self.labels.all())


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total`, with a 95 % interval; all but the counts None where `total` is 0."""

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PointFigures:
    """What a threshold does: counts, rates, and what the rates mean at another prevalence.

    `worst_sensitivity` and `worst_specificity` count every unit that could not be screened as
    wrong: a positive as missed, a negative as called positive.
    """

    name: str
    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    sensitivity: Rate
    specificity: Rate
    ppv: Rate
    npv: Rate
    accuracy: Rate
    ppv_at_prevalence: Estimate | None
    npv_at_prevalence: Estimate | None
    worst_sensitivity: Rate
    worst_specificity: Rate


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn, as points (x, y) in order.

    `decision` is net benefit over threshold (Vickers and Elkin 2006), `decision_all` that of
    calling every unit positive; `histogram` has the units with and without the finding in
    `HISTOGRAM_BINS` bins of probability.
    """

    roc: list[tuple[float, float]]
    precision_recall: list[tuple[float, float]]
    decision: list[tuple[float, float]]
    decision_all: list[tuple[float, float]]
    histogram: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """All figures of one finding at one level; those that need two classes are None without.

    `intervals` says how they were made: `independent` (DeLong, Wilson; the bootstrap draws single
    units) or `patients` (patients repeat, and are drawn again with all their units).
    """

    level: str
    units: int
    patients: int
    positives: int
    negatives: int
    failed_positives: int
    failed_negatives: int
    intervals: str
    prevalence: Rate
    auc: Estimate | None
    auc_worst_case: float | None
    average_precision: Estimate | None
    brier: Estimate | None
    brier_of_prevalence: float | None
    ece: Estimate | None
    calibration: CalibrationFit | None
    bins: list[ReliabilityBin]
    operating_points: list[PointFigures]
    curves: Curves | None


def level_figures(
    level: str,
    sample: Sample,
    points: Mapping[str, float],
    prevalence: float | None,
    resampling: Resampling,
) -> LevelFigures:
    """All figures of one finding at one level.

    Parameters
    ----------
    points
        Operating point to threshold.
    prevalence
        At which PPV and NPV are also given; None: not.
    """
    from vfscreen.model.calibration_figures import cox_calibration, reliability
    from vfscreen.model.statistics import auc, auc_interval

    p, y = sample.probabilities, sample.labels
    drawn = _drawn(sample, tuple(points.values()), resampling)
    both = sample.two_classes
    area = None
    if both:
        area = drawn.estimate("auc") if sample.repeats else auc_interval(p, y)
        if sample.repeats and area.low == area.high:
            area = auc_interval(p, y)
    worst_p = np.concatenate([p, np.where(sample.failed, -np.inf, np.inf)])
    worst_y = np.concatenate([y, sample.failed])
    groups = sample.patients if sample.repeats else None
    return LevelFigures(
        level=level,
        units=len(p),
        patients=len(np.unique(sample.patients)),
        positives=int(y.sum()),
        negatives=int((~y).sum()),
        failed_positives=int(sample.failed.sum()),
        failed_negatives=int((~sample.failed).sum()),
        intervals="patients" if sample.repeats else "independent",
        prevalence=rate(y, sample, np.ones_like(y), drawn.column("prevalence")),
        auc=area,
        auc_worst_case=auc(worst_p, worst_y) if both else None,
        average_precision=drawn.estimate("average_precision") if both else None,
        brier=drawn.estimate("brier") if len(p) else None,
        brier_of_prevalence=float(y.mean() * (1 - y.mean())) if len(p) else None,
        ece=drawn.estimate("ece") if len(p) else None,
        calibration=cox_calibration(p, y, groups) if both else None,
        bins=reliability(p, y),
        operating_points=[
            _point(name, threshold, place, sample, drawn, prevalence)
            for place, (name, threshold) in enumerate(points.items())
        ],
        curves=_curves(p, y) if both else None,
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Figures of the whole sample, and of each draw."""

    names: tuple[str, ...]
    whole: "Floats | None"
    draws: "Floats | None"

    def column(self, name: str) -> "Floats | None":
        return None if self.draws is None else np.asarray(self.draws[:, self.names.index(name)])

    def estimate(self, name: str) -> Estimate:
        from vfscreen.model.resampling import percentile

        drawn = self.column(name)
        assert self.whole is not None
        assert drawn is not None
        return percentile(float(self.whole[self.names.index(name)]), drawn)


def _drawn(sample: Sample, thresholds: tuple[float, ...], resampling: Resampling) -> _Drawn:
    from vfscreen.model.resampling import ResampledFigures, as_codes, resample

    if not len(sample.labels):
        return _Drawn((), None, None)
    codes, patients = as_codes(sample.patients)
    figures = ResampledFigures(sample.probabilities, sample.labels, codes, thresholds)
    draws = resample(
        figures,
        patients,
        films=figures.films,
        draws=resampling.draws,
        seed=resampling.seed,
    )
    return _Drawn(figures.names, figures(np.ones((1, patients)))[0], draws)


def rate(right: Bools, sample: Sample, among: Bools, drawn: "Floats | None") -> Rate:
    """How many of the units `among` are `right`.

    Wilson's interval where patients do not repeat; else that of the draws. Draws that all agree
    (0 or 1 of all) say nothing of the width: then Wilson's, over patients instead of units.
    """
    count, total = int((right & among).sum()), int(among.sum())
    if total == 0:
        return Rate(0, 0, None, None, None)
    if not sample.repeats or drawn is None:
        of = share(count, total)
    elif count in (0, total):
        patients = len(np.unique(sample.patients[among]))
        of = share(patients if count else 0, patients)
    else:
        from vfscreen.model.resampling import percentile

        of = percentile(count / total, drawn)
    return Rate(count, total, of.value, of.low, of.high)


def _point(
    name: str,
    threshold: float,
    place: int,
    sample: Sample,
    drawn: _Drawn,
    prevalence: float | None,
) -> PointFigures:
    y, called = sample.labels, sample.probabilities >= threshold
    every = np.ones_like(y)

    def of(figure: str, right: Bools, among: Bools) -> Rate:
        return rate(right, sample, among, drawn.column(f"{figure}:{place}"))

    sensitivity, specificity = of("sensitivity", called, y), of("specificity", ~called, ~y)
    ppv_at, npv_at = None, None
    if prevalence is not None and sensitivity.total and specificity.total:
        ppv_at, npv_at = predictive_values(sensitivity, specificity, prevalence)
    missed, spared = int(sample.failed.sum()), int((~sample.failed).sum())
    return PointFigures(
        name=name,
        threshold=threshold,
        true_positives=int((called & y).sum()),
        false_positives=int((called & ~y).sum()),
        true_negatives=int((~called & ~y).sum()),
        false_negatives=int((~called & y).sum()),
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=of("ppv", y, called),
        npv=of("npv", ~y, ~called),
        accuracy=of("accuracy", called == y, every),
        ppv_at_prevalence=ppv_at,
        npv_at_prevalence=npv_at,
        worst_sensitivity=_with_failed(sensitivity, missed),
        worst_specificity=_with_failed(specificity, spared),
    )


def _with_failed(screened: Rate, failed: int) -> Rate:
    """A rate with every failed unit counted as wrong; Wilson's interval where that changes it."""
    if not failed:
        return screened
    of = share(screened.count, screened.total + failed)
    return Rate(screened.count, screened.total + failed, of.value, of.low, of.high)


def predictive_values(
    sensitivity: Rate, specificity: Rate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """PPV and NPV at a prevalence that is not the sample's.

    The interval of each likelihood ratio is made of those of sensitivity and specificity (MOVER:
    Zou and Donner 2008, Stat Med 27:1693), on the log scale.
    """
    odds = prevalence / (1 - prevalence)
    found, spared = _estimate(sensitivity), _estimate(specificity)
    positive = _log_ratio(found, _complement(spared))
    negative = _log_ratio(_complement(found), spared)
    ppv = [_share_of(odds * _exp(z)) for z in (positive.value, positive.low, positive.high)]
    # A lower likelihood ratio of a negative answer makes it worth more.
    npv = [1 - _share_of(odds * _exp(z)) for z in (negative.value, negative.high, negative.low)]
    return Estimate(*ppv), Estimate(*npv)


def _estimate(of: Rate) -> Estimate:
    assert of.value is not None
    assert of.low is not None
    assert of.high is not None
    return Estimate(of.value, of.low, of.high)


def _complement(of: Estimate) -> Estimate:
    return Estimate(1 - of.value, 1 - of.high, 1 - of.low)


def _log(value: float) -> float:
    return log(value) if value > 0 else -np.inf


def _exp(value: float) -> float:
    return exp(value) if value < 700 else np.inf


def _share_of(odds: float) -> float:
    return 1.0 if np.isinf(odds) else odds / (1 + odds)


def _log_ratio(above: Estimate, below: Estimate) -> Estimate:
    """Logarithm of a ratio of two independent shares."""
    a, b = ([_log(x) for x in (e.value, e.low, e.high)] for e in (above, below))
    value = a[0] - b[0] if np.isfinite(a[0]) or np.isfinite(b[0]) else 0.0
    # Where a share is 0 the ratio has no scale: the corner of both intervals is the bound.
    low, high = a[1] - b[2], a[2] - b[1]
    if np.isfinite(a[0]) and np.isfinite(b[0]):
        if np.isfinite(a[1]):
            low = value - sqrt((a[0] - a[1]) ** 2 + (b[2] - b[0]) ** 2)
        if np.isfinite(b[1]):
            high = value + sqrt((a[2] - a[0]) ** 2 + (b[0] - b[1]) ** 2)
    return Estimate(value, low, high)


def _curves(p: NDArray[np.float64], y: Bools) -> Curves:
    from sklearn.metrics import precision_recall_curve, roc_curve

    false_positives, found, _ = roc_curve(y, p)
    precise, recalled, _ = precision_recall_curve(y, p)
    prevalence = float(y.mean())
    decision, everyone = [], []
    for threshold in np.linspace(0.01, 0.99, 99):
        odds = threshold / (1 - threshold)
        called = p >= threshold
        benefit = float((called & y).mean() - (called & ~y).mean() * odds)
        decision.append((float(threshold), benefit))
        everyone.append((float(threshold), prevalence - (1 - prevalence) * odds))
    return Curves(
        roc=_points(false_positives, found),
        precision_recall=_points(recalled[::-1], precise[::-1]),
        decision=decision,
        decision_all=everyone,
        histogram=[
            (int(a), int(b))
            for a, b in zip(
                *(np.histogram(p[of], HISTOGRAM_BINS, (0, 1))[0] for of in (y, ~y)), strict=True
            )
        ],
    )


_MOST_POINTS = 500
"""Of a curve that is kept: finer than any printer."""


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[tuple[float, float]]:
    step = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
    return [(float(a), float(b)) for a, b in zip(x[step], y[step], strict=True)]
