"""Figures of merit: AUC with DeLong's interval, Wilson's interval, operating points."""

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


def auc_interval(scores: ArrayLike, labels: ArrayLike) -> Estimate:
    """AUC with DeLong's 95 % interval (DeLong 1988; fast form of Sun and Xu 2014).

    Parameters
    ----------
    scores, labels : array_like
        (N,) as in `auc`; at least two films of each class.
    """
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    value = auc(s, y)
    m, n = int(y.sum()), int((~y).sum())
    if m < 2 or n < 2:
        return Estimate(value, float("nan"), float("nan"))
    pooled = midranks(s)
    of_positives = (pooled[y] - midranks(s[y])) / n
    of_negatives = 1.0 - (pooled[~y] - midranks(s[~y])) / m
    spread = sqrt(of_positives.var(ddof=1) / m + of_negatives.var(ddof=1) / n)
    return Estimate(value, max(0.0, value - Z_95 * spread), min(1.0, value + Z_95 * spread))


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


def threshold_for_sensitivity(scores: ArrayLike, labels: ArrayLike, wanted: float) -> float:
    """The highest threshold that finds at least `wanted` of the positives."""
    positives = np.sort(np.asarray(scores, np.float64)[np.asarray(labels).astype(bool)])
    may_miss = int(np.floor((1.0 - wanted) * len(positives) + 1e-9))
    return float(positives[min(may_miss, len(positives) - 1)])


def threshold_for_specificity(scores: ArrayLike, labels: ArrayLike, wanted: float) -> float:
    """A threshold with at least `wanted` of the negatives below it, as low as may be."""
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    negatives = np.sort(s[~y])
    must_pass = min(int(np.ceil(wanted * len(negatives) - 1e-9)), len(negatives))
    if must_pass == 0:
        return float(negatives[0])
    return float(np.nextafter(negatives[must_pass - 1], np.inf))


def youden_threshold(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold with the largest sum of sensitivity and specificity (Youden 1950)."""
    s, y = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    candidates = np.unique(s)
    found = (len(s[y]) - np.searchsorted(np.sort(s[y]), candidates)) / max(1, y.sum())
    spared = np.searchsorted(np.sort(s[~y]), candidates) / max(1, (~y).sum())
    return float(candidates[int(np.argmax(found + spared))])
