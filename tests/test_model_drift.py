"""Drift: silent where nothing has changed, whatever chance brings; a word where something has."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from vfscreen.model.drift import (
    FEWEST_STUDIES,
    TAGS,
    Month,
    Reference,
    compare,
    from_json,
    named,
    reference_of,
)

MAKERS = ["Alpha", "Beta", "Gamma"]


def calibrated(
    rng: np.random.Generator, films: int = 400, positives: float = 0.4, prevalence: float = 0.1
) -> Reference:
    """A calibration set that has more positives than the archive it is meant for."""
    labels = rng.random(films) < positives
    return reference_of(
        rng.normal(np.where(labels, 1.5, -1.5), 1.2),
        labels,
        np.arange(films),
        missing={tag: rng.random(films) < 0.2 for tag in TAGS},
        manufacturers=list(rng.choice(MAKERS, films, p=[0.6, 0.3, 0.1])),
        prevalence=prevalence,
        threshold_logit=0.0,
        tried=films + 8,
        failed=8,
    )


def screened(
    rng: np.random.Generator,
    reference: Reference,
    studies: int = 800,
    *,
    prevalence: float = 0.1,
    shift: float = 0.0,
    missing: float = 0.2,
    makers: tuple[list[str], list[float]] = (MAKERS, [0.6, 0.3, 0.1]),
    failed: float = 0.02,
    films_per_study: int = 1,
) -> Month:
    """A month of films; of one study, they are the same film again."""
    labels = rng.random(studies) < prevalence
    logits = np.repeat(rng.normal(np.where(labels, 1.5, -1.5), 1.2) + shift, films_per_study)
    films = len(logits)
    names, counts = np.unique(rng.choice(makers[0], films, p=makers[1]), return_counts=True)
    return Month(
        since=date(2024, 5, 1),
        until=date(2024, 5, 31),
        films=films,
        studies=studies,
        bins=tuple(
            int(n)
            for n in np.bincount(
                np.searchsorted(reference.edges, logits, "right"), minlength=len(reference.shares)
            )
        ),
        missing={tag: int((rng.random(films) < missing).sum()) for tag in TAGS},
        manufacturers={str(n): int(c) for n, c in zip(names, counts, strict=True)},
        positive=int((logits >= reference.threshold_logit).sum()),
        failed=int((rng.random(films) < failed).sum()),
    )


@pytest.mark.parametrize("films", [60, 400, 3000])
@pytest.mark.parametrize("studies", [100, 800, 20_000])
def test_a_month_like_the_calibration_set_is_no_news(films: int, studies: int) -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        reference = calibrated(rng, films)
        alarms += bool(compare(reference, screened(rng, reference, studies)).reasons)
    # Nine figures a month, each at 0.1 %: about one alarm in a hundred months is allowed for.
    assert alarms <= 3


def test_several_films_a_study_are_no_more_evidence_than_one() -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        reference = calibrated(rng)
        alarms += bool(compare(reference, screened(rng, reference, 150, films_per_study=4)).reasons)
    assert alarms <= 3


def test_shifted_outputs_are_noticed_and_said_once() -> None:
    noticed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        reference = calibrated(rng)
        reasons = compare(reference, screened(rng, reference, 500, shift=0.8)).reasons
        noticed += any("distributed otherwise" in reason for reason in reasons)
        assert len(reasons) == len(set(reasons))
    assert noticed == 20


def test_more_films_called_positive_are_noticed() -> None:
    rng = np.random.default_rng(1)
    reference = calibrated(rng)
    drift = compare(reference, screened(rng, reference, 2000, prevalence=0.35))
    assert any(reason.startswith("films called positive") for reason in drift.reasons)


def test_a_manufacturer_that_calibration_has_not_seen_is_named() -> None:
    rng = np.random.default_rng(2)
    reference = calibrated(rng)
    new = ([*MAKERS, "Delta\x1b[31m"], [0.5, 0.2, 0.1, 0.2])
    (reason,) = compare(reference, screened(rng, reference, makers=new)).reasons
    assert "new to calibration" in reason
    assert "DELTA" in reason


def test_a_manufacturer_spelt_otherwise_is_not_new() -> None:
    rng = np.random.default_rng(3)
    reference = calibrated(rng)
    spelt = (["ALPHA", " beta ", "Gamma"], [0.6, 0.3, 0.1])
    assert compare(reference, screened(rng, reference, makers=spelt)).reasons == ()


def test_a_manufacturer_that_is_seen_no_more_is_no_worry() -> None:
    rng = np.random.default_rng(4)
    reference = calibrated(rng)
    assert compare(reference, screened(rng, reference, makers=(["Alpha"], [1.0]))).reasons == ()


def test_tags_that_are_missing_of_late_are_noticed() -> None:
    rng = np.random.default_rng(5)
    reference = calibrated(rng)
    reasons = compare(reference, screened(rng, reference, missing=0.5)).reasons
    assert [reason.split(":")[0] for reason in reasons] == [f"films without {tag}" for tag in TAGS]


def test_more_failures_are_noticed_and_fewer_are_not() -> None:
    rng = np.random.default_rng(6)
    reference = replace(calibrated(rng), tried=1000, failed=100)
    more = compare(reference, screened(rng, reference, failed=0.3))
    assert [reason.split(":")[0] for reason in more.reasons] == ["films that failed"]
    assert compare(reference, screened(rng, reference, failed=0.0)).reasons == ()


def test_few_studies_say_nothing_however_different() -> None:
    rng = np.random.default_rng(7)
    reference = calibrated(rng)
    drift = compare(reference, screened(rng, reference, FEWEST_STUDIES - 1, shift=5.0))
    assert (drift.enough, drift.reasons) == (False, ())


def test_a_month_without_a_film_can_be_compared() -> None:
    rng = np.random.default_rng(8)
    reference = calibrated(rng)
    assert not compare(reference, screened(rng, reference, 0)).enough


def test_the_set_is_weighted_to_the_prevalence_it_is_meant_for() -> None:
    rng = np.random.default_rng(9)
    enriched = calibrated(rng, 20_000, positives=0.5, prevalence=0.1)
    drawn = calibrated(rng, 20_000, positives=0.1, prevalence=0.1)
    assert enriched.positive == pytest.approx(drawn.positive, abs=0.02)
    assert enriched.effective < drawn.effective


def test_rare_manufacturers_are_not_named() -> None:
    films = 100
    told = reference_of(
        np.arange(films) / 10, np.arange(films) >= 50, np.arange(films),
        missing={tag: np.zeros(films) for tag in TAGS},
        manufacturers=["Alpha"] * 90 + ["Rare"] * 4 + [None] * 6,
        prevalence=0.5, threshold_logit=5.0, tried=films, failed=0,
    )  # fmt: skip
    assert list(told.manufacturers) == ["ALPHA"]
    assert told.rare_manufacturers == pytest.approx(0.04)


def test_equal_logits_make_fewer_bins() -> None:
    labels = np.arange(200) % 2 == 0
    told = reference_of(
        np.where(labels, 1.0, -1.0), labels, np.arange(200),
        missing={tag: np.zeros(200) for tag in TAGS}, manufacturers=[None] * 200,
        prevalence=0.5, threshold_logit=0.0, tried=200, failed=0,
    )  # fmt: skip
    assert told.shares == pytest.approx((0.5, 0.5))


def test_a_name_is_cut_and_put_on_one_line() -> None:
    assert named(" Acme\n  Corp ") == "ACME CORP"
    assert named(None) == ""
    assert len(named("x" * 500)) == 64


def test_a_reference_is_the_same_after_json() -> None:
    reference = calibrated(np.random.default_rng(10))
    assert from_json(json.loads(json.dumps(reference.to_json()))) == reference


@pytest.mark.parametrize(
    "change",
    [
        {"shares": [0.5, 0.5]}, {"shares": [2.0] * 10}, {"edges": [1.0] * 9}, {"effective": 0.0},
        {"effective": float("nan")}, {"failed": 5, "tried": 1}, {"missing": {}},
        {"manufacturers": []}, {"positive": -1.0}, {"films": "many"}, {"threshold_logit": None},
        {"threshold_logit": float("inf")},
    ],
)  # fmt: skip
def test_a_damaged_reference_is_refused(change: dict[str, Any]) -> None:
    raw = calibrated(np.random.default_rng(11)).to_json() | change
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        from_json(raw)
