"""How a calibration is found: temperature, Platt's, centred isotonic; and what another prevalence
does to it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfscreen.errors import CheckpointError, InputError
from vfscreen.results.calibrations import METHODS, Calibration, from_json, log_odds, probability

__all__ = [
    "END_SLOPE",
    "METHODS",
    "Calibration",
    "Choice",
    "MethodLoss",
    "archive_prevalence",
    "choose_method",
    "fit",
    "folds",
    "from_json",
    "log_odds",
    "probability",
    "shift_prior",
]

END_SLOPE = 0.05
"""Log-odds a unit of logit beyond the films that an isotonic calibration has seen: nothing is
known there but the order, which must stay."""

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows to fit on, and rows to test on."""

FOLDS = 5
REPEATS = 4
"""Cross-validation is repeated over other folds: with 200 films, one division decides by luck."""

_WRONG_WAY = (
    "The network ranks these films the wrong way round or not at all: no calibration can mend that."
)

_NO_TEMPERATURE = (
    "A temperature alone cannot calibrate these films: their logits are too high or too low as a "
    "whole, or in the wrong order. Set calibrate.method to auto or platt."
)


def fit(
    logits: ArrayLike,
    labels: ArrayLike,
    method: str = "platt",
    weights: ArrayLike | None = None,
) -> Calibration:
    """Fit a calibration of one finding.

    `temperature` (Guo 2017) and `platt` (Platt 1999) by penalised maximum likelihood, Newton's
    method on Platt's targets, so that separable classes still have a finite slope. `isotonic` is
    centred isotonic regression (Oron and Flournoy 2017) in log-odds: each flat piece becomes one
    knot at its films' mean logit, so that no two logits tie.

    Parameters
    ----------
    logits, labels : array_like
        (N,) logits and truth (0 or 1), both classes present.
    weights : array_like, optional
        (N,) how many films each stands for, where the sample's mix is not the wanted one.

    Raises
    ------
    InputError
        A class is missing, or a logit is not finite.
    CheckpointError
        A higher logit does not mean a likelier finding.
    """
    z, y, w = _checked(logits, labels, weights)
    positives, negatives = float(w[y > 0.5].sum()), float(w[y <= 0.5].sum())
    target = np.where(y > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    columns = np.stack([z] if method == "temperature" else [z, np.ones_like(z)])
    theta = _newton(columns, target, w, np.log((positives + 1) / (negatives + 1)))
    # Of a network that ranks the wrong way round an isotonic curve would still rise somewhere.
    if theta[0] <= 0:
        raise CheckpointError(_NO_TEMPERATURE if method == "temperature" else _WRONG_WAY)
    if method == "isotonic":
        return _fit_isotonic(z, y, w)
    return Calibration(float(theta[0]), float(theta[1]) if method == "platt" else 0.0, method)


def _checked(
    logits: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    w = np.ones_like(z) if weights is None else np.asarray(weights, np.float64)
    if w[y > 0.5].sum() <= 0 or w[y <= 0.5].sum() <= 0 or not np.isfinite(z).all():
        raise InputError("Calibration needs films with and without the finding, and finite logits.")
    return z, y, w


def _newton(
    columns: NDArray[np.float64],
    target: NDArray[np.float64],
    w: NDArray[np.float64],
    intercept: float,
) -> NDArray[np.float64]:
    """Logistic regression of targets in 0..1 on columns (K, N), from slope 1 on."""
    theta = np.array([1.0, intercept])[: len(columns)]
    loss = _loss(theta, columns, target, w)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(theta @ columns, -500, 500)))
        gradient = columns @ (w * (p - target))
        hessian = (columns * (w * p * (1 - p))) @ columns.T + 1e-9 * np.eye(len(columns))
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-8:
            trial = theta - scale * step
            trial_loss = _loss(trial, columns, target, w)
            if trial_loss <= loss:
                break
            scale /= 2
        else:
            break
        converged = loss - trial_loss < 1e-12 * (1 + abs(loss))
        theta, loss = trial, trial_loss
        if converged:
            break
    return theta


