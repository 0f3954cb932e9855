"""Which films train, which validate, and which nobody looks at: by patient, and stratified.

Films of one patient are alike in more than the finding: with a patient on both sides, a network
that knows the patient looks as if it knew the fracture.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows of films, ascending, intp."""

    training: NDArray[np.intp]
    validation: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Split:
    """The folds, and the rows that are in none of them: set aside for a test."""

    folds: tuple[Fold, ...]
    test: NDArray[np.intp]


def split_films(
    targets: NDArray[np.float32],
    patients: NDArray[np.str_],
    findings: Sequence[str],
    *,
    folds: int,
    validation_share: float,
    test_share: float,
    seed: int,
) -> Split:
    """Divide films by patient, each part with about the same share of every finding.

    Parameters
    ----------
    targets : ndarray
        float32 (N, F), 0, 1, or NaN where it is not known.
    patients : ndarray
        (N,) whose film it is.
    findings : sequence of str
        (F,) for the messages.
    folds : int
        Every film that is not set aside validates in one fold and trains in the others; 0: one
        fold, with `validation_share` of the patients held out.
    test_share : float
        Share of the patients set aside beforehand.
    seed : int
        The same films and seed give the same split, whatever the order of the films.

    Raises
    ------
    TrainingError
        A finding has too few patients with it or without it for such a split.
    """
    _refuse_few(targets, patients, findings, folds, test_share)
    strata = _strata(targets)
    everything = np.arange(len(patients))
    test = _held_out(strata, patients, test_share, seed)
    rest = np.setdiff1d(everything, test)
    if folds:
        made = _folds(strata[rest], patients[rest], folds, seed)
        parts = [Fold(rest[training], rest[validation]) for training, validation in made]
    else:
        validation = rest[_held_out(strata[rest], patients[rest], validation_share, seed + 1)]
        parts = [Fold(np.setdiff1d(rest, validation), validation)]
    for fold in parts:
        _refuse_one_class(targets, fold, findings)
    return Split(tuple(parts), test)


def _refuse_few(
    targets: NDArray[np.float32],
    patients: NDArray[np.str_],
    findings: Sequence[str],
    folds: int,
    test_share: float,
) -> None:
    # Each part needs one patient of each class.
    parts = max(2, folds) + (test_share > 0)
    for column, finding in zip(targets.T, findings, strict=True):
        for value, word in ((1, "with"), (0, "without")):
            count = len(np.unique(patients[column == value]))
            if count == 0:
                raise TrainingError(
                    f"No labelled film is {word} {finding}: a network learns from films with it "
                    "and without it."
                )
            if count < parts:
                raise TrainingError(
                    f"There are {count} patients {word} {finding}, fewer than the {parts} parts "
                    "that they are to be divided into: label more, or set train.folds lower"
                    f"{' or train.test_share to 0' if test_share else ''}."
                )


def _strata(targets: NDArray[np.float32]) -> NDArray[np.intp]:
    """A film's class: the rarest finding that it has, or none; so the rarest is spread best."""
    strata = np.zeros(len(targets), np.intp)
    for finding in np.argsort(-(targets == 1).sum(0), kind="stable"):
        strata[targets[:, finding] == 1] = finding + 1
    return strata


def _held_out(
    strata: NDArray[np.intp], patients: NDArray[np.str_], share: float, seed: int
) -> NDArray[np.intp]:
    """Films of a share of the patients of each class, of a small one at least one patient."""
    if not share:
        return np.empty(0, np.intp)
    rng = np.random.default_rng(seed)
    names, of = np.unique(patients, return_inverse=True)
    # A patient counts by the rarest class that any of the films has: those have the largest rank.
    by_rarity = np.argsort(np.argsort(-np.bincount(strata), kind="stable"))
    rank = np.zeros(len(names), np.intp)
    np.maximum.at(rank, of, by_rarity[strata])
    chosen = []
    for value in np.unique(rank):
        among = np.flatnonzero(rank == value)
        count = min(max(1, round(share * len(among))), len(among) - 1)
        chosen.append(rng.permutation(among)[:count])
    return np.flatnonzero(np.isin(of, np.concatenate(chosen)))


def _folds(
    strata: NDArray[np.intp], patients: NDArray[np.str_], folds: int, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class of fewer films than folds: of a single finding it is refused above, and a
        # combination of findings may be as rare as it likes.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(strata, strata, patients))


def _refuse_one_class(targets: NDArray[np.float32], fold: Fold, findings: Sequence[str]) -> None:
    for column, finding in zip(targets.T, findings, strict=True):
        for rows, part in ((fold.training, "training"), (fold.validation, "validation")):
            classes = np.unique(column[rows])
            if not {0.0, 1.0} <= set(classes.tolist()):
                raise TrainingError(
                    f"The {part} films of a fold are all of one class of {finding}: too few "
                    "patients have the other. Label more, set train.folds lower, or try another "
                    "train.seed."
                )
