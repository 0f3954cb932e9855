"""Subgroups of films, and two checkpoints on the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vfscreen.jobs.evaluation_figures import (
    Bools,
    PointFigures,
    Resampling,
    Sample,
    level_figures,
)
from vfscreen.jobs.evaluation_samples import ScoredFilms, groups
from vfscreen.model.comparison import McNemar
from vfscreen.model.statistics import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Films of one kind; without figures where a class has too few.

    Attributes
    ----------
    films, positives, negatives, failed : int or None
        None: some, but fewer than are shown.
    observed, expected : float or None
        Share with the finding, and mean probability.
    """

    dimension: str
    name: str
    films: int | None
    positives: int | None
    negatives: int | None
    failed: int | None
    auc: Estimate | None
    observed: float | None
    expected: float | None
    operating_point: PointFigures | None


@dataclass(frozen=True, slots=True)
class PointComparison:
    """Two checkpoints at an operating point of the same name, each at its own threshold.

    Differences are the second minus the first.
    """

    name: str
    first_threshold: float
    second_threshold: float
    sensitivity: Estimate
    sensitivity_test: McNemar
    specificity: Estimate
    specificity_test: McNemar


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checkpoints on the units that both screened; differences are the second minus the first.

    `p_value` is DeLong's, which takes units as independent: where patients repeat it is None, and
    the interval of the difference, drawn over patients, decides. McNemar's tests count the
    discordant units in either case; where patients repeat their p-values are too small.
    """

    level: str
    units: int
    positives: int
    negatives: int
    only_one_screened: int
    first_auc: float
    second_auc: float
    difference: Estimate
    p_value: float | None
    intervals: str
    operating_points: list[PointComparison]


def subgroups(
    films: ScoredFilms,
    scored: pa.Table,
    points: Mapping[str, float],
    least: int,
    smallest: int,
    resampling: Resampling,
) -> list[Subgroup]:
    """Figures of films by sex, age, manufacturer, view and transfer syntax.

    Parameters
    ----------
    points
        The operating point that is shown, alone.
    least
        Films of each class without which a subgroup has no figures.
    smallest
        Counts from 1 to below this are not shown.
    """
    found = []
    for dimension, name, rows in groups(scored, smallest):
        sample = films.films(rows[films.rows])
        if len(sample.labels) + len(sample.failed):
            found.append(_subgroup(dimension, name, sample, points, least, smallest, resampling))
    return found


def _subgroup(
    dimension: str,
    name: str,
    sample: Sample,
    points: Mapping[str, float],
    least: int,
    smallest: int,
    resampling: Resampling,
) -> Subgroup:
    positives, negatives = int(sample.labels.sum()), int((~sample.labels).sum())

    def shown(count: int) -> int | None:
        return None if 0 < count < smallest else count

    enough = min(positives, negatives) >= least
    figures = level_figures("film", sample, points, None, resampling) if enough else None
    return Subgroup(
        dimension=dimension,
        name=name,
        films=shown(len(sample.labels)),
        positives=shown(positives),
        negatives=shown(negatives),
        failed=shown(len(sample.failed)),
        auc=figures.auc if figures else None,
        observed=float(sample.labels.mean()) if figures else None,
        expected=float(sample.probabilities.mean()) if figures else None,
        operating_point=figures.operating_points[0] if figures else None,
    )


def compare(
    level: str,
    first: ScoredFilms,
    second: ScoredFilms,
    points: Mapping[str, tuple[float, float]],
    resampling: Resampling,
) -> Comparison | None:
    """Two checkpoints on the films (or studies) that both screened; None without two classes.

    Parameters
    ----------
    first, second
        The same films in the same order.
    points
        Operating point to both thresholds.
    """
    from vfscreen.model.comparison import compare_areas

    if level == "study":
        one, labels, patients = first.study_values()
        other, _, _ = second.study_values()
    else:
        one, labels, patients = first.probabilities, first.labels, first.patients
        other = second.probabilities
    both = np.isfinite(one) & np.isfinite(other)
    only_one = int((np.isfinite(one) ^ np.isfinite(other)).sum())
    sample = Sample(one[both], labels[both], patients[both], labels[:0])
    if not sample.two_classes:
        return None
    areas = compare_areas(one[both], other[both], labels[both])
    drawn = _drawn_differences(sample, other[both], points, resampling) if sample.repeats else None
    return Comparison(
        level=level,
        units=int(both.sum()),
        positives=int(sample.labels.sum()),
        negatives=int((~sample.labels).sum()),
        only_one_screened=only_one,
        first_auc=areas.first,
        second_auc=areas.second,
        difference=drawn["auc"] if drawn else areas.difference,
        p_value=None if drawn else areas.p_value,
        intervals="patients" if drawn else "independent",
        operating_points=[
            _compare_point(name, place, points[name], sample, other[both], drawn)
            for place, name in enumerate(points)
        ],
    )


def _compare_point(
    name: str,
    place: int,
    thresholds: tuple[float, float],
    sample: Sample,
    other: Floats,
    drawn: dict[str, Estimate] | None,
) -> PointComparison:
    from vfscreen.model.comparison import mcnemar, paired_difference

    y = sample.labels
    one, two = sample.probabilities >= thresholds[0], other >= thresholds[1]

    def difference(figure: str, first: Bools, second: Bools) -> Estimate:
        return drawn[f"{figure}:{place}"] if drawn else paired_difference(first, second)

    return PointComparison(
        name=name,
        first_threshold=thresholds[0],
        second_threshold=thresholds[1],
        sensitivity=difference("sensitivity", one[y], two[y]),
        sensitivity_test=mcnemar(one[y], two[y]),
        specificity=difference("specificity", ~one[~y], ~two[~y]),
        specificity_test=mcnemar(~one[~y], ~two[~y]),
    )


def _drawn_differences(
    sample: Sample,
    other: Floats,
    points: Mapping[str, tuple[float, float]],
    resampling: Resampling,
) -> dict[str, Estimate]:
    """Second minus first, both on the same draws of patients."""
    from vfscreen.model.resampling import ResampledFigures, as_codes, percentile, resample

    codes, patients = as_codes(sample.patients)
    one, two = (
        ResampledFigures(values, sample.labels, codes, [t[side] for t in points.values()])
        for side, values in enumerate((sample.probabilities, other))
    )

    def difference(counts: Floats) -> Floats:
        return two(counts) - one(counts)

    (value,) = difference(np.ones((1, patients)))
    drawn = resample(
        difference, patients, films=one.films, draws=resampling.draws, seed=resampling.seed
    )
    return {
        name: percentile(float(value[place]), drawn[:, place])
        for place, name in enumerate(one.names)
    }