def _loss(
    theta: NDArray[np.float64],
    columns: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    z = theta @ columns
    return float((weights * (np.logaddexp(0.0, z) - target * z)).sum())


def _fit_isotonic(
    z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> Calibration:
    prevalence = float(np.average(y, weights=w))
    x, place = np.unique(z, return_inverse=True)
    films = np.bincount(place, w).astype(np.float64)
    kept = films > 0
    x, films = x[kept], films[kept]
    share = np.bincount(place, w * y)[kept] / films
    x, share, films = _pooled(x, share, films)
    # A piece of three positives and nothing else is no certainty: each piece is given one more
    # film, which has the finding with the prevalence. That may undo the order, so pool again.
    x, share, films = _pooled(x, (share * films + prevalence) / (films + 1), films)
    if len(x) < 2:
        raise CheckpointError(_WRONG_WAY)
    odds = np.log(share / (1 - share))
    x = np.r_[x[0] - 1, x, x[-1] + 1]
    odds = np.r_[odds[0] - END_SLOPE, odds, odds[-1] + END_SLOPE]
    knots = tuple((float(a), float(b)) for a, b in zip(x, odds, strict=True))
    return Calibration(method="isotonic", knots=knots)


def _pooled(
    x: NDArray[np.float64], share: NDArray[np.float64], films: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pool adjacent violators, and each flat piece to one point at its films' mean."""
    from sklearn.isotonic import isotonic_regression

    fitted = isotonic_regression(share, sample_weight=films)
    # Equal shares of different films differ by rounding.
    piece = np.cumsum(np.r_[0, np.diff(fitted) > 1e-9])
    total = np.bincount(piece, films).astype(np.float64)
    return (
        np.bincount(piece, films * x) / total,
        np.bincount(piece, films * fitted) / total,
        total,
    )


def shift_prior(
    calibration: Calibration, from_prevalence: float, to_prevalence: float
) -> Calibration:
    """The calibration for an archive of another prevalence (Saerens 2002, equation 2.4).

    Right where films with the finding look the same in both, and those without it do, and there
    are only more or fewer of them: then all odds change by one factor.

    Parameters
    ----------
    from_prevalence, to_prevalence : float
        Between 0 and 1, of the films that it was fitted on and of those it is meant for.

    Raises
    ------
    InputError
        A prevalence is not between 0 and 1.
    """
    if not (0 < from_prevalence < 1 and 0 < to_prevalence < 1):
        raise InputError("A prevalence is a number above 0 and below 1.")
    moved = _logit(to_prevalence) - _logit(from_prevalence)
    return replace(calibration, intercept=calibration.intercept + moved)


def archive_prevalence(
    log_odds: ArrayLike, prevalence: float, films: ArrayLike | None = None
) -> float:
    """The prevalence of unlabelled films, by maximum likelihood (Saerens 2002).

    The fixed point of Saerens' EM, found by bisection, since the likelihood has a single maximum.
    Assumes that the calibration is right at `prevalence`, and that nothing but the prevalence
    differs (see `shift_prior`): another device or another kind of patient is taken for more or
    fewer fractures.

    Parameters
    ----------
    log_odds : array_like
        (N,) calibrated log-odds of the films.
    prevalence : float
        Of the films that the calibration was fitted on.
    films : array_like, optional
        (N,) how many films have these log-odds; None: one each.

    Raises
    ------
    InputError
        The films' probabilities all point to one side: no prevalence between 0 and 1 explains
        them.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    # Likelihood ratio of the finding, a film each.
    ratio = np.asarray(log_odds, np.float64) - _logit(prevalence)
    counts = np.ones_like(ratio) if films is None else np.asarray(films, np.float64)

    def surplus(z: float) -> float:
        # Mean posterior less prior: zero at the EM's fixed point.
        return float(np.average(expit(ratio + z), weights=counts) - expit(z))

    low, high = _logit(1e-5), _logit(1 - 1e-5)
    if counts.sum() <= 0 or surplus(low) <= 0 or surplus(high) >= 0:
        raise InputError(
            "The archive's prevalence cannot be told from its probabilities: they fit none "
            "between 0 and 1. Give it as a number."
        )
    return float(expit(brentq(surplus, low, high, xtol=1e-10)))


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


@dataclass(frozen=True, slots=True)
class MethodLoss:
    """Cross-validated log loss of a method, in nats a film.

    `worse_by` is the difference from the best method, with its standard error over patients.
    """

    method: str
    log_loss: float
    worse_by: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The simplest method whose loss is within one standard error of the best."""

    method: str
    losses: tuple[MethodLoss, ...]


def choose_method(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    weights: ArrayLike | None = None,
) -> Choice:
    """Choose by log loss, cross-validated over patients.

    The differences between methods are compared film by film, so that what makes a film hard for
    all of them does not count; their standard error is that of patients' sums.

    Parameters
    ----------
    logits, labels : array_like
        (N,) logits and truth (0 or 1).
    groups : array_like
        (N,) the patient of each film.

    Raises
    ------
    InputError
        Fewer than five patients with the finding, or without it.
    CheckpointError
        The network ranks the wrong way round.
    """
    z, y, w = _checked(logits, labels, weights)
    patients, patient = np.unique(np.asarray(groups), return_inverse=True)
    divisions = list(folds(y, patient))
    losses: dict[str, NDArray[np.float64]] = {}
    for method in METHODS:
        # Of a network that hardly ranks, a fold may have the wrong order: that method is out.
        with suppress(CheckpointError):
            losses[method] = _losses(method, divisions, z, y, w)
    if not losses:
        raise CheckpointError(_WRONG_WAY)
    means = {method: float(np.average(loss, weights=w)) for method, loss in losses.items()}
    best = min(means, key=means.__getitem__)
    rows = []
    for method, loss in losses.items():
        difference = np.bincount(patient, w * (loss - losses[best]), len(patients))
        spread = float(np.sqrt(len(patients)) * difference.std(ddof=1) / w.sum())
        rows.append(MethodLoss(method, means[method], means[method] - means[best], spread))
    chosen = next(row.method for row in rows if row.worse_by <= row.standard_error)
    return Choice(chosen, tuple(rows))


def _losses(
    method: str,
    divisions: list[Fold],
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log loss of each film by calibrations that have not seen its patient."""
    losses = np.zeros(len(z))
    for train, test in divisions:
        odds = log_odds(z[test], fit(z[train], y[train], method, w[train]))
        losses[test] += np.logaddexp(0.0, np.where(y[test] > 0.5, -odds, odds)) / REPEATS
    return losses


def folds(labels: ArrayLike, groups: ArrayLike, repeats: int = REPEATS) -> Iterator[Fold]:
    """Rows to fit on and rows to test on: five folds of whole patients, divided `repeats` times.

    Raises
    ------
    InputError
        Fewer than five patients with the finding, or without it: a fold would have none; or a few
        patients have nearly all films of a class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    y, g = np.asarray(labels) > 0.5, np.asarray(groups)
    with_it, without = len(np.unique(g[y])), len(np.unique(g[~y]))
    if min(with_it, without) < FOLDS:
        raise InputError(
            f"Calibration is cross-validated over patients and needs {FOLDS} with the finding and "
            f"{FOLDS} without: there are {with_it} and {without}."
        )
    for repeat in range(repeats):
        divided = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=repeat)
        for train, test in divided.split(np.zeros(len(y)), y, g):
            if len(np.unique(y[train])) < 2:
                raise InputError(
                    "A few patients have nearly all films of one class: calibration cannot be "
                    "cross-validated over patients."
                )
            yield train, test
