import numpy as np
import pytest

from vfscreen.model.calibration import Calibration, fit_platt, probability


def test_fit_recovers_the_curve_that_drew_the_labels() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 20_000)
    labels = rng.random(20_000) < probability(logits, Calibration(0.6, -1.0))
    found = fit_platt(logits, labels)
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.06)


def test_weights_stand_for_repeated_films() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 300)
    labels = rng.random(300) < 0.5
    weights = rng.integers(1, 4, 300)
    repeated = fit_platt(np.repeat(logits, weights), np.repeat(labels, weights))
    weighted = fit_platt(logits, labels, weights)
    assert weighted.slope == pytest.approx(repeated.slope, abs=1e-6)
    assert weighted.intercept == pytest.approx(repeated.intercept, abs=1e-6)


def test_classes_that_separate_perfectly_still_have_a_finite_slope() -> None:
    found = fit_platt([-5, -4, -3, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    assert 0 < found.slope < 10


def test_probability_is_exact_at_both_ends() -> None:
    assert probability([-1e4, 0.0, 1e4], Calibration()).tolist() == [0.0, 0.5, 1.0]


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_platt([0.1, 0.2], [1, 1])
