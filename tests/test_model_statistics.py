import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from vfscreen.model.statistics import (
    auc,
    auc_interval,
    delong,
    share,
)


def test_auc_counts_pairs_and_a_tie_as_half() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, 80) / 5
    labels = rng.random(80) < 0.4
    above, tied, pairs = 0.0, 0.0, 0
    for p in scores[labels]:
        for n in scores[~labels]:
            above += p > n
            tied += p == n
            pairs += 1
    assert auc(scores, labels) == pytest.approx((above + tied / 2) / pairs, abs=1e-12)


def test_auc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auc([0.1, 0.2], [1, 1]))


def test_delong_interval_covers_the_truth_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(5)
    # Two normal distributions one standard deviation apart: AUC = Phi(1 / sqrt 2) = 0.7602.
    covered = 0
    for _ in range(400):
        scores = np.r_[rng.normal(1, 1, 40), rng.normal(0, 1, 60)]
        found = auc_interval(scores, np.r_[np.ones(40), np.zeros(60)])
        covered += found.low <= 0.7602 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_interval_near_one_stays_inside_and_covers() -> None:
    rng = np.random.default_rng(6)
    # Three standard deviations apart: AUC = Phi(3 / sqrt 2) = 0.98305.
    covered, symmetric = 0, 0
    for _ in range(500):
        scores = np.r_[rng.normal(3, 1, 20), rng.normal(0, 1, 30)]
        labels = np.r_[np.ones(20), np.zeros(30)]
        found = auc_interval(scores, labels)
        assert 0 <= found.low <= found.value <= found.high <= 1
        covered += found.low <= 0.98305 <= found.high
        (area,), covariance = delong(scores, labels)
        symmetric += abs(area - 0.98305) <= 1.959964 * np.sqrt(covariance[0, 0])
    assert covered / 500 >= 0.92
    assert covered > symmetric


def test_an_area_of_one_has_a_width() -> None:
    found = auc_interval([0.1, 0.2, 0.3, 0.7, 0.8], [0, 0, 0, 1, 1])
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.3 < found.low < 0.8
    many = auc_interval(np.arange(400), np.arange(400) >= 200)
    assert many.low > 0.97
    reverse = auc_interval([0.9, 0.8, 0.7, 0.2, 0.1], [0, 0, 0, 1, 1])
    assert (reverse.low, reverse.value) == (0.0, 0.0)
    assert reverse.high == pytest.approx(1 - found.low)


def test_auc_and_wilson_agree_with_scikit_learn_and_statsmodels() -> None:
    rng = np.random.default_rng(8)
    labels = rng.random(300) < 0.2
    scores = rng.normal(labels, 1).round(1)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    for successes, trials in ((0, 7), (3, 11), (50, 50), (731, 1306)):
        found = share(successes, trials)
        low, high = proportion_confint(successes, trials, method="wilson")
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_wilson_interval_equals_the_published_example() -> None:
    # Newcombe 1998, Stat Med 17:857, table I: 81/263, 15/148, 0/20, 1/29.
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = share(successes, trials)
        assert (found.low, found.high) == (
            pytest.approx(low, abs=6e-5),
            pytest.approx(high, abs=6e-5),
        )
