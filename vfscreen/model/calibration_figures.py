"""How far probabilities can be taken at their word: Brier, Cox's slope and intercept, ECE."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfscreen.model.statistics import Z_95, Estimate, share

BINS = 10
# A probability nearer to certainty counts as one in a million: one film so called by mistake would
# otherwise outweigh all others.
_MOST_LOGIT = 13.8


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Films of like probability: how many there are, what was promised, what was found."""

    films: int
    positives: int
    mean_probability: float
    observed: Estimate


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """Cox's recalibration (1958, Biometrika 45:562); perfect is slope 1, both intercepts 0.

    `intercept_in_the_large` is fitted with the slope held at 1: above 0, probabilities are too low
    on the whole. None where a class is missing, or the classes are separated and no slope fits.
    """

    slope: Estimate | None
    intercept: Estimate | None
    intercept_in_the_large: Estimate | None


def bounded_log_odds(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Log-odds of probabilities, those of 0 and 1 kept finite."""
    p = np.asarray(probabilities, np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(p) - np.log1p(-p), -_MOST_LOGIT, _MOST_LOGIT))


def cox_calibration(
    probabilities: ArrayLike, labels: ArrayLike, patients: ArrayLike | None = None
) -> CalibrationFit:
    """Logistic regression of the truth on the log-odds, with 95 % intervals (Wald).

    Parameters
    ----------
    probabilities, labels : array_like
        (N,) probability and truth (0 or 1).
    patients : array_like, optional
        (N,) whose film each is, as integers: standard errors are then robust to clusters.
    """
    import statsmodels.api as sm
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    z, y = bounded_log_odds(probabilities), np.asarray(labels).astype(bool)
    if not y.any() or y.all():
        return CalibrationFit(None, None, None)
    robust = {"cov_type": "cluster", "cov_kwds": {"groups": np.asarray(patients)}}
    how = robust if patients is not None else {}
    family = sm.families.Binomial()
    truth = y.astype(np.float64)
    with warnings.catch_warnings():
        # Whether the classes are separated is asked below, of the data themselves.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        large = sm.GLM(truth, np.ones((len(z), 1)), family=family, offset=z).fit(**how)
        in_the_large = _wald(large.params[0], large.bse[0])
        if z[y].min() >= z[~y].max() or z[y].max() <= z[~y].min():
            return CalibrationFit(None, None, in_the_large)
        fit = sm.GLM(truth, np.column_stack([np.ones_like(z), z]), family=family).fit(**how)
    return CalibrationFit(
        _wald(fit.params[1], fit.bse[1]), _wald(fit.params[0], fit.bse[0]), in_the_large
    )


def _wald(value: float, spread: float) -> Estimate:
    return Estimate(float(value), float(value - Z_95 * spread), float(value + Z_95 * spread))


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of probability and truth (Brier 1950)."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    return float(((p - y) ** 2).mean()) if len(p) else float("nan")


def mass_bins(probabilities: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each film, bins of like size; films of one probability stay together.

    Bins of equal width leave nearly all films of a rare finding in the first one.
    """
    p = np.asarray(probabilities, np.float64)
    order = np.sort(p)
    # The rank of the lowest film of the same probability decides for all of them.
    rank = np.searchsorted(order, p, side="left")
    return np.asarray(np.minimum(rank * bins // max(len(p), 1), bins - 1), np.int64)


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS
) -> float:
    """Mean distance of promised and found shares over bins of equal mass, weighted by films."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    if not len(p):
        return float("nan")
    gaps = np.bincount(mass_bins(p, bins), weights=p - y, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS
) -> list[ReliabilityBin]:
    """The bins of the reliability diagram, lowest first; empty ones left out."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels).astype(bool)
    of = mass_bins(p, bins)
    return [
        ReliabilityBin(
            int(chosen.sum()),
            int(y[chosen].sum()),
            float(p[chosen].mean()),
            share(int(y[chosen].sum()), int(chosen.sum())),
        )
        for chosen in (of == b for b in range(bins))
        if chosen.any()
    ]
