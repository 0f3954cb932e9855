"""Figures of an archive from a stratified sample of it."""

import numpy as np
import pytest

from vfscreen.model.survey import Estimator, Figure, Sample, allocate

STUDIES = np.array([400, 1500, 90, 6000, 2500, 12])
SAMPLED = np.array([30, 40, 25, 50, 30, 12])
FOUND = np.array([24, 9, 6, 1, 0, 5])
ABOVE = np.array([True, True, True, False, False, False])
ALL = np.ones(6, bool)


def sample(studies=STUDIES, sampled=SAMPLED, found=FOUND, without=None):
    studies, sampled, found = (np.asarray(of) for of in (studies, sampled, found))
    without = sampled - found if without is None else np.asarray(without)
    return Sample(studies, sampled, found, without)


# samplics 0.6.1, TaylorEstimator (linearisation, stratified, fpc = 1 - n/N), on the same sample.
@pytest.mark.parametrize(
    ("figure", "value", "error"),
    [
        (Figure(True, ALL, ALL, True), 0.07656636831079794, 0.015035360629572324),
        (Figure(True, ALL, None), 804.0999999999999, 157.90135733176854),
        (Figure(True, ABOVE, ALL), 0.8445466981718691, 0.12708604836602058),
        (Figure(False, ~ABOVE, ALL), 0.8648264057167014, 0.009353650917646695),
        (Figure(True, ABOVE, ABOVE, True), 0.3412562814070351, 0.05186562290307497),
    ],
    ids=["prevalence", "total", "sensitivity", "specificity", "ppv"],
)
def test_estimates_and_standard_errors_are_those_of_a_survey_library(figure, value, error):
    found = Estimator(sample()).estimate(figure)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    assert found.low < found.value < found.high
    assert (found.lowest, found.highest) == (found.low, found.high)


# An archive as one expects it: 10 % with a fracture, half of them reported, subtle ones missed.
# Strata: above and below the operating point, by report status (reported, uncertain, ambiguous,
# denied, not mentioned, no report).
SE = np.array([0.85, 0.65, 0.65, 0.65, 0.65, 0.65])
OF_FRACTURES = np.array([0.47, 0.03, 0.08, 0.06, 0.31, 0.05])
OF_OTHERS = np.array([0.004, 0.006, 0.01, 0.15, 0.78, 0.05])


def archive(studies, prevalence, specificity=0.73):
    fractures = np.round(studies * prevalence * OF_FRACTURES)
    others = np.round(studies * (1 - prevalence) * OF_OTHERS)
    above_f, above_o = np.round(fractures * SE), np.round(others * (1 - specificity))
    shown = np.concatenate([above_f, fractures - above_f]).astype(int)
    other = np.concatenate([above_o, others - above_o]).astype(int)
    return shown, shown + other


def figures():
    above = np.repeat([True, False], 6)
    status = np.tile(np.arange(6), 2)
    everything, with_report = np.ones(12, bool), status < 5
    unreported = with_report & (status > 0)
    return {
        "prevalence": Figure(True, everything, everything, True),
        "reporting rate": Figure(True, status == 0, with_report),
        "sensitivity": Figure(True, above, everything),
        "sensitivity, unreported": Figure(True, above & unreported, unreported),
        "specificity": Figure(False, ~above, everything),
        "ppv": Figure(True, above, above, True),
        "ppv of the list": Figure(True, above & unreported, above & unreported, True),
        "npv": Figure(False, ~above, ~above, True),
        "unreported": Figure(True, unreported, None),
    }


