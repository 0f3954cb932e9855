"""Figures of films and studies: one situation a test, small enough to check by hand."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from vfscreen.jobs.evaluation_figures import (
    Rate,
    Resampling,
    Sample,
    level_figures,
    predictive_values,
)
from vfscreen.jobs.evaluation_parts import compare, subgroups
from vfscreen.jobs.evaluation_samples import groups, scored_films
from vfscreen.jobs.labels import LabelProblems
from vfscreen.jobs.readers import Calls, reader_figures
from vfscreen.model.calibration import Calibration
from vfscreen.model.statistics import auc_interval, share

DRAWS = Resampling(draws=300, seed=1)
NONE_FAILED = np.zeros(0, bool)
INFO = SimpleNamespace(calibration={"vf": Calibration()})
POINTS = {"default": 0.5}


def sample(probabilities, labels, patients=None, failed=()):
    of = np.arange(len(labels)) if patients is None else np.asarray(patients)
    return Sample(
        np.asarray(probabilities, float), np.asarray(labels, bool), of, np.asarray(failed, bool)
    )


def table(rows):
    """A scored table of (logit, label, patient, study) and whatever else differs."""
    columns = {
        "logit:vf": [row[0] for row in rows],
        "vf": [row[1] for row in rows],
        "patient_key": [f"p{row[2]}" for row in rows],
        "study_key": [f"s{row[3]}" for row in rows],
    }
    made = {name: pa.array(values) for name, values in columns.items()}
    made["logit:vf"] = made["logit:vf"].cast(pa.float32())
    made["vf"] = made["vf"].cast(pa.int8())
    made["sop_instance_uid"] = pa.array([str(n) for n in range(len(rows))])
    return pa.table(made)


def many(count=120, seed=0, patients=None):
    """Films of which the model knows something, as a scored table."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    logits = rng.normal(labels * 1.5 - 0.7, 1)
    of = np.arange(count) if patients is None else rng.integers(0, patients, count)
    return table(list(zip(logits, labels.astype(int), of, range(count), strict=True)))


def test_counts_and_rates_at_a_threshold():
    figures = level_figures(
        "film", sample([0.9, 0.5, 0.4, 0.6, 0.1, 0.2], [1, 1, 1, 0, 0, 0]), POINTS, None, DRAWS
    )
    (point,) = figures.operating_points
    assert (point.true_positives, point.false_negatives) == (2, 1)
    assert (point.true_negatives, point.false_positives) == (2, 1)
    for rate, count, total in (
        (point.sensitivity, 2, 3), (point.specificity, 2, 3), (point.ppv, 2, 3),
        (point.npv, 2, 3), (point.accuracy, 4, 6),
    ):  # fmt: skip
        by_wilson = share(count, total)
        assert (rate.count, rate.total) == (count, total)
        assert (rate.value, rate.low, rate.high) == (by_wilson.value, by_wilson.low, by_wilson.high)
    assert figures.auc.value == pytest.approx(7 / 9)
    assert figures.intervals == "independent"


def test_without_repeats_the_areas_interval_is_delongs():
    films = scored_films(many(), INFO, "vf").films()
    figures = level_figures("film", films, POINTS, None, DRAWS)
    assert figures.auc == auc_interval(films.probabilities, films.labels)


def test_where_patients_repeat_intervals_are_drawn_over_patients():
    table_ = many(200, patients=40)
    films = scored_films(table_, INFO, "vf").films()
    figures = level_figures("film", films, POINTS, None, DRAWS)
    assert (figures.intervals, figures.patients) == ("patients", 39)
    point = figures.operating_points[0]
    by_wilson = share(point.sensitivity.count, point.sensitivity.total)
    assert point.sensitivity.value == by_wilson.value
    assert point.sensitivity.low != by_wilson.low
    assert figures == level_figures("film", films, POINTS, None, DRAWS)


