"""Figures of a whole archive from a stratified sample of it that people have read.

Each stratum is a simple random sample without replacement of `sampled` of its `studies`. A figure
is a number of studies, or a share of one number in another; every one is a function of how many
studies of each stratum show the finding.

Point estimates weigh a study by one over its inclusion probability (Horvitz and Thompson 1952),
normed within the stratum to the studies that were read (Hajek 1971): where all were, both are the
same. Standard errors: Cochran (1977), Sampling Techniques, 3rd ed., eq. 5.14 with finite
population correction, shares by linearisation (ch. 6.10).

Intervals do not rest on them, since a stratum of 30 films without a fracture would claim to know
that there is none. For each stratum what is not read is drawn from the mid-p confidence
distribution of its rate, beta(y, n-y+1) or beta(y+1, n-y) with even odds, then from the studies
that are left (so that a stratum read whole is known); the figure's 2.5 % and 97.5 % quantiles are
the limits. Fay, Proschan and Brittain (2015), Biometrics 71:146, combine confidence distributions
so; Fay and Brittain (2016), Stat Med 35:2726, with mid-p. Its coverage is held by a test.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 20_000
"""The limits then move by about 1 % of the interval's width from one seed to another."""
_SEED = 20_210_113
"""Fixed: the same readings give the same interval. Any number will do."""

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of each stratum; all (H,), a stratum each.

    Attributes
    ----------
    studies : NDArray
        Studies of the stratum, at least 1 each.
    sampled : NDArray
        Studies drawn from it.
    with_finding, without : NDArray
        Of the drawn ones, those read as showing it and as not showing it. The rest was not read,
        or its reading is unclear.
    """

    studies: NDArray[np.int64]
    sampled: NDArray[np.int64]
    with_finding: NDArray[np.int64]
    without: NDArray[np.int64]

    @property
    def open(self) -> NDArray[np.int64]:
        """Drawn, but not read or not clear."""
        return self.sampled - self.with_finding - self.without


@dataclass(frozen=True, slots=True)
class Figure:
    """Which studies a figure counts, and among which.

    Attributes
    ----------
    with_finding : bool
        Whether it counts studies that show the finding, or those that do not.
    counted : NDArray
        (H,) the strata it counts in.
    among : NDArray or None
        (H,) the strata of the whole that it is a share of; None: it is a number, not a share.
    among_all : bool
        Whether the whole is all studies of those strata, or those counted alike.
    """

    with_finding: bool
    counted: NDArray[np.bool_]
    among: NDArray[np.bool_] | None
    among_all: bool = False

    def of(self, counts: Counts, studies: NDArray[Any]) -> NDArray[np.float64]:
        """The figure for (..., H) numbers of studies with the finding; NaN where the whole is 0."""
        counted = counts if self.with_finding else studies - counts
        part = counted[..., self.counted].sum(-1)
        if self.among is None:
            return np.asarray(part)
        whole = (studies if self.among_all else counted)[..., self.among].sum(-1)
        share = np.full(np.shape(part), np.nan)
        np.divide(part, whole, out=share, where=np.asarray(whole) > 0)
        return share

    def needs(self) -> NDArray[np.bool_]:
        """(H,) the strata that must have been read for it."""
        if self.among is None or self.among_all:
            return self.counted
        return self.counted | self.among

    def rises(self) -> NDArray[np.bool_]:
        """(H,) the strata where one more study with the finding raises it (else it does not)."""
        return self.counted if self.with_finding else self.needs() & ~self.counted


@dataclass(frozen=True, slots=True)
class Estimated:
    """A figure of the archive.

    `low` to `high` is the 95 % interval if what was not read, or is unclear, is like the rest of
    its stratum; `lowest` to `highest` where it is all to one side, whichever is worse. NaN where
    nothing can be said.
    """

    value: float
    standard_error: float
    low: float
    high: float
    lowest: float
    highest: float


class Estimator:
    """Estimates figures from one sample, all with the same draws."""

    def __init__(self, sample: Sample, draws: int = DRAWS) -> None:
        if (sample.studies < sample.sampled).any() or (sample.open < 0).any():
            raise ValueError("more studies drawn than there are, or more read than drawn")
        self._sample = sample
        rng = np.random.default_rng(_SEED)
        read, missing = sample.with_finding + sample.without, sample.open
        self._as_read = _drawn(sample.with_finding, read, sample.studies, draws, rng)
        if missing.any():
            all_without = _drawn(sample.with_finding, sample.sampled, sample.studies, draws, rng)
            with_all = sample.with_finding + missing
            all_with = _drawn(with_all, sample.sampled, sample.studies, draws, rng)
            self._extremes = all_without, all_with
        else:
            self._extremes = self._as_read, self._as_read

    def estimate(self, figure: Figure) -> Estimated:
        """The figure with its standard error, its interval, and its bounds."""
        sample, studies = self._sample, self._sample.studies
        read = sample.with_finding + sample.without
        without, all_with = self._extremes
        rises = figure.rises()
        lowest = _limits(figure.of(np.where(rises, without, all_with), studies))[0]
        highest = _limits(figure.of(np.where(rises, all_with, without), studies))[1]
        if (read == 0)[figure.needs()].any():
            return Estimated(np.nan, np.nan, np.nan, np.nan, lowest, highest)
        with np.errstate(invalid="ignore"):
            rate = sample.with_finding / read
        counts = np.where(read > 0, rate * studies, 0.0)
        value = float(figure.of(counts, studies))
        low, high = _limits(figure.of(self._as_read, studies))
        # Monte Carlo and rounding must not put an interval beside its own estimate.
        low, high = float(np.fmin(low, value)), float(np.fmax(high, value))
        return Estimated(
            value,
            _standard_error(figure, value, rate, read, studies),
            low,
            high,
            float(np.fmin(lowest, low)),
            float(np.fmax(highest, high)),
        )


def _drawn(
    found: NDArray[np.int64],
    read: NDArray[np.int64],
    studies: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Counts:
    """(draws, H) numbers of studies with the finding that agree with what was read."""
    upper = rng.random((draws, len(found))) < 0.5
    a, b = found + upper, read - found + ~upper
    # beta(0, b) is 0 and beta(a, 0) is 1.
    rate = rng.beta(np.maximum(a, 1e-9), np.maximum(b, 1e-9))
    rate = np.where(a == 0, 0.0, np.where(b == 0, 1.0, rate))
    return np.asarray(found + rng.binomial(studies - read, rate), np.float64)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def _standard_error(
    figure: Figure,
    value: float,
    rate: NDArray[np.float64],
    read: NDArray[np.int64],
    studies: NDArray[np.int64],
) -> float:
    """Of a number, or of a share by linearisation; NaN where a stratum has one reading of many."""
    # How the figure moves with the number of studies with the finding in each stratum.
    sign = 1.0 if figure.with_finding else -1.0
    slope = sign * figure.counted.astype(np.float64)
    if figure.among is not None:
        counted = rate * studies if figure.with_finding else (1 - rate) * studies
        whole = float((studies if figure.among_all else counted)[figure.among].sum())
        if whole <= 0:
            return float("nan")
        if not figure.among_all:
            slope = slope - sign * value * figure.among
        slope = slope / whole
    used = (slope != 0) & (read < studies)
    if (read[used] < 2).any():
        return float("nan")
    n, p, size = read[used], rate[used], studies[used]
    variance = slope[used] ** 2 * size**2 * (1 - n / size) * p * (1 - p) / (n - 1)
    return float(np.sqrt(variance.sum()))


def allocate(
    studies: ArrayLike, total: int, allocation: str, spread: ArrayLike | None = None
) -> NDArray[np.int64]:
    """How many to draw from each stratum.

    Parameters
    ----------
    studies : array_like
        (H,) studies of each stratum, at least 1 each.
    total : int
        Studies to draw in all; all are drawn where there are no more.
    allocation : {'equal', 'proportional', 'neyman'}
        Alike; by size; by size times `spread`, which for a given total makes the variance of the
        number of studies with the finding least (Neyman 1934).
    spread : array_like, optional
        (H,) expected standard deviation within each stratum, sqrt(p (1 - p)); for `neyman`.

    Returns
    -------
    NDArray
        (H,) at least min(2, size) each, at most the size; they add up to `total`.

    Raises
    ------
    ValueError
        `total` is too small for two of each stratum.
    """
    size = np.asarray(studies, np.int64)
    weight = {
        "equal": np.ones(len(size)),
        "proportional": size.astype(np.float64),
        "neyman": size * np.asarray(1.0 if spread is None else spread, np.float64),
    }[allocation]
    least = np.minimum(size, 2)
    total = min(total, int(size.sum()))
    if total < least.sum():
        raise ValueError(f"fewer than {int(least.sum())}")
    # Whoever's share is below the least or above the size gets that; the others share the rest.
    low, high = 0.0, float((size / weight).max())
    for _ in range(200):
        scale = (low + high) / 2
        fits = np.clip(weight * scale, least, size).sum() <= total
        low, high = (scale, high) if fits else (low, scale)
    share = np.clip(weight * low, least, size)
    drawn: NDArray[np.int64] = np.floor(share + 1e-9).astype(np.int64)
    # The largest remainders first, among those that have studies left.
    order = np.argsort(-(share - drawn), kind="stable")
    for h in [*order, *order]:
        if drawn.sum() < total and drawn[h] < size[h]:
            drawn[h] += 1
    return drawn
