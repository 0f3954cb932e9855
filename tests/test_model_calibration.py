"""Calibrations: found, chosen, moved to another prevalence, and the same in Python and SQL."""

import numpy as np
import pyarrow as pa
import pytest
from spec_tables import catalogue

from vfscreen.errors import CheckpointError, InputError
from vfscreen.model.calibration import (
    END_SLOPE,
    METHODS,
    archive_prevalence,
    choose_method,
    fit,
    log_odds,
    shift_prior,
)
from vfscreen.model.recalibration import LabelledLogits, estimated_prevalence
from vfscreen.results.calibrations import MOST_KNOTS, Calibration, from_json, probability
from vfscreen.results.rows import CheckpointHead, checkpoints_table
from vfscreen.results.sql import fetch

VF = "vertebral_fracture"


def drawn(
    films: int, seed: int, slope: float = 0.6, intercept: float = -1.0, spread: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that a Platt curve draws from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, films)
    return logits, rng.random(films) < probability(logits, Calibration(slope, intercept))


def test_platt_recovers_the_curve_that_drew_the_labels() -> None:
    found = fit(*drawn(20_000, 1))
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.06)


def test_temperature_recovers_the_slope_alone() -> None:
    found = fit(*drawn(20_000, 1, intercept=0.0), "temperature")
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.intercept == 0.0


def test_isotonic_recovers_a_curve_that_platt_cannot_have() -> None:
    rng = np.random.default_rng(4)
    logits = rng.uniform(-6, 6, 40_000)
    truth = np.where(logits < 0, 0.02, 0.7) + 0.01 * logits / 6
    found = fit(logits, rng.random(40_000) < truth, "isotonic")
    inside = np.abs(logits) > 0.3
    assert np.abs(probability(logits, found) - truth)[inside].mean() < 0.02


