"""Scored films as the samples that figures are made of: films, studies, and parts of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vfscreen.jobs.evaluation_figures import Bools, Sample

if TYPE_CHECKING:
    from vfscreen.model.checkpoint import CheckpointInfo

UNKNOWN = "unknown"
_AGES = ((50, "under 50"), (60, "50 to 59"), (70, "60 to 69"), (80, "70 to 79"))
_LONGEST_NAME = 40
"""Of a manufacturer or a view: longer is no name."""


@dataclass(frozen=True, slots=True)
class ScoredFilms:
    """The films that one finding is known of, in the order of the scored table.

    Attributes
    ----------
    rows : ndarray
        (N,) place in the scored table.
    probabilities : ndarray
        (N,) NaN where the film could not be screened.
    labels : ndarray
        (N,) truth.
    patients, studies : ndarray
        (N,) whose, and of which study, as integers.
    """

    rows: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    labels: Bools
    patients: NDArray[np.int64]
    studies: NDArray[np.int64]

    def films(self, chosen: Bools | None = None) -> Sample:
        """Each film a unit; `chosen` some of them."""
        every = np.ones_like(self.labels) if chosen is None else chosen
        screened = np.isfinite(self.probabilities) & every
        return Sample(
            self.probabilities[screened],
            self.labels[screened],
            self.patients[screened],
            self.labels[every & ~screened],
        )

    def by_study(self) -> Sample:
        """Each study a unit: the maximum over its films, of probability and of truth.

        A study of which one film at least was screened counts as screened.
        """
        probabilities, labels, patients = self.study_values()
        screened = np.isfinite(probabilities)
        return Sample(
            probabilities[screened], labels[screened], patients[screened], labels[~screened]
        )

    def study_values(self) -> tuple[NDArray[np.float64], Bools, NDArray[np.int64]]:
        """Probability (NaN: none of its films was screened), truth and patient of each study."""
        _, first, study = np.unique(self.studies, return_index=True, return_inverse=True)
        probabilities = np.full(len(first), -np.inf)
        known = np.where(np.isfinite(self.probabilities), self.probabilities, -np.inf)
        np.maximum.at(probabilities, study, known)
        labels = np.zeros(len(first), bool)
        np.logical_or.at(labels, study, self.labels)
        probabilities[np.isneginf(probabilities)] = np.nan
        return probabilities, labels, self.patients[first]


def scored_films(scored: pa.Table, info: "CheckpointInfo", finding: str) -> ScoredFilms:
    """The films whose label is known, with calibrated probabilities."""
    from vfscreen.model.calibration import probability

    def floats(name: str) -> NDArray[np.float64]:
        return np.asarray(scored[name].cast(pa.float64()).to_numpy(zero_copy_only=False))

    truth = floats(finding)
    rows = np.flatnonzero(np.isfinite(truth))
    logits = floats(f"logit:{finding}")[rows]
    probabilities = probability(logits, info.calibration[finding])
    return ScoredFilms(
        rows,
        np.where(np.isfinite(logits), probabilities, np.nan),
        truth[rows] == 1,
        _codes(scored, "patient_key")[rows],
        _codes(scored, "study_key")[rows],
    )


def _codes(scored: pa.Table, column: str) -> NDArray[np.int64]:
    codes = scored[column].combine_chunks().dictionary_encode().indices
    return np.asarray(codes, np.int64)


def groups(scored: pa.Table, smallest: int) -> Iterator[tuple[str, str, Bools]]:
    """Dimension, name and films of each subgroup, over the rows of the scored table.

    Manufacturers and views come from DICOM: spellings that differ in case or space are one, and
    names of fewer than `smallest` films are pooled as `other`, since what is rare may be a slip of
    the keyboard, or somebody's name.
    """
    dimensions = {
        "sex": [_sex(value) for value in scored["patient_sex"].to_pylist()],
        "age": [_age(value) for value in scored["patient_age_years"].to_pylist()],
        "manufacturer": _names(scored["manufacturer"].to_pylist(), smallest),
        "view": _names(scored["view_position"].to_pylist(), smallest),
        "transfer syntax": _syntaxes(scored["transfer_syntax_uid"].to_pylist()),
    }
    order = ["female", "male", *(name for _, name in _AGES), "80 and over"]
    for dimension, values in dimensions.items():
        column = np.array(values, object)
        counted = Counter(values)
        names = sorted(
            counted,
            key=lambda name: (
                name in ("other", UNKNOWN),
                order.index(name) if name in order else 99,
                -counted[name],
                name,
            ),
        )
        for name in names:
            yield dimension, name, np.asarray(column == name)


def _sex(value: str | None) -> str:
    known = {"F": "female", "M": "male", "O": "other"}
    return known.get((value or "").strip().upper(), UNKNOWN)


def _age(years: int | None) -> str:
    if years is None:
        return UNKNOWN
    return next((name for below, name in _AGES if years < below), "80 and over")


def _names(values: list[str | None], smallest: int) -> list[str]:
    """One spelling a name, the most frequent; rare names pooled."""
    plain = [" ".join((value or "").split())[:_LONGEST_NAME] for value in values]
    spellings: dict[str, Counter[str]] = {}
    for name in plain:
        spellings.setdefault(name.casefold(), Counter())[name] += 1
    shown = {
        folded: min(counted, key=lambda name: (-counted[name], name))
        if counted.total() >= smallest
        else "other"
        for folded, counted in spellings.items()
    }
    shown[""] = UNKNOWN
    return [shown[name.casefold()] for name in plain]


def _syntaxes(values: list[str | None]) -> list[str]:
    from pydicom.uid import UID

    def named(uid: str | None) -> str:
        if not uid:
            return UNKNOWN
        # An unknown UID is its own name: it may be anything.
        return UID(uid).name if UID(uid).name != uid else "other"

    names = {uid: named(uid) for uid in set(values)}
    return [names[uid] for uid in values]
