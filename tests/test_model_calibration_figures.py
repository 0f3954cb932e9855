"""Brier, Cox and ECE, held against scikit-learn, statsmodels and a plain loop."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import brier_score_loss

from vfscreen.model.calibration_figures import (
    bounded_log_odds,
    brier,
    cox_calibration,
    expected_calibration_error,
    mass_bins,
    reliability,
)


@pytest.fixture(scope="module")
def films():
    """2,000 films whose probabilities are too extreme by half, and too high on the whole."""
    rng = np.random.default_rng(0)
    z = rng.normal(-1, 1, 2000)
    labels = rng.random(2000) < 1 / (1 + np.exp(-z))
    return 1 / (1 + np.exp(-(1.5 * z + 1.2))), labels


def test_brier_is_scikit_learns(films):
    assert brier(*films) == pytest.approx(brier_score_loss(films[1], films[0]))


def test_slope_and_intercept_are_those_of_a_logistic_regression(films):
    p, labels = films
    found = cox_calibration(p, labels)
    model = sm.Logit(labels.astype(float), sm.add_constant(bounded_log_odds(p))).fit(disp=0)
    for estimate, column in ((found.intercept, 0), (found.slope, 1)):
        assert estimate.value == pytest.approx(model.params[column], abs=1e-6)
        low, high = model.conf_int()[column]
        assert (estimate.low, estimate.high) == (
            pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5)
        )  # fmt: skip
    assert found.slope.low < 1 / 1.5 < found.slope.high
    assert found.intercept_in_the_large.high < 0


def test_patients_who_repeat_widen_the_interval(films):
    p, labels = films
    twice = np.repeat(np.arange(len(p)), 2)
    once = cox_calibration(p, labels).slope
    falsely = cox_calibration(p[twice], labels[twice]).slope
    found = cox_calibration(p[twice], labels[twice], twice).slope
    assert falsely.high - falsely.low == pytest.approx((once.high - once.low) / 2**0.5, rel=0.01)
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.1)


def test_separated_classes_have_no_slope():
    found = cox_calibration([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert found.slope is None
    assert found.intercept_in_the_large is not None
    assert cox_calibration([0.1, 0.2], [1, 1]).intercept_in_the_large is None


def test_probabilities_of_0_and_1_are_finite():
    assert np.isfinite(bounded_log_odds([0.0, 1.0])).all()
    labels = np.arange(40) % 2
    p = np.where(np.arange(40) < 10, 1.0, 0.5)
    assert cox_calibration(p, labels).slope is not None


def test_bins_hold_like_numbers_of_films_and_ties_stay_together():
    p = np.r_[np.full(30, 0.1), np.linspace(0.2, 0.9, 70)]
    of = mass_bins(p)
    assert len(set(of[:30])) == 1
    assert np.bincount(of, minlength=10)[3:].tolist() == [10] * 7
    assert mass_bins(np.linspace(0, 1, 103)).max() == 9


def test_ece_is_the_loop_over_its_bins(films):
    p, labels = films
    order = np.argsort(p)
    expected = sum(
        len(part) / len(p) * abs(p[part].mean() - labels[part].mean())
        for part in np.array_split(order, 10)
    )
    assert expected_calibration_error(p, labels) == pytest.approx(expected, abs=1e-12)
    bins = reliability(p, labels)
    assert sum(b.films for b in bins) == len(p)
    assert sum(b.positives for b in bins) == labels.sum()
    by_bins = sum(b.films * abs(b.mean_probability - b.observed.value) for b in bins) / len(p)
    assert by_bins == pytest.approx(expected, abs=1e-12)