def test_isotonic_goes_through_the_centres_of_its_flat_pieces() -> None:
    # Violators at 2 and 3: one piece at their mean, a quarter of its films positive, with one
    # film of the prevalence (3 of 10) added to each piece.
    logits = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0, 4.0, 4.0]
    labels = [0, 0, 1, 0, 0, 0, 0, 0, 1, 1]
    found = fit(logits, labels, "isotonic")
    inner = np.array(found.knots[1:-1])
    assert inner[:, 0] == pytest.approx([1.0, 16 / 6, 4.0])
    share = np.array([0.3 / 3, 1.3 / 7, 2.3 / 3])
    assert inner[:, 1] == pytest.approx(np.log(share / (1 - share)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("films", [20, 200, 5000])
def test_no_calibration_ties_or_turns_what_the_network_ranks(method: str, films: int) -> None:
    logits, labels = drawn(films, 7)
    found = shift_prior(fit(logits, labels, method), 0.3, 0.05)
    asked = np.unique(
        np.r_[np.linspace(-25, 25, 20_001), logits, [k[0] for k in found.knots]].astype(np.float32)
    )
    assert (np.diff(probability(asked, found)) > 0).all()


def test_isotonic_has_finite_ends_and_a_stated_slope_beyond_them() -> None:
    found = fit([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], [0, 0, 0, 1, 1, 1], "isotonic")
    assert 0.05 < probability(-3, found) < probability(3, found) < 0.95
    beyond = log_odds([10.0, 11.0, -10.0, -11.0], found)
    assert beyond[1] - beyond[0] == pytest.approx(END_SLOPE)
    assert beyond[2] - beyond[3] == pytest.approx(END_SLOPE)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_weights_stand_for_repeated_films(method: str) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 300)
    labels = rng.random(300) < probability(logits, Calibration(0.4))
    weights = rng.integers(1, 4, 300)
    repeated = fit(np.repeat(logits, weights), np.repeat(labels, weights), method)
    weighted = fit(logits, labels, method, weights)
    assert weighted.slope == pytest.approx(repeated.slope, abs=1e-6)
    assert weighted.intercept == pytest.approx(repeated.intercept, abs=1e-6)


def test_weights_stand_for_repeated_films_in_isotonic_as_well() -> None:
    logits, labels = drawn(300, 2)
    weights = np.random.default_rng(3).integers(0, 4, 300)
    repeated = fit(np.repeat(logits, weights), np.repeat(labels, weights), "isotonic")
    weighted = fit(logits, labels, "isotonic", weights)
    assert np.array(weighted.knots) == pytest.approx(np.array(repeated.knots))


def test_classes_that_separate_perfectly_still_have_a_finite_slope() -> None:
    found = fit([-5, -4, -3, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    assert 0 < found.slope < 10


def test_probability_is_exact_at_both_ends() -> None:
    assert probability([-1e4, 0.0, 1e4], Calibration()).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_refused(method: str) -> None:
    with pytest.raises(InputError, match="with and without"):
        fit([0.1, 0.2], [1, 1], method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("films", [20, 500])
def test_a_network_that_ranks_the_wrong_way_round_is_refused(method: str, films: int) -> None:
    logits, labels = drawn(films, 3, intercept=0.0)
    with pytest.raises(CheckpointError, match=r"wrong (way|order)"):
        fit(-logits, labels, method)


def test_logits_that_are_too_high_as_a_whole_need_more_than_a_temperature() -> None:
    logits, labels = drawn(400, 3)
    high = logits + 15
    with pytest.raises(CheckpointError, match="auto or platt"):
        fit(high, labels, "temperature")
    chosen = choose_method(high, labels, np.arange(400))
    assert chosen.method == "platt"
    assert "temperature" not in [row.method for row in chosen.losses]


def test_the_simplest_of_equally_good_methods_is_chosen() -> None:
    chosen = [
        choose_method(*drawn(600, seed, intercept=0.0), np.arange(600) // 2).method
        for seed in range(12)
    ]
    assert chosen.count("temperature") >= 10


def test_an_intercept_is_fitted_where_it_matters() -> None:
    chosen = choose_method(*drawn(600, 5, intercept=-2.0), np.arange(600) // 2)
    assert chosen.method == "platt"
    by_name = {row.method: row for row in chosen.losses}
    assert by_name["temperature"].worse_by > 2 * by_name["temperature"].standard_error


def test_isotonic_is_chosen_where_no_line_fits() -> None:
    rng = np.random.default_rng(8)
    logits = rng.uniform(-6, 6, 4000)
    labels = rng.random(4000) < np.where(logits < 2, 0.05, 0.6)
    assert choose_method(logits, labels, np.arange(4000)).method == "isotonic"


def test_no_patient_is_on_both_sides_of_a_fold() -> None:
    # Each patient's films are alike and labels are drawn by patient: whoever saw the patient
    # would believe isotonic to know them all.
    rng = np.random.default_rng(9)
    patients = np.repeat(np.arange(60), 20)
    logits = np.repeat(rng.normal(0, 1, 60), 20) + rng.normal(0, 1e-6, 1200)
    labels = np.repeat(rng.random(60) < 0.4, 20)
    chosen = choose_method(np.abs(logits) + labels, labels, patients)
    losses = {row.method: row.log_loss for row in chosen.losses}
    assert losses["isotonic"] > 0.2


def test_too_few_patients_are_too_few_however_many_films() -> None:
    logits, labels = drawn(400, 1)
    with pytest.raises(InputError, match="there are 4 and 4"):
        choose_method(logits, labels, np.arange(400) % 4)


def test_another_prevalence_changes_all_odds_by_one_factor() -> None:
    logits, labels = drawn(2000, 6)
    for method in METHODS:
        found = fit(logits, labels, method)
        moved = shift_prior(found, 0.3, 0.1)
        factor = (0.1 / 0.9) / (0.3 / 0.7)
        p, q = probability(logits, found), probability(logits, moved)
        assert q / (1 - q) == pytest.approx(factor * p / (1 - p))


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_cannot_be_is_refused(prevalence: float) -> None:
    with pytest.raises(InputError, match="above 0 and below 1"):
        shift_prior(Calibration(), 0.3, prevalence)


def normals(films: int, prevalence: float, rng: np.random.Generator) -> LabelledLogits:
    """Two normals two standard deviations apart: at equal prevalences the log-odds are 2 x."""
    labels = rng.random(films) < prevalence
    return LabelledLogits(rng.normal(np.where(labels, 1.0, -1.0), 1.0), labels, np.arange(films))


def test_the_prevalence_of_unlabelled_films_is_found() -> None:
    archive = normals(40_000, 0.08, np.random.default_rng(11))
    assert archive_prevalence(2 * archive.logits, 0.5) == pytest.approx(0.08, abs=0.006)


def test_its_interval_knows_that_the_calibration_is_a_guess_as_well() -> None:
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(40):
        films, archive = normals(200, 0.4, rng), normals(3000, 0.08, rng)
        found = estimated_prevalence(films, fit(films.logits, films.labels), archive.logits)
        covered += found.low <= 0.08 <= found.high
    assert covered >= 34


def test_each_film_and_how_many_of_them_tell_the_same_prevalence() -> None:
    rng = np.random.default_rng(13)
    odds, films = rng.normal(-1, 2, 50), rng.integers(1, 5, 50)
    repeated = archive_prevalence(np.repeat(odds, films), 0.3)
    assert archive_prevalence(odds, 0.3, films) == pytest.approx(repeated, abs=1e-8)


def test_films_that_fit_no_prevalence_are_refused() -> None:
    with pytest.raises(InputError, match="Give it as a number"):
        archive_prevalence(np.full(100, 5.0), 0.5)
    with pytest.raises(InputError, match="Give it as a number"):
        archive_prevalence([], 0.5)


@pytest.mark.parametrize(
    "raw",
    [
        {"slope": 0.0, "intercept": 0.0},
        {"slope": float("inf"), "intercept": 0.0},
        {"slope": 1.0, "intercept": float("nan")},
        {"slope": 1.0, "intercept": 0.0, "method": "beta"},
        {"slope": 1.0, "intercept": 0.0, "method": ["platt"]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic"},
        {"slope": 1.0, "intercept": 0.0, "knots": [[0, 0], [1, 1]]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic", "knots": [[0, 0]]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic", "knots": [[0, 0], [0, 1]]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic", "knots": [[0, 1], [1, 1]]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic", "knots": [[0, 1], [1, 1e999]]},
        {"slope": 1.0, "intercept": 0.0, "method": "isotonic", "knots": [[0], [1, 1]]},
        {
            "slope": 1.0,
            "intercept": 0.0,
            "method": "isotonic",
            "knots": [[k, k] for k in range(MOST_KNOTS + 1)],
        },
        {"intercept": 0.0},
        {"slope": 1.0, "intercept": 0.0, "knots": 3},
    ],
)
def test_a_calibration_that_cannot_be_one_is_refused(raw: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(raw)


def in_sql(calibration: Calibration, logits: np.ndarray, **registered: str) -> np.ndarray:
    """The probabilities that the catalogue derives from logits."""
    connection = catalogue()
    rows = checkpoints_table(
        [CheckpointHead(VF, calibration, {"default": 0.5, "other": 0.7})],
        checkpoint_sha256="c", model_sha256="m", name="test", path="none", demonstration=True,
    )  # fmt: skip
    films = pa.table(
        {
            "sop_instance_uid": [str(n) for n in range(len(logits))],
            "finding": [VF] * len(logits),
            "model_sha256": ["m"] * len(logits),
            "logit": pa.array(logits, pa.float32()),
        }
    )
    for folder, table in (("checkpoints", rows), ("predictions", films)):
        connection.register("given", table)
        connection.execute(f"insert into parts.{folder} by name select * from given")  # noqa: S608
        connection.unregister("given")
    answer = fetch(
        connection, "select probability from predictions order by sop_instance_uid::bigint"
    )
    return answer["probability"].to_numpy()


@pytest.mark.parametrize("method", METHODS)
def test_sql_derives_the_same_probability(method: str) -> None:
    found = shift_prior(fit(*drawn(3000, 12), method), 0.3, 0.07)
    knots = np.array([k[0] for k in found.knots], np.float32)
    beside = np.r_[np.nextafter(knots, np.float32(9e9)), np.nextafter(knots, np.float32(-9e9))]
    logits = np.r_[np.linspace(-40, 40, 4001), knots, beside, [0.0, -1e4, 1e4, -3e38, 3e38]].astype(
        np.float32
    )
    derived = in_sql(found, logits)
    assert np.abs(derived - probability(logits, found)).max() < 1e-12
    assert np.isfinite(derived).all()


def test_sql_goes_by_the_last_calibration_alone() -> None:
    """A straight line after a bent one has no knots left over."""
    registered = """
        checkpoint | calibration_method | calibration_slope | registered_at
        bent       | isotonic           | 1                 | 2024-06-01
        straight   | platt              | 0.5               | 2024-06-02
    """
    connection = catalogue(checkpoints=registered, predictions="film | logit\nF1 | 2")
    connection.execute(
        "update parts.checkpoints "
        "set calibration_knots = [{'logit': 0, 'log_odds': 0}, {'logit': 1, 'log_odds': 9}] "
        "where checkpoint_sha256 = 'bent'"
    )
    (row,) = fetch(connection, "select probability from predictions").to_pylist()
    assert row["probability"] == pytest.approx(probability(2.0, Calibration(0.5)))


def test_sql_keeps_apart_what_the_network_tells_apart() -> None:
    found = fit(*drawn(400, 13), "isotonic")
    logits = np.unique(np.linspace(-20, 20, 9001).astype(np.float32))
    assert (np.diff(in_sql(found, logits)) > 0).all()


def test_knots_a_rounding_apart_are_no_loss_of_accuracy() -> None:
    steep = ((-4.0, -2.0), (3.0, -1.0), (float(np.nextafter(np.float32(3), np.float32(4))), 4.0))
    found = Calibration(1.0, 0.3, "isotonic", steep)
    logits = np.array([-5, -4, 0, 2.9999998, 3.0, 3.0000002, 3.0000005, 8], np.float32)
    inside = in_sql(found, logits)
    assert np.abs(inside - probability(logits, found)).max() < 1e-9
