"""Intervals by drawing patients again, held against the plain way of doing it."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vfscreen.model.calibration_figures import brier, expected_calibration_error
from vfscreen.model.resampling import RATES, ResampledFigures, as_codes, percentile, resample
from vfscreen.model.statistics import auc_interval

SEED = 2021


def films(count, patients, seed=0, decimals=2):
    """Probabilities with ties, truth, and whose film each is."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    probabilities = (1 / (1 + np.exp(-rng.normal(labels * 1.2 - 1, 1)))).round(decimals)
    of, drawn = as_codes(rng.integers(0, patients, count))
    return probabilities, labels, of, drawn


def plain(probabilities, labels, thresholds):
    """The same figures by scikit-learn, on films as they lie there."""
    figures = [
        roc_auc_score(labels, probabilities),
        average_precision_score(labels, probabilities),
        brier(probabilities, labels),
        labels.mean(),
    ]
    for threshold in thresholds:
        called = probabilities >= threshold
        tp, fp = (called & labels).sum(), (called & ~labels).sum()
        tn, fn = (~called & ~labels).sum(), (~called & labels).sum()
        figures += [
            tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn), (tp + tn) / len(labels)
        ]  # fmt: skip
    return figures


def test_each_draw_is_what_the_films_drawn_would_give():
    probabilities, labels, of, patients = films(150, 60)
    thresholds = (0.3, 0.5)
    figures = ResampledFigures(probabilities, labels, of, thresholds)
    rng = np.random.default_rng(4)
    for _ in range(20):
        drawn = rng.integers(0, patients, patients)
        lying = np.concatenate([np.flatnonzero(of == patient) for patient in drawn])
        counts = np.bincount(drawn, minlength=patients)[None].astype(float)
        (found,) = figures(counts)
        without_ece = np.delete(found, figures.names.index("ece"))
        np.testing.assert_allclose(
            without_ece, plain(probabilities[lying], labels[lying], thresholds), atol=1e-12
        )
    assert len(figures.names) == 5 + 2 * len(RATES)


def test_undrawn_films_give_the_figures_themselves():
    probabilities, labels, of, patients = films(200, 90)
    figures = ResampledFigures(probabilities, labels, of)
    (found,) = figures(np.ones((1, patients)))
    ece = expected_calibration_error(probabilities, labels)
    assert dict(zip(figures.names, found, strict=True))["ece"] == pytest.approx(ece)


def test_draws_are_the_same_for_the_same_seed_whatever_the_chunks():
    probabilities, labels, of, patients = films(80, 40)
    figures = ResampledFigures(probabilities, labels, of)
    first = resample(figures, patients, films=80, draws=50, seed=SEED)
    again = resample(figures, patients, films=10_000_000, draws=50, seed=SEED)
    np.testing.assert_allclose(first, again)
    assert not np.allclose(first, resample(figures, patients, films=80, draws=50, seed=SEED + 1))


def test_where_patients_do_not_repeat_it_agrees_with_delong():
    probabilities, labels, _, _ = films(600, 10, decimals=6)
    figures = ResampledFigures(probabilities, labels, np.arange(600))
    drawn = resample(figures, 600, films=600, draws=2000, seed=SEED)[:, 0]
    by_delong = auc_interval(probabilities, labels)
    found = percentile(by_delong.value, drawn)
    assert found.low == pytest.approx(by_delong.low, abs=0.006)
    assert found.high == pytest.approx(by_delong.high, abs=0.006)


def test_films_counted_twice_do_not_make_the_interval_narrower():
    probabilities, labels, _, _ = films(300, 10, decimals=6)
    twice = np.repeat(np.arange(300), 2)
    once = auc_interval(probabilities, labels)
    falsely = auc_interval(probabilities[twice], labels[twice])
    figures = ResampledFigures(probabilities[twice], labels[twice], twice)
    found = percentile(once.value, resample(figures, 300, films=600, draws=2000, seed=SEED)[:, 0])
    assert falsely.high - falsely.low < 0.75 * (once.high - once.low)
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.1)


def test_a_draw_without_a_class_does_not_count():
    figures = ResampledFigures([0.2, 0.7, 0.9], [0, 1, 1], [0, 1, 2])
    drawn = resample(figures, 3, films=3, draws=200, seed=SEED)
    assert np.isnan(drawn[:, 0]).any()
    found = percentile(1.0, drawn[:, 0])
    assert (found.low, found.high) == (1.0, 1.0)


def test_a_hundred_thousand_films_take_seconds():
    probabilities, labels, of, patients = films(100_000, 60_000, decimals=9)
    figures = ResampledFigures(probabilities, labels, of, (0.2, 0.4, 0.6))
    began = time.process_time()
    resample(figures, patients, films=100_000, draws=100, seed=SEED)
    # 2,000 draws in 10 s; measured: 2 to 3.
    assert time.process_time() - began < 0.5
