"""From logit to probability: Platt's logistic calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """`probability = 1 / (1 + exp(-(slope * logit + intercept)))`."""

    slope: float = 1.0
    intercept: float = 0.0


def probability(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Calibrated probabilities of logits, any shape."""
    z = calibration.slope * np.asarray(logits, np.float64) + calibration.intercept
    # exp of a negative number only: no overflow at either end.
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e)))


def fit_platt(
    logits: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Calibration:
    """Fit slope and intercept by penalised maximum likelihood (Platt 1999, Newton's method).

    Parameters
    ----------
    logits, labels : array_like
        (N,) logits and truth (0 or 1), both classes present.
    weights : array_like, optional
        (N,) how many films each stands for, where the sample's mix is not the wanted one.

    Raises
    ------
    ValueError
        A class is missing, or a logit is not finite.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    w = np.ones_like(z) if weights is None else np.asarray(weights, np.float64)
    positives, negatives = float(w[y > 0.5].sum()), float(w[y <= 0.5].sum())
    if positives <= 0 or negatives <= 0 or not np.isfinite(z).all():
        raise ValueError("calibration needs finite logits of both classes")
    # Platt's targets: separable classes then still have a finite slope.
    target = np.where(y > 0.5, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    columns = np.stack([z, np.ones_like(z)])
    theta = np.array([1.0, np.log((negatives + 1) / (positives + 1)) * -1.0])
    loss = _loss(theta, columns, target, w)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-np.clip(theta @ columns, -500, 500)))
        gradient = columns @ (w * (p - target))
        hessian = (columns * (w * p * (1 - p))) @ columns.T + 1e-9 * np.eye(2)
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
    return Calibration(slope=float(theta[0]), intercept=float(theta[1]))


def _loss(
    theta: NDArray[np.float64],
    columns: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    z = theta @ columns
    return float((weights * (np.logaddexp(0.0, z) - target * z)).sum())
