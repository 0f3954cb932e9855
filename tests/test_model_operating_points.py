"""Operating points: the rule read, the threshold it asks for, and what cannot be met."""

import numpy as np
import pytest

from vfscreen.config import CalibrateConfig
from vfscreen.errors import ConfigError, InputError
from vfscreen.model.operating_points import (
    ArchiveFilms,
    OperatingPoint,
    Rule,
    Unmet,
    choose,
    choose_all,
    parse_rule,
    parse_rules,
)


def point(rule: str, probabilities: object, labels: object, **known: object) -> OperatingPoint:
    found = choose(parse_rule(rule), probabilities, labels, **known)  # type: ignore[arg-type]
    assert isinstance(found, OperatingPoint)
    return found


def unmet(rule: str, probabilities: object, labels: object, **known: object) -> str:
    found = choose(parse_rule(rule), probabilities, labels, **known)  # type: ignore[arg-type]
    assert isinstance(found, Unmet)
    return found.why


# Positives at 0.3, 0.6, 0.8 and 0.9; negatives at 0.1, 0.2, 0.4, 0.5 and 0.7.
P = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
Y = [0, 0, 1, 0, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("rule", "threshold", "found", "spared"),
    [
        ("youden", 0.55, 3, 4),
        ("sensitivity>=0.75", 0.55, 3, 4),
        ("sensitivity>=0.76", 0.25, 4, 2),
        ("sensitivity >= 1", 0.25, 4, 2),
        ("sensitivity>=.5", 0.75, 2, 5),
        ("specificity>=0.8", 0.55, 3, 4),
        ("specificity>=0.81", 0.75, 2, 5),
        ("ppv>=0.6", 0.55, 3, 4),
        ("ppv>=1.0", 0.75, 2, 5),
        # One of the two would be enough, but the second costs no negative.
        ("sensitivity>=0.3", 0.75, 2, 5),
        # Three of five negatives would be enough, but the fourth costs no positive.
        ("specificity>=0.5", 0.55, 3, 4),
    ],
)
def test_each_rule_finds_its_threshold(
    rule: str, threshold: float, found: int, spared: int
) -> None:
    chosen = point(rule, P, Y)
    assert chosen.threshold == pytest.approx(threshold)
    assert (chosen.true_positives, chosen.true_negatives) == (found, spared)
    assert (chosen.positives, chosen.negatives) == (4, 5)


def test_a_threshold_lies_between_films_so_that_rounding_moves_none() -> None:
    rng = np.random.default_rng(7)
    labels = rng.random(500) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(labels * 1.2, 1.0).round(1)))
    for rule in ("youden", "sensitivity>=0.95", "specificity>=0.95", "ppv>=0.6"):
        chosen = point(rule, scores, labels)
        assert np.abs(scores - chosen.threshold).min() > 1e-9
        for moved in (scores * (1 + 1e-12), scores * (1 - 1e-12)):
            assert ((moved >= chosen.threshold) == (scores >= chosen.threshold)).all()


def test_rules_keep_what_they_promise_and_no_better_threshold_does() -> None:
    rng = np.random.default_rng(8)
    labels = rng.random(400) < 0.3
    scores = rng.normal(labels * 1.2, 1.0).round(1)

    def shares(cut: float) -> tuple[float, float]:
        return float((scores[labels] >= cut).mean()), float((scores[~labels] < cut).mean())

    cuts = np.r_[np.unique(scores), scores.max() + 1]
    sensitive = point("sensitivity>=0.9", scores, labels)
    assert sensitive.sensitivity.value >= 0.9
    assert sensitive.specificity.value == max(shares(c)[1] for c in cuts if shares(c)[0] >= 0.9)
    specific = point("specificity>=0.9", scores, labels)
    assert specific.specificity.value >= 0.9
    assert specific.sensitivity.value == max(shares(c)[0] for c in cuts if shares(c)[1] >= 0.9)
    best = point("youden", scores, labels)
    together = best.sensitivity.value + best.specificity.value
    assert together == pytest.approx(max(sum(shares(c)) for c in cuts))


def test_ppv_counts_at_the_stated_prevalence() -> None:
    # At the labels' own prevalence (4 of 9) three of four films found are positive.
    assert point("ppv>=0.7", P, Y).ppv == pytest.approx(0.75)
    rare = point("ppv>=0.2", P, Y, prevalence=0.1)
    assert rare.ppv == pytest.approx(0.75 * 0.1 / (0.75 * 0.1 + 0.2 * 0.9))


def test_intervals_are_wilsons() -> None:
    chosen = point("youden", P, Y)
    assert chosen.sensitivity.low == pytest.approx(0.3006, abs=1e-4)
    assert chosen.sensitivity.high == pytest.approx(0.9544, abs=1e-4)


