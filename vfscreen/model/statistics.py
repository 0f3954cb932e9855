"""Figures of merit: AUC with DeLong's interval, Wilson's interval."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Two-sided 95 %.
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def midranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 1, ties given the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2.0
    return np.asarray(mean_rank[inverse], dtype=np.float64)


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve, a tie counted as half; NaN where a class is missing.

    Parameters
    ----------
    scores, labels : array_like
        (N,) any increasing score, and truth (0 or 1).
    """
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = midranks(s)[y].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def delong(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas under the ROC curves of K scores of the same films, and their covariance.

    DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837, in the fast form of Sun and Xu
    (2014), IEEE Signal Process Lett 21:1389: every pair of films counts, none is formed.

    Parameters
    ----------
    scores : array_like
        (K, N) any increasing scores.
    labels : array_like
        (N,) truth (0 or 1), at least two films of each class.

    Returns
    -------
    tuple of ndarray
        (K,) areas and (K, K) covariance; NaN where a class has fewer than two films.
    """
    s, y = np.atleast_2d(np.asarray(scores, np.float64)), np.asarray(labels).astype(bool)
    m, n = int(y.sum()), int((~y).sum())
    areas = np.array([auc(row, y) for row in s])
    if m < 2 or n < 2:
        return areas, np.full((len(s), len(s)), np.nan)
    of_positives, of_negatives = np.empty((len(s), m)), np.empty((len(s), n))
    for k, row in enumerate(s):
        pooled = midranks(row)
        of_positives[k] = (pooled[y] - midranks(row[y])) / n
        of_negatives[k] = 1.0 - (pooled[~y] - midranks(row[~y])) / m
    covariance = np.cov(of_positives, ddof=1) / m + np.cov(of_negatives, ddof=1) / n
    return areas, np.atleast_2d(covariance)


def auc_interval(scores: ArrayLike, labels: ArrayLike) -> Estimate:
    """AUC with DeLong's 95 % interval, on the log-odds scale.

    The symmetric interval reaches past 1 where an AUC is near it and covers too rarely there; on
    the log-odds scale it does neither (Pepe 2003, section 5.2.4; Qin and Hotilovac 2008, Stat
    Methods Med Res 17:207), and for moderate areas both are nearly the same. An AUC of 0 or 1 has
    no variance after DeLong: there, Newcombe's method 5 (2006, Stat Med 25:559).

    Parameters
    ----------
    scores, labels : array_like
        (N,) as in `auc`; at least two films of each class, else the limits are NaN.
    """
    (value,), covariance = delong(scores, labels)
    value, spread = float(value), sqrt(max(0.0, float(covariance[0, 0])))
    if np.isnan(covariance[0, 0]):
        return Estimate(value, float("nan"), float("nan"))
    y = np.asarray(labels).astype(bool)
    if spread == 0.0 or value in (0.0, 1.0):
        return _newcombe_area(value, int(y.sum()), int((~y).sum()))
    centre, half = np.log(value / (1 - value)), Z_95 * spread / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-half, half]))))
    return Estimate(value, float(low), float(high))


def _newcombe_area(value: float, m: int, n: int) -> Estimate:
    """The areas that are Z_95 of their own standard errors (Hanley and McNeil 1982) away."""
    from scipy.optimize import brentq

    size = (m + n) / 2 - 1

    def beyond(theta: float) -> float:
        q = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + size * q) / (m * n)
        return abs(value - theta) - Z_95 * sqrt(variance)

    edge = 1e-12
    low = 0.0 if value <= edge else brentq(beyond, edge, value - edge)
    high = 1.0 if value >= 1 - edge else brentq(beyond, value + edge, 1 - edge)
    return Estimate(value, low, high)


def share(successes: int, trials: int) -> Estimate:
    """A proportion with Wilson's 95 % interval (Wilson 1927)."""
    if trials <= 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    p, z2 = successes / trials, Z_95 * Z_95
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * sqrt(p * (1 - p) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # Rounding must not put the interval beside its own estimate (0 of n, n of n).
    return Estimate(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def sensitivity(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Estimate:
    """Share of positives at or above the threshold."""
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    return share(int((s[y] >= threshold).sum()), int(y.sum()))


def specificity(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Estimate:
    """Share of negatives below the threshold."""
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    return share(int((s[~y] < threshold).sum()), int((~y).sum()))
