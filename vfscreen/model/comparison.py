"""Two checkpoints on the same films: paired tests and differences."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from vfscreen.model.statistics import Z_95, Estimate, delong, share


@dataclass(frozen=True, slots=True)
class AreaComparison:
    """Two areas on the same films; `difference` is the second minus the first."""

    first: float
    second: float
    difference: Estimate
    p_value: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Films on which exactly one of two is right, and what chance makes of that.

    `exact` is the two-sided binomial p-value; `mid_p` takes half of the outcome's own probability,
    which keeps its level and finds more (Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol
    13:91).
    """

    only_first: int
    only_second: int
    exact: float
    mid_p: float


def compare_areas(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> AreaComparison:
    """Paired test of two areas under the ROC curve (DeLong 1988), films taken as independent.

    Parameters
    ----------
    first, second : array_like
        (N,) scores of the same films.
    labels : array_like
        (N,) truth (0 or 1), at least two films of each class, else interval and p are NaN.
    """
    from scipy.stats import norm

    areas, covariance = delong(np.stack([np.asarray(first), np.asarray(second)]), labels)
    difference = float(areas[1] - areas[0])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    spread = float(np.sqrt(max(variance, 0.0))) if np.isfinite(variance) else float("nan")
    # Two scores that rank alike differ by nothing, with certainty.
    p = 1.0 if spread == 0 and difference == 0 else float(2 * norm.sf(abs(difference) / spread))
    estimate = Estimate(difference, difference - Z_95 * spread, difference + Z_95 * spread)
    return AreaComparison(float(areas[0]), float(areas[1]), estimate, p)


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """McNemar's test of two answers to the same films.

    Parameters
    ----------
    first_right, second_right : array_like
        (N,) whether each was right.
    """
    from scipy.stats import binom

    a, b = np.asarray(first_right, bool), np.asarray(second_right, bool)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    if discordant == 0:
        return McNemar(0, 0, 1.0, 1.0)
    tail, point = binom.cdf(fewer, discordant, 0.5), binom.pmf(fewer, discordant, 0.5)
    # With as many of each, both tails hold the point itself, which must count once.
    exact = min(1.0, 2 * float(tail))
    mid_p = 1.0 - float(point) if only_first == only_second else float(2 * tail - point)
    return McNemar(only_first, only_second, exact, mid_p)


def paired_difference(first_right: ArrayLike, second_right: ArrayLike) -> Estimate:
    """Share right of the second minus that of the first, on the same films.

    The interval is made of both Wilson intervals and the correlation of the two answers: method 10
    of Newcombe (1998), Stat Med 17:2635. It stays inside -1..1 and has a width without any
    discordant film.
    """
    a, b = np.asarray(first_right, bool), np.asarray(second_right, bool)
    n = len(a)
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    one, two = share(int(a.sum()), n), share(int(b.sum()), n)
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    margins = float(a.sum()) * float((~a).sum()) * float(b.sum()) * float((~b).sum())
    product = float(both * neither - only_a * only_b)
    if product > 0:
        # A continuity correction, as Newcombe has it.
        product = max(product - n / 2, 0.0)
    phi = product / sqrt(margins) if margins else 0.0
    value = two.value - one.value
    below_2, above_2 = two.value - two.low, two.high - two.value
    below_1, above_1 = one.value - one.low, one.high - one.value
    low = value - sqrt(below_2**2 - 2 * phi * below_2 * above_1 + above_1**2)
    high = value + sqrt(above_2**2 - 2 * phi * above_2 * below_1 + below_1**2)
    return Estimate(value, max(-1.0, low), min(1.0, high))
