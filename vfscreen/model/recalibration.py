"""One finding calibrated anew: method, prevalence, operating points, and figures before and after.

Figures after are cross-validated over patients: each film is judged by a calibration and by
thresholds that have not seen its patient. What is written is fitted on all films.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfscreen.errors import CheckpointError, InputError
from vfscreen.model.calibration import (
    Choice,
    archive_prevalence,
    choose_method,
    fit,
    folds,
    shift_prior,
)
from vfscreen.model.calibration_figures import brier, cox_calibration, expected_calibration_error
from vfscreen.model.operating_points import (
    ArchiveFilms,
    Chosen,
    OperatingPoint,
    Rule,
    Unmet,
    choose,
    choose_all,
    measured,
)
from vfscreen.model.statistics import Estimate
from vfscreen.results.calibrations import Calibration, log_odds, probability

FROM_ARCHIVE = "archive"
"""In place of a prevalence: estimate it from the archive's unlabelled films."""

_DRAWS, _SEED = 200, 2021
_HISTOGRAM_BINS = 2000


@dataclass(frozen=True, slots=True)
class LabelledLogits:
    """Films with a logit and a known truth.

    Attributes
    ----------
    logits : ndarray
        (N,) float64, finite.
    labels : ndarray
        (N,) bool.
    patients : ndarray
        (N,) whose film each is, 0 to P - 1.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.bool_]
    patients: NDArray[np.intp]

    @property
    def prevalence(self) -> float:
        """Share of these films that have the finding."""
        return float(self.labels.mean())


@dataclass(frozen=True, slots=True)
class ArchiveLogits:
    """Logits of an archive's films, labelled or not, and the weeks in which they were made."""

    logits: NDArray[np.float64]
    dated: NDArray[np.bool_]
    weeks: int

    def films(self, calibration: Calibration) -> ArchiveFilms:
        """Those with a date, which alone can be counted by the week."""
        return ArchiveFilms(probability(self.logits[self.dated], calibration), self.weeks)


@dataclass(frozen=True, slots=True)
class Figures:
    """How probabilities agree with the truth; slope and intercept as in `cox_calibration`."""

    log_loss: float
    brier: float
    ece: float
    slope: Estimate | None
    intercept_in_the_large: Estimate | None


@dataclass(frozen=True, slots=True)
class Recalibration:
    """What calibrating a finding found.

    Attributes
    ----------
    calibration : Calibration
        Fitted on all films, shifted to `prevalence`.
    choice : Choice or None
        The comparison of methods; None where one was asked for.
    prevalence : float
        That the probabilities are meant for: of the films, or as stated or estimated.
    estimated : Estimate or None
        That prevalence, where it was estimated from the archive.
    points : Chosen
        Operating points on all films: the thresholds that are written.
    before, after : Figures
        Of the old calibration, and cross-validated of the new one, both at the films' own
        prevalence.
    points_before, points_after : dict
        Old operating points measured on these films; new ones, each fold's threshold chosen on
        the others.
    """

    films: int
    positives: int
    patients: int
    calibration: Calibration
    choice: Choice | None
    prevalence: float
    estimated: Estimate | None
    points: Chosen
    before: Figures
    after: Figures
    points_before: dict[str, OperatingPoint]
    points_after: dict[str, OperatingPoint]


def recalibrate(
    films: LabelledLogits,
    old: Calibration,
    old_points: Mapping[str, float],
    rules: Mapping[str, Rule],
    *,
    method: str = "auto",
    prevalence: float | str | None = None,
    archive: ArchiveLogits | None = None,
) -> Recalibration:
    """Calibrate a finding on films that training has not seen.

    Parameters
    ----------
    method
        `temperature`, `platt`, `isotonic`, or `auto`: by cross-validated log loss.
    prevalence
        Of the films that the probabilities are meant for; `archive`: as estimated from its films;
        None: as in these films.
    archive
        The archive's films, for `prevalence` and the rule `films_per_week`.

    Raises
    ------
    InputError
        Fewer than five patients with the finding, or without it; no prevalence fits the archive;
        or the rule of `default` cannot be met.
    CheckpointError
        The network ranks these films the wrong way round.
    """
    choice = choose_method(films.logits, films.labels, films.patients) if method == "auto" else None
    chosen = choice.method if choice is not None else method
    fitted = fit(films.logits, films.labels, chosen)
    meant_for, estimated = _meant_for(prevalence, fitted, films, archive)
    calibration = fitted
    if meant_for != films.prevalence:
        calibration = shift_prior(fitted, films.prevalence, meant_for)
    points = choose_all(
        rules,
        probability(films.logits, calibration),
        films.labels,
        prevalence=meant_for,
        archive=archive.films(calibration) if archive is not None else None,
    )
    before = probability(films.logits, old)
    rows = list(folds(films.labels, films.patients, repeats=1))
    return Recalibration(
        films=len(films.logits),
        positives=int(films.labels.sum()),
        patients=len(np.unique(films.patients)),
        calibration=calibration,
        choice=choice,
        prevalence=meant_for,
        estimated=estimated,
        points=points,
        before=_figures(log_odds(films.logits, old), films),
        after=_figures(_unseen_log_odds(films, chosen, rows), films),
        points_before={
            name: measured(None, threshold, before, films.labels, meant_for)
            for name, threshold in old_points.items()
        },
        points_after={
            name: found
            for name, point in points.points.items()
            if (found := _unseen_point(rules[name], point, films, rows, archive)) is not None
        },
    )


