"""From logit to probability, as sql/calibration_pieces.sql does it; how one is found is the
business of `model/calibration.py`."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

METHODS = ("temperature", "platt", "isotonic")
"""The simplest first."""

MOST_KNOTS = 4096
"""More than any fit makes; a damaged or hostile checkpoint must not cost memory."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """`probability = 1 / (1 + exp(-(slope * g(logit) + intercept)))`; always increasing.

    Attributes
    ----------
    slope, intercept : float
        Finite, the slope above 0. A shift to another prevalence moves the intercept alone.
    method : str
        `temperature` or `platt`: g is the logit itself. `isotonic`: g goes by the knots.
    knots : tuple of (float, float)
        Logit and log-odds, both increasing: g is linear between two knots, and beyond the outer
        ones goes on as between the last two.

    Raises
    ------
    ValueError
        It would not be increasing, or is not finite.
    """

    slope: float = 1.0
    intercept: float = 0.0
    method: str = "platt"
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        # A slope of zero or below would rank the films the wrong way round.
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope > 0):
            raise ValueError("slope and intercept are finite, and the slope is above 0")
        if self.method not in METHODS:
            raise ValueError(f"the method is one of {', '.join(METHODS)}")
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError("isotonic calibration has knots, and no other")
        if not self.knots:
            return
        steps = np.diff(np.array(self.knots, np.float64), axis=0)
        if not 1 <= len(steps) < MOST_KNOTS or not (np.isfinite(steps) & (steps > 0)).all():
            raise ValueError("knots are two or more, finite, and increase in both")


def from_json(raw: dict[str, Any]) -> Calibration:
    """A calibration as a checkpoint's metadata hold it (`dataclasses.asdict` of it).

    Raises
    ------
    KeyError, TypeError, ValueError
        It is none. `method` and `knots` may be missing: then it is Platt's.
    """
    return Calibration(
        float(raw["slope"]),
        float(raw["intercept"]),
        raw.get("method", "platt"),
        tuple((float(logit), float(log_odds)) for logit, log_odds in raw.get("knots", ())),
    )


def log_odds(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Logarithm of the calibrated odds; any shape."""
    z = np.asarray(logits, np.float64)
    if calibration.knots:
        x, y = np.array(calibration.knots, np.float64).T
        piece = np.clip(np.searchsorted(x, z, side="right") - 1, 0, len(x) - 2)
        rise = np.diff(y) / np.diff(x)
        z = y[piece] + rise[piece] * (z - x[piece])
    return np.asarray(calibration.slope * z + calibration.intercept)


def probability(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Calibrated probabilities of logits, any shape."""
    z = log_odds(logits, calibration)
    # exp of a negative number only: no overflow at either end.
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e)))


def logit_at(probability: float, calibration: Calibration) -> float:
    """The logit of a calibrated probability above 0 and below 1."""
    z = (math.log(probability) - math.log1p(-probability) - calibration.intercept) / (
        calibration.slope
    )
    if not calibration.knots:
        return z
    x, y = np.array(calibration.knots, np.float64).T
    piece = int(np.clip(np.searchsorted(y, z, side="right") - 1, 0, len(y) - 2))
    return float(x[piece] + (z - y[piece]) * (x[piece + 1] - x[piece]) / (y[piece + 1] - y[piece]))
