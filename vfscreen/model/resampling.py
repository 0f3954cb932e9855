"""Intervals where patients repeat: patients are drawn again, with all their films.

A patient's films are alike, so intervals that count each film as one of its own are too narrow.
A draw says how often each patient was drawn; all figures follow from these counts and from films
sorted once, so that 2,000 draws on 100,000 films take seconds.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfscreen.model.calibration_figures import BINS, mass_bins
from vfscreen.model.statistics import Estimate

_CHUNK_BYTES = 1 << 20  # what a processor keeps near

Floats = NDArray[np.float64]
RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


class ResampledFigures:
    """The figures of one set of films, however often each patient counts.

    Parameters
    ----------
    probabilities, labels : array_like
        (N,) probability and truth (0 or 1).
    patients : array_like
        (N,) whose film each is, 0 to P - 1.
    thresholds : sequence of float
        Where the `RATES` are taken; a film at or above a threshold is called positive.
    """

    def __init__(
        self,
        probabilities: ArrayLike,
        labels: ArrayLike,
        patients: ArrayLike,
        thresholds: Sequence[float] = (),
    ) -> None:
        p, y = np.asarray(probabilities, np.float64), np.asarray(labels).astype(bool)
        of = np.asarray(patients, np.int64)
        order = np.argsort(p, kind="stable")
        positives, negatives = order[y[order]], order[~y[order]]
        self._of_positives, self._of_negatives = of[positives], of[negatives]
        up, down = p[positives], p[negatives]
        # Places in the cumulated counts of each class: what lies below a positive, and up to a tie.
        self._negatives_below = np.searchsorted(down, up, side="left")
        self._negatives_up_to = np.searchsorted(down, up, side="right")
        self._positives_below = np.searchsorted(up, up, side="left")
        self._cuts = [(np.searchsorted(up, t), np.searchsorted(down, t)) for t in thresholds]
        self._squares = np.bincount(of, weights=(p - y) ** 2)
        cells = of * BINS + mass_bins(p)
        gaps = np.bincount(cells, weights=p - y, minlength=len(self._squares) * BINS)
        self._gaps = gaps.reshape(-1, BINS)
        self.films = len(p)
        self.names = (
            "auc", "average_precision", "brier", "ece", "prevalence",
            *(f"{rate}:{place}" for place in range(len(thresholds)) for rate in RATES),
        )  # fmt: skip

    def __call__(self, counts: Floats) -> Floats:
        """(B, P) counts to (B, `len(names)`) figures; NaN where a class was not drawn."""
        of_positives = np.take(counts, self._of_positives, axis=1)
        found = _cumulated(of_positives)
        spared = _cumulated(np.take(counts, self._of_negatives, axis=1))
        m, n = found[:, -1], spared[:, -1]
        below = np.take(spared, self._negatives_below, axis=1)
        up_to = np.take(spared, self._negatives_up_to, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (of_positives * (below + up_to)).sum(1) / (2 * m * n)
            hits = m[:, None] - np.take(found, self._positives_below, axis=1)
            called = hits + (n[:, None] - below)
            precise = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
            total = m + n
            # einsum: a matrix product of so few columns spends its time on waking threads.
            columns = [
                area,
                (of_positives * precise).sum(1) / m,
                np.einsum("bp,p->b", counts, self._squares) / total,
                np.abs(np.einsum("bp,pk->bk", counts, self._gaps)).sum(1) / total,
                m / total,
            ]
            for cut_up, cut_down in self._cuts:
                tp, tn = m - found[:, cut_up], spared[:, cut_down]
                fp, fn = n - tn, m - tp
                columns += [tp / m, tn / n, tp / (tp + fp), tn / (tn + fn), (tp + tn) / total]
        return np.stack(columns, 1)


def _cumulated(counts: Floats) -> Floats:
    """(B, M) to (B, M + 1) sums of what stands before each place."""
    out = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=out[:, 1:])
    return out


def as_codes(patients: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Patients as 0 to P - 1, and P."""
    values, codes = np.unique(np.asarray(patients), return_inverse=True)
    return np.asarray(codes, np.int64), len(values)


def resample(
    figures: Callable[[Floats], Floats],
    patients: int,
    *,
    films: int,
    draws: int,
    seed: int,
) -> Floats:
    """Figures at `draws` draws of as many patients as there are, with replacement.

    Parameters
    ----------
    figures : callable
        (B, P) counts of how often each patient was drawn, to (B, K) figures.
    patients, films : int
        P, and how many films they have: this bounds what is held at a time.

    Returns
    -------
    ndarray
        (draws, K), the same for the same films and seed.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, min(draws, _CHUNK_BYTES // (8 * max(films, 1))))
    parts = []
    for start in range(0, draws, chunk):
        counts = np.empty((min(chunk, draws - start), patients))
        for row in counts:
            row[:] = np.bincount(rng.integers(0, patients, patients), minlength=patients)
        parts.append(figures(counts))
    return np.concatenate(parts)


def percentile(value: float, drawn: Floats) -> Estimate:
    """The 95 % percentile interval; draws without a class (NaN) do not count."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(min(low, value)), float(max(high, value)))