def _meant_for(
    prevalence: float | str | None,
    fitted: Calibration,
    films: LabelledLogits,
    archive: ArchiveLogits | None,
) -> tuple[float, Estimate | None]:
    """The prevalence that probabilities are to be meant for; where it was estimated, how well."""
    if prevalence is None:
        return films.prevalence, None
    if not isinstance(prevalence, str):
        return prevalence, None
    if archive is None:
        raise InputError("The archive's prevalence is estimated from its screened films: none.")
    estimated = estimated_prevalence(films, fitted, archive.logits)
    return estimated.value, estimated


def estimated_prevalence(
    films: LabelledLogits, fitted: Calibration, logits: NDArray[np.float64]
) -> Estimate:
    """The archive's prevalence (`archive_prevalence`), with an interval that is honest about the
    calibration: patients and the archive's films are drawn again, and all is fitted anew.

    Raises
    ------
    InputError
        No prevalence fits, or none fits most draws.
    """
    # As good as each film for itself, and a million of them take no longer.
    counts, edges = np.histogram(logits, bins=_HISTOGRAM_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    centres, counts = centres[counts > 0], counts[counts > 0]
    value = archive_prevalence(log_odds(centres, fitted), films.prevalence, counts)
    random = np.random.default_rng(_SEED)
    persons = int(films.patients.max()) + 1
    drawn = []
    for _ in range(_DRAWS):
        times = np.bincount(random.integers(0, persons, persons), minlength=persons)
        weights = times[films.patients].astype(np.float64)
        again = random.multinomial(counts.sum(), counts / counts.sum())
        with suppress(InputError, CheckpointError):
            calibration = fit(films.logits, films.labels, fitted.method, weights)
            share = float(np.average(films.labels, weights=weights))
            drawn.append(archive_prevalence(log_odds(centres, calibration), share, again))
    if len(drawn) < _DRAWS / 2:
        raise InputError(
            "The archive's prevalence cannot be told from its probabilities: with other patients "
            "of this set, mostly none fits. Give it as a number."
        )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, float(min(low, value)), float(max(high, value)))


Rows = list[tuple[NDArray[np.intp], NDArray[np.intp]]]


def _unseen_log_odds(films: LabelledLogits, method: str, rows: Rows) -> NDArray[np.float64]:
    """Of each film, by the calibration of the other folds."""
    odds = np.empty(len(films.logits))
    for train, test in rows:
        calibration = fit(films.logits[train], films.labels[train], method)
        odds[test] = log_odds(films.logits[test], calibration)
    return odds


def _unseen_point(
    rule: Rule,
    point: OperatingPoint,
    films: LabelledLogits,
    rows: Rows,
    archive: ArchiveLogits | None,
) -> OperatingPoint | None:
    """The counts of an operating point whose threshold is chosen on the other folds; None where a
    fold cannot meet the rule.

    All rules go by rank, so logits do.
    """
    of_archive = None
    if archive is not None:
        of_archive = ArchiveFilms(archive.logits[archive.dated], archive.weeks)
    called = np.zeros(len(films.logits), bool)
    for train, test in rows:
        found = choose(
            rule,
            films.logits[train],
            films.labels[train],
            prevalence=point.prevalence,
            archive=of_archive,
        )
        if isinstance(found, Unmet):
            return None
        called[test] = films.logits[test] >= found.threshold
    return OperatingPoint(
        rule=rule,
        threshold=point.threshold,
        true_positives=int((called & films.labels).sum()),
        positives=int(films.labels.sum()),
        true_negatives=int((~called & ~films.labels).sum()),
        negatives=int((~films.labels).sum()),
        prevalence=point.prevalence,
    )


def _figures(odds: ArrayLike, films: LabelledLogits) -> Figures:
    z = np.asarray(odds, np.float64)
    p = probability(z, Calibration())
    cox = cox_calibration(p, films.labels, films.patients)
    return Figures(
        log_loss=float(np.logaddexp(0.0, np.where(films.labels, -z, z)).mean()),
        brier=brier(p, films.labels),
        ece=expected_calibration_error(p, films.labels),
        slope=cox.slope,
        intercept_in_the_large=cox.intercept_in_the_large,
    )