def test_a_network_that_separates_the_classes_has_one_good_threshold() -> None:
    rules = parse_rules(CalibrateConfig().operating_points)
    chosen = choose_all(rules, np.arange(100) / 100, np.arange(100) >= 50)
    assert list(chosen.thresholds().values()) == pytest.approx([0.495] * 3)
    assert len(chosen.notes) == 1


def test_a_ppv_that_no_threshold_reaches_is_said() -> None:
    why = unmet("ppv>=0.9", [0.2, 0.9, 0.8], [0, 0, 1], prevalence=0.1)
    assert "highest PPV is 0.182" in why


def test_a_specificity_that_would_find_nothing_is_said() -> None:
    assert "no positive film" in unmet("specificity>=1", [0.1, 0.9, 0.8], [0, 0, 1])


def test_the_week_of_the_nurse_sets_the_threshold() -> None:
    archive = ArchiveFilms(np.linspace(0.001, 1.0, 1000), weeks=10)
    chosen = point("films_per_week<=4", P, Y, archive=archive)
    assert (archive.probabilities >= chosen.threshold).sum() == 40


def test_films_of_one_probability_are_all_found_or_none() -> None:
    archive = ArchiveFilms(np.array([0.1, 0.5, 0.5, 0.5, 0.9]), weeks=1)
    chosen = point("films_per_week<=3", P, Y, archive=archive)
    assert chosen.threshold == pytest.approx(0.7)
    alike = ArchiveFilms(np.full(5, 0.5), weeks=1)
    assert "5 film(s) of the highest" in unmet("films_per_week<=3", P, Y, archive=alike)


def test_a_small_archive_may_be_listed_whole() -> None:
    archive = ArchiveFilms(np.array([0.2, 0.4]), weeks=2)
    chosen = point("films_per_week<=40", P, Y, archive=archive)
    assert 0 <= chosen.threshold < 0.2


@pytest.mark.parametrize("archive", [None, ArchiveFilms(np.array([]), 0)])
def test_without_an_archive_nobody_knows_its_weeks(archive: ArchiveFilms | None) -> None:
    assert "no screened films" in unmet("films_per_week<=40", P, Y, archive=archive)


def test_a_probability_of_zero_can_be_the_lowest_film_found() -> None:
    chosen = point("sensitivity>=1", [0.0, 0.5, 1.0], [1, 0, 1])
    assert chosen.threshold == 0.0
    assert chosen.true_positives == 2


def test_rules_that_end_at_the_same_threshold_say_so() -> None:
    rules = parse_rules(["default=youden", "sure=specificity>=0.8", "wide=sensitivity>=1"])
    chosen = choose_all(rules, P, Y)
    assert chosen.notes == (
        "The operating points default, sure have the same threshold: no film lies between.",
    )
    assert chosen.thresholds() == pytest.approx({"default": 0.55, "sure": 0.55, "wide": 0.25})


def test_what_cannot_be_met_is_left_out_and_said() -> None:
    rules = parse_rules(["default=youden", "busy=films_per_week<=40"])
    chosen = choose_all(rules, P, Y)
    assert list(chosen.points) == ["default"]
    assert chosen.unmet["busy"].startswith(
        "The operating point busy (films_per_week<=40) cannot be met: "
    )


def test_a_checkpoint_without_a_default_is_none() -> None:
    rules = parse_rules(["default=films_per_week<=40"])
    with pytest.raises(InputError, match="another rule"):
        choose_all(rules, P, Y)


@pytest.mark.parametrize(
    "text",
    [
        "", "yuden", "youden>=1", "sensitivity", "sensitivity<=0.9", "sensitivity>0.9",
        "sensitivity>=90", "sensitivity>=90%", "sensitivity>=0", "ppv>=-0.1", "ppv>=nan",
        "ppv>=1e-3", "films_per_week>=40", "films_per_week<=0", "films_per_week<=40 or so",
        "sensitivity>=٠.٩",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_rule(text)


@pytest.mark.parametrize(
    "texts",
    [
        [], ["youden"], ["sure=specificity>=0.9"], ["default=youden", "default=youden"],
        ["=youden"], ["De fault=youden"], ["default=youden", f"{'x' * 41}=youden"],
    ],
)  # fmt: skip
def test_what_names_no_operating_points_is_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_rules(texts)


def test_a_rule_reads_as_it_was_written() -> None:
    rules = parse_rules(CalibrateConfig().operating_points)
    assert rules["default"] == Rule("youden")
    assert [f"{name}={rule}" for name, rule in rules.items()] == list(
        CalibrateConfig().operating_points
    )
