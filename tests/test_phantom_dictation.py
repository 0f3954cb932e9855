"""The phantom's reports say what was drawn for them, and the labeller hears it."""

from collections import Counter

import numpy as np
import pytest

from vfscreen.phantom.anatomy import Fracture, Shape
from vfscreen.phantom.dictation import (
    SHARE_NO_REPORT,
    STATUS_WITH_FRACTURE,
    STATUS_WITHOUT_FRACTURE,
    DictatedReport,
    dictate,
    draw_report_status,
)
from vfscreen.phantom.mimics import Mimic, MimicFinding
from vfscreen.phantom.spine import SCREENED_LEVELS
from vfscreen.reports.labelling import STATUSES, label
from vfscreen.reports.lexicon import load


def _fractures(rng: np.random.Generator) -> tuple[Fracture, ...]:
    levels = rng.permutation(len(SCREENED_LEVELS))[: rng.integers(1, 4)]
    return tuple(
        Fracture(
            level=SCREENED_LEVELS[i],
            shape=list(Shape)[rng.integers(3)],
            grade=int(rng.integers(1, 4)),
            height_loss=float(rng.uniform(0.2, 0.6)),
        )
        for i in levels
    )


def _study(seed: int) -> tuple[str, bool, tuple[Fracture, ...], list[DictatedReport]]:
    rng = np.random.default_rng([20240501, seed])
    fractures = _fractures(rng) if rng.random() < 0.5 else ()
    mimics = () if fractures else (MimicFinding(list(Mimic)[rng.integers(len(Mimic))], "L3", 5.0),)
    status = str(rng.choice(STATUSES))
    history = bool(rng.random() < 0.2)
    reports = dictate(
        rng,
        fractures=fractures,
        mimics=mimics,
        age_years=int(rng.integers(50, 95)),
        sex=str(rng.choice(["F", "M"])),
        status=status,
        history=history,
    )
    return status, history, fractures, reports


def test_the_labeller_recovers_what_was_meant() -> None:
    lexicon = load()
    right = known = levels = positive = 0
    for seed in range(2000):
        status, history, fractures, reports = _study(seed)
        labels = [label(report.text, lexicon) for report in reports]
        heard = max((found.report_status for found in labels), key=STATUSES.index)
        right += heard == status
        known += any(found.history for found in labels) == history
        if fractures and status in STATUSES[2:]:
            positive += 1
            levels += {f.level for f in fractures} == {v for found in labels for v in found.levels}
    assert right / 2000 >= 0.98
    assert known / 2000 >= 0.98
    assert levels / positive >= 0.98


def test_the_same_seed_dictates_the_same() -> None:
    assert _study(5) == _study(5)


def test_reports_are_varied() -> None:
    texts = {report.text for seed in range(300) for report in _study(seed)[3]}
    assert len(texts) >= 300
    kinds = Counter(report.kind for seed in range(500) for report in _study(seed)[3])
    assert set(kinds) == {"final", "addendum", "corrected"}


def test_an_addendum_or_a_correction_comes_later() -> None:
    for seed in range(500):
        *_, reports = _study(seed)
        delays = [report.delay_days for report in reports]
        assert reports[0].kind == "final"
        assert delays == sorted(delays) and len(set(delays)) == len(delays)


@pytest.mark.parametrize(
    ("fracture", "shares"), [(True, STATUS_WITH_FRACTURE), (False, STATUS_WITHOUT_FRACTURE)]
)
def test_drawn_statuses_follow_their_documented_shares(
    fracture: bool, shares: dict[str, float]
) -> None:
    assert sum(shares.values()) == pytest.approx(1.0)
    rng = np.random.default_rng(3)
    drawn = Counter(draw_report_status(rng, fracture)[0] for _ in range(5000))
    assert drawn["no_report"] / 5000 == pytest.approx(SHARE_NO_REPORT, abs=0.015)
    for status, share in shares.items():
        assert drawn[status] / 5000 == pytest.approx(share * (1 - SHARE_NO_REPORT), abs=0.025)