def test_all_found_where_patients_repeat_has_wilsons_interval_over_patients():
    films = sample([0.9, 0.8, 0.7, 0.9, 0.1, 0.2], [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    rate = level_figures("film", films, POINTS, None, DRAWS).operating_points[0].sensitivity
    assert (rate.count, rate.total, rate.value, rate.high) == (4, 4, 1.0, 1.0)
    assert rate.low == share(2, 2).low


def test_failed_films_are_counted_and_wrong_in_the_worst_case():
    films = sample([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], failed=[1, 0, 0])
    figures = level_figures("film", films, POINTS, None, DRAWS)
    point = figures.operating_points[0]
    assert (figures.failed_positives, figures.failed_negatives) == (1, 2)
    assert (point.sensitivity.total, point.worst_sensitivity.total) == (2, 3)
    assert point.worst_sensitivity.value == pytest.approx(2 / 3)
    assert point.worst_specificity.value == pytest.approx(2 / 4)
    assert figures.auc.value == 1.0
    # 2 x 2 of 3 x 4 pairs are right: the failed positive lies lowest, the failed negatives highest.
    assert figures.auc_worst_case == pytest.approx(4 / 12)


def test_one_class_has_counts_and_no_area():
    figures = level_figures("film", sample([0.9, 0.1], [1, 1]), POINTS, 0.1, DRAWS)
    assert figures.auc is None
    assert figures.calibration is None
    assert figures.curves is None
    point = figures.operating_points[0]
    assert (point.sensitivity.count, point.specificity.total) == (1, 0)
    assert point.specificity.value is None
    assert point.ppv_at_prevalence is None


def test_nothing_screened_is_no_crash():
    figures = level_figures("film", sample([], [], failed=[1, 0]), POINTS, 0.1, DRAWS)
    assert (figures.units, figures.failed_positives, figures.brier) == (0, 1, None)


def test_predictive_values_at_a_prevalence_are_those_of_bayes():
    sensitivity, specificity = Rate(74, 100, *_parts(74, 100)), Rate(146, 200, *_parts(146, 200))
    ppv, npv = predictive_values(sensitivity, specificity, 0.1)
    assert ppv.value == pytest.approx(0.074 / (0.074 + 0.27 * 0.9))
    assert npv.value == pytest.approx(0.73 * 0.9 / (0.73 * 0.9 + 0.026))
    assert ppv.low < ppv.value < ppv.high
    assert npv.low < npv.value < npv.high
    # No narrower than by one of both alone, no wider than at both limits at once.
    corner = 0.1 * sensitivity.low / (0.1 * sensitivity.low + 0.9 * (1 - specificity.low))
    assert corner < ppv.low


def _parts(count, total):
    of = share(count, total)
    return of.value, of.low, of.high


def test_a_perfect_test_has_a_predictive_value_with_a_bound():
    perfect = Rate(30, 30, *_parts(30, 30))
    ppv, npv = predictive_values(perfect, perfect, 0.1)
    assert (ppv.value, ppv.high, npv.value, npv.high) == (1.0, 1.0, 1.0, 1.0)
    assert 0.4 < ppv.low < 1
    assert 0.9 < npv.low < 1


def test_a_study_is_its_highest_film_and_fails_where_all_its_films_do():
    films = scored_films(
        table([(2.0, 0, 1, 1), (-1.0, 1, 1, 1), (None, 1, 2, 2), (0.5, 1, 2, 2), (None, 0, 3, 3),
               (None, None, 4, 4)]),
        INFO,
        "vf",
    )  # fmt: skip
    by_film, by_study = films.films(), films.by_study()
    assert (len(by_film.labels), len(by_film.failed)) == (3, 2)
    assert by_study.labels.tolist() == [True, True]
    np.testing.assert_allclose(by_study.probabilities, 1 / (1 + np.exp([-2.0, -0.5])), atol=1e-6)
    assert by_study.failed.tolist() == [False]


def with_tags(table_, manufacturers):
    count = len(table_)
    columns = {
        "patient_sex": ["F", "M", None, "x"] * count,
        "patient_age_years": [48, 55, 91, None] * count,
        "manufacturer": manufacturers * count,
        "view_position": ["AP", "ap ", "", None] * count,
        "transfer_syntax_uid": ["1.2.840.10008.1.2.1", "1.2.3", None, "1.2.840.10008.1.2"] * count,
    }
    for name, values in columns.items():
        kind = pa.int32() if name == "patient_age_years" else pa.string()
        table_ = table_.append_column(name, pa.array(values[:count], kind))
    return table_


def test_groups_are_named_alike_and_rare_names_pooled():
    scored = with_tags(many(40), ["GE", "ge ", "Acme", "GE"])
    scored = scored.set_column(
        scored.column_names.index("manufacturer"),
        "manufacturer",
        pa.array(["GE", "ge "] * 18 + ["ROE^RICHARD", "", None, "GE"]),
    )
    found = {(dimension, name): int(rows.sum()) for dimension, name, rows in groups(scored, 5)}
    assert found["manufacturer", "GE"] == 37
    assert found["manufacturer", "other"] == 1
    assert found["manufacturer", "unknown"] == 2
    assert found["view", "AP"] == 20
    assert found["view", "unknown"] == 20
    assert found["sex", "female"] == found["sex", "male"] == 10
    assert found["sex", "unknown"] == 20
    assert found["age", "under 50"] == found["age", "80 and over"] == 10
    assert found["transfer syntax", "Explicit VR Little Endian"] == 10
    assert found["transfer syntax", "other"] == 10


def test_subgroups_without_enough_of_a_class_have_counts_and_small_counts_are_hidden():
    scored = with_tags(many(60), ["Large", "Large", "Large", "Large"])
    names = pa.array(["Large"] * 48 + ["Small"] * 12)
    scored = scored.set_column(scored.column_names.index("manufacturer"), "manufacturer", names)
    films = scored_films(scored, INFO, "vf")
    made = subgroups(films, scored, POINTS, least=10, smallest=8, resampling=DRAWS)
    by_name = {(s.dimension, s.name): s for s in made}
    large, small = by_name["manufacturer", "Large"], by_name["manufacturer", "Small"]
    assert large.auc is not None
    assert large.films == 48
    assert small.auc is None
    assert small.operating_point is None
    assert small.films == 12
    positives = int(films.labels[48:].sum())
    assert 0 < positives < 8
    assert small.positives is None
    assert small.failed == 0


def test_two_checkpoints_are_compared_on_what_both_screened():
    scored = many(150)
    rng = np.random.default_rng(5)
    noisy = np.asarray(scored["logit:vf"]) + rng.normal(0, 2, 150)
    noisy[:3] = np.nan
    other = scored.set_column(0, "logit:vf", pa.array(noisy, pa.float32()))
    first, second = (scored_films(one, INFO, "vf") for one in (scored, other))
    found = compare("film", first, second, {"default": (0.5, 0.5)}, DRAWS)
    assert (found.units, found.only_one_screened, found.intervals) == (147, 3, "independent")
    assert found.difference.value < 0
    assert found.p_value < 0.05
    point = found.operating_points[0]
    by_hand = (first.probabilities[3:] >= 0.5) & first.labels[3:]
    other_hand = (second.probabilities[3:] >= 0.5) & second.labels[3:]
    assert point.sensitivity_test.only_first == (by_hand & ~other_hand).sum()
    assert point.sensitivity.value == pytest.approx(
        (other_hand.sum() - by_hand.sum()) / first.labels[3:].sum()
    )


def test_a_comparison_where_patients_repeat_has_an_interval_and_no_p_value():
    scored = many(150, patients=50)
    films = scored_films(scored, INFO, "vf")
    found = compare("film", films, films, {"default": (0.5, 0.6)}, DRAWS)
    assert found.p_value is None
    assert (found.difference.low, found.difference.high) == (0, 0)
    point = found.operating_points[0]
    assert point.sensitivity.low <= point.sensitivity.value <= point.sensitivity.high
    assert point.sensitivity.value < 0


def calls(answers, level="film"):
    """Reader's number to 0, 1 or None a film."""
    made = {}
    for reader, said in answers.items():
        known = [n for n, one in enumerate(said) if one is not None]
        made["vf", reader] = pa.table(
            {
                "sop_instance_uid": pa.array([str(n) for n in known]),
                "call": pa.array([said[n] for n in known], pa.int8()),
            }
        )
    problems = LabelProblems(0, 0, pa.table({"line": [], "reason": []}))
    return Calls(level, len(answers), made, problems)


def test_a_reader_lies_above_or_below_the_curve_of_the_films_read():
    # By probability: 1 0 1 0. At a specificity of a half the network finds all.
    scored = table([(2, 1, 1, 1), (1, 0, 2, 2), (0, 1, 3, 3), (-1, 0, 4, 4), (-2, 0, 5, 5)])
    films = scored_films(scored, INFO, "vf")
    said = {0: [1, 0, 1, 0, None], 1: [1, 1, 0, 0, 1], 2: [None, 0, None, 0, 0]}
    found = reader_figures(calls(said), "vf", films, scored, DRAWS)
    right, wrong = found.readers
    assert (right.reader, right.units, right.above) == (1, 4, True)
    assert (right.sensitivity.value, right.specificity.value) == (1.0, 1.0)
    assert right.network_sensitivity == pytest.approx(0.5)
    assert (wrong.units, wrong.above) == (5, False)
    assert wrong.specificity.value == pytest.approx(1 / 3)
    assert wrong.network_sensitivity == pytest.approx(1.0)
    assert (found.above, found.not_compared) == (1, 1)
    assert found.mean_sensitivity.value == pytest.approx(0.75)
    assert found.mean_specificity.value == pytest.approx(2 / 3)


def test_a_reader_of_studies_is_held_against_studies():
    scored = table([(2, 1, 1, 1), (-1, 1, 1, 1), (1, 0, 2, 2), (-2, 0, 3, 3)])
    films = scored_films(scored, INFO, "vf")
    found = reader_figures(calls({0: [1, 1, 0, 0]}, "study"), "vf", films, scored, DRAWS)
    assert (found.level, found.readers[0].units) == ("study", 3)
    assert found.readers[0].accuracy.value == 1.0
