"""Paired tests, held against published values, plain implementations and statsmodels."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as published_mcnemar

from vfscreen.model.comparison import compare_areas, mcnemar, paired_difference
from vfscreen.model.statistics import delong

# DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837: patients with ovarian cancer and a
# bowel obstruction, as printed in the SAS/STAT user's guide, LOGISTIC procedure, example "Comparing
# receiver operating characteristic curves". Albumin, total protein, K-G score, benefit of surgery.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""


@pytest.fixture(scope="module")
def ovarian():
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    return table[:, 0], table[:, 1], 10 - table[:, 2], table[:, 3]


def test_areas_and_their_standard_errors_are_those_published(ovarian):
    *tests, benefit = ovarian
    areas, covariance = delong(np.stack(tests), benefit)
    np.testing.assert_allclose(areas, [0.7366, 0.6478, 0.7258], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [0.0927, 0.1000, 0.1028], atol=5e-5)


def test_paired_tests_are_those_published(ovarian):
    albumin, protein, score, benefit = ovarian
    for other, difference, error, chi_square, p in (
        (albumin, 0.0108, 0.0953, 0.0127, 0.9102),
        (protein, -0.0780, 0.1046, 0.5554, 0.4561),
    ):
        found = compare_areas(score, other, benefit)
        assert found.difference.value == pytest.approx(difference, abs=5e-5)
        spread = (found.difference.high - found.difference.low) / (2 * norm.ppf(0.975))
        assert spread == pytest.approx(error, abs=5e-5)
        assert (found.difference.value / spread) ** 2 == pytest.approx(chi_square, abs=5e-5)
        assert found.p_value == pytest.approx(p, abs=5e-5)


def plainly(scores, labels):
    """The formulas of 1988 as they are written: every pair of films, ties as half."""
    up, down = scores[:, labels], scores[:, ~labels]
    psi = (up[:, :, None] > down[:, None]) + 0.5 * (up[:, :, None] == down[:, None])
    of_positives, of_negatives = psi.mean(2), psi.mean(1)
    covariance = np.cov(of_positives) / up.shape[1] + np.cov(of_negatives) / down.shape[1]
    return psi.mean((1, 2)), covariance


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_the_fast_form_equals_the_formulas_of_1988(decimals):
    rng = np.random.default_rng(decimals)
    labels = rng.random(120) < 0.3
    scores = rng.normal(labels * np.array([[1.0], [0.5], [0.0]]), 1).round(decimals)
    areas, covariance = delong(scores, labels)
    expected_areas, expected_covariance = plainly(scores, labels)
    np.testing.assert_allclose(areas, expected_areas, atol=1e-12)
    np.testing.assert_allclose(covariance, expected_covariance, atol=1e-12)


def test_a_checkpoint_does_not_differ_from_itself():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3 == 0
    scores = rng.normal(labels, 1)
    found = compare_areas(scores, 2 * scores, labels)
    assert found.difference.value == 0
    assert found.p_value == 1


@pytest.mark.parametrize(("one", "two"), [(0, 0), (1, 0), (3, 3), (2, 11), (9, 4), (0, 25)])
def test_mcnemar_agrees_with_statsmodels(one, two):
    first = np.r_[np.ones(20 + one), np.zeros(5 + two)].astype(bool)
    second = np.r_[np.ones(20), np.zeros(one), np.zeros(5), np.ones(two)].astype(bool)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (one, two)
    table = [[20, one], [two, 5]]
    assert found.exact == pytest.approx(published_mcnemar(table, exact=True).pvalue)
    assert found.mid_p <= found.exact


def test_mid_p_of_the_published_example():
    # Fagerland, Lydersen and Laake (2013), table 1 (airway hyper-responsiveness before and after
    # stem cell transplantation): 1 and 7 discordant pairs; exact 0.0703, mid-p 0.0391.
    found = mcnemar([True] + [False] * 7, [False] + [True] * 7)
    assert found.exact == pytest.approx(0.0703, abs=5e-5)
    assert found.mid_p == pytest.approx(0.0391, abs=5e-5)


def test_paired_interval_covers_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(600):
        # Right in 80 and 70 of 100, and more often both than by chance.
        kind = rng.choice(4, 60, p=[0.62, 0.18, 0.08, 0.12])
        found = paired_difference(kind < 2, (kind == 0) | (kind == 2))
        covered += found.low <= -0.10 <= found.high
    assert 0.93 <= covered / 600 <= 0.985


def test_paired_interval_has_a_width_where_nobody_is_ever_wrong():
    found = paired_difference([True] * 20, [True] * 20)
    assert found.value == 0
    assert -0.2 < found.low < 0 < found.high < 0.2