@pytest.mark.parametrize(
    ("studies", "prevalence", "of_each"),
    [(20_000, 0.10, 30), (200_000, 0.04, 50), (3_000, 0.10, 20)],
)
def test_intervals_hold_the_truth_in_nineteen_of_twenty_audits(studies, prevalence, of_each):
    shown, size = archive(studies, prevalence)
    sampled = np.minimum(size, of_each)
    rng = np.random.default_rng(11)
    asked = figures()
    covered = dict.fromkeys(asked, 0)
    values = {name: [] for name in asked}
    audits = 400
    for _ in range(audits):
        found = rng.hypergeometric(shown, size - shown, sampled)
        estimator = Estimator(sample(size, sampled, found), draws=1000)
        for name, figure in asked.items():
            got = estimator.estimate(figure)
            truth = float(figure.of(shown.astype(float), size))
            covered[name] += got.low <= truth <= got.high
            values[name].append(got.value)
    assert {name: n / audits for name, n in covered.items() if n / audits < 0.93} == {}
    # Numbers and shares of a known number of studies are unbiased; the naive share is not.
    for name in ("prevalence", "ppv", "npv", "unreported"):
        truth = float(asked[name].of(shown.astype(float), size))
        assert abs(np.mean(values[name]) - truth) < 3 * np.std(values[name]) / audits**0.5
    naive = (sampled * shown / size).sum() / sampled.sum()
    assert naive > 2 * shown.sum() / size.sum()


def test_a_stratum_without_a_positive_is_not_taken_to_have_none():
    found = Estimator(sample([5000], [30], [0])).estimate(
        Figure(True, np.array([True]), np.array([True]), True)
    )
    assert found.value == found.low == 0.0
    # The rule of three says 10 %; the mid-p limit is a little below.
    assert 0.05 < found.high < 0.12


def test_what_was_read_whole_is_known():
    found = Estimator(sample([40, 12], [40, 12], [10, 3])).estimate(
        Figure(True, np.array([True, False]), np.array([True, True]))
    )
    assert found.value == found.low == found.high == pytest.approx(10 / 13)
    assert found.standard_error == 0.0


def test_what_is_open_widens_the_bounds_whichever_way_it_goes():
    read = sample([200, 800], [40, 40], [20, 2], [15, 30])  # 5 and 8 are open
    sensitivity = Figure(True, np.array([True, False]), np.array([True, True]))
    got = Estimator(read).estimate(sensitivity)
    against = Estimator(sample([200, 800], [40, 40], [20, 10])).estimate(sensitivity)
    for_it = Estimator(sample([200, 800], [40, 40], [25, 2])).estimate(sensitivity)
    assert got.lowest == pytest.approx(against.low, abs=0.02)
    assert got.highest == pytest.approx(for_it.high, abs=0.02)
    assert got.lowest < got.low < got.value < got.high < got.highest


def test_a_stratum_that_nobody_has_read_leaves_only_bounds():
    got = Estimator(sample([200, 800], [40, 40], [20, 0], [20, 0])).estimate(
        Figure(True, np.array([True, False]), np.array([True, True]))
    )
    assert np.isnan([got.value, got.low, got.high]).all()
    assert got.lowest < 0.2
    assert got.highest > 0.95


def test_the_same_readings_give_the_same_interval():
    prevalence = Figure(True, ALL, ALL, True)
    assert Estimator(sample()).estimate(prevalence) == Estimator(sample()).estimate(prevalence)


def test_more_read_than_drawn_is_refused():
    with pytest.raises(ValueError, match="read than drawn"):
        Estimator(sample([10], [5], [4], [2]))


@pytest.mark.parametrize("allocation", ["equal", "proportional", "neyman"])
@pytest.mark.parametrize("total", [12, 13, 100, 5000, 10**6])
def test_allocations_add_up_and_leave_no_stratum_out(allocation, total):
    drawn = allocate(STUDIES, total, allocation, [0.4, 0.3, 0.3, 0.1, 0.1, 0.3])
    assert drawn.sum() == min(total, STUDIES.sum())
    assert (drawn >= 2).all()
    assert (drawn <= STUDIES).all()


def test_allocations_are_what_they_are_called():
    assert allocate([1000, 1000, 20], 320, "equal").tolist() == [150, 150, 20]
    assert allocate([8000, 1500, 500], 200, "proportional").tolist() == [160, 30, 10]
    spread = np.array([0.5, 0.1, 0.1])
    size = np.array([1000, 4000, 3000])

    def variance(drawn):
        return (size**2 * (1 - drawn / size) * spread**2 / drawn).sum()

    best = allocate(size, 300, "neyman", spread)
    assert best.tolist() == [125, 100, 75]
    for other in ("equal", "proportional"):
        assert variance(best) < variance(allocate(size, 300, other))


def test_too_few_for_two_of_each_stratum_are_refused():
    with pytest.raises(ValueError, match="12"):
        allocate(STUDIES, 11, "equal")
