"""Splits: nobody on both sides, every part like the whole, and a sentence where that cannot be."""

from itertools import combinations

import numpy as np
import pytest

from vfscreen.errors import TrainingError
from vfscreen.model.splits import split_films

USUAL = {"folds": 5, "validation_share": 0.2, "test_share": 0.0, "seed": 1}


def patients_with_films(count, positive_share, seed=0, findings=1, films_at_most=4):
    """Films of patients, some of whom have several, not all of one class."""
    rng = np.random.default_rng(seed)
    films = rng.integers(1, films_at_most + 1, count)
    patients = np.repeat([f"p{i:04d}" for i in range(count)], films)
    ill = rng.random((count, findings)) < positive_share
    targets = np.repeat(ill, films, 0) & (rng.random((len(patients), findings)) < 0.9)
    return targets.astype(np.float32), patients


def split(targets, patients, **changes):
    names = [f"finding{i}" for i in range(targets.shape[1])]
    return split_films(targets, patients, names, **USUAL | changes)


def parts_of(made):
    """Every pair of parts that must not share a patient."""
    for fold in made.folds:
        yield from combinations((fold.training, fold.validation, made.test), 2)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "changes",
    [{}, {"folds": 2}, {"folds": 0}, {"folds": 0, "test_share": 0.2}, {"test_share": 0.2}],
)
def test_no_patient_is_on_both_sides(seed, changes):
    targets, patients = patients_with_films(120, 0.3, seed)
    made = split(targets, patients, seed=seed, **changes)
    for one, other in parts_of(made):
        assert not set(patients[one]) & set(patients[other])
    for fold in made.folds:
        used = np.concatenate([fold.training, fold.validation, made.test])
        assert sorted(used) == list(range(len(patients)))


def test_every_film_validates_once():
    targets, patients = patients_with_films(90, 0.2)
    made = split(targets, patients, test_share=0.2)
    validated = np.concatenate([fold.validation for fold in made.folds])
    assert sorted([*validated, *made.test]) == list(range(len(patients)))


@pytest.mark.parametrize("changes", [{}, {"folds": 0}, {"folds": 0, "test_share": 0.25}])
def test_parts_have_the_shares_of_the_whole(changes):
    targets, patients = patients_with_films(400, 0.15, findings=3)
    made = split(targets, patients, **changes)
    whole = targets.mean(0)
    for fold in made.folds:
        for rows in (fold.training, fold.validation):
            assert np.abs(targets[rows].mean(0) - whole).max() < 0.05
    if len(made.test):
        assert np.abs(targets[made.test].mean(0) - whole).max() < 0.05
        assert len(np.unique(patients[made.test])) == pytest.approx(100, abs=3)
    if not made.folds[1:]:
        held = len(np.unique(patients[made.folds[0].validation]))
        assert held == pytest.approx(0.2 * (400 - 100 * bool(len(made.test))), abs=3)


def test_the_order_of_films_changes_nothing_and_the_seed_everything():
    targets, patients = patients_with_films(60, 0.3)
    shuffled = np.random.default_rng(9).permutation(len(patients))

    def validating(made, names):
        return [sorted(set(names[fold.validation])) for fold in made.folds]

    first = split(targets, patients, test_share=0.2)
    again = split(targets[shuffled], patients[shuffled], test_share=0.2)
    assert validating(first, patients) == validating(again, patients[shuffled])
    other = split(targets, patients, test_share=0.2, seed=2)
    assert validating(first, patients) != validating(other, patients)


def test_unknown_labels_are_neither_class():
    targets, patients = patients_with_films(60, 0.4, findings=2)
    targets[::3, 1] = np.nan
    made = split(targets, patients)
    for fold in made.folds:
        assert {0.0, 1.0} <= set(targets[fold.validation, 1])


@pytest.mark.parametrize(
    ("value", "says"), [(0, "No labelled film is with finding0"), (1, "is without finding0")]
)
def test_films_of_one_class_are_refused(value, says):
    targets, patients = patients_with_films(30, 0.3)
    targets[:] = value
    with pytest.raises(TrainingError, match=says):
        split(targets, patients)


def test_a_class_with_fewer_patients_than_folds_is_refused():
    targets, patients = patients_with_films(40, 0.0)
    targets[np.isin(patients, ["p0003", "p0007", "p0011"])] = 1
    with pytest.raises(TrainingError, match=r"3 patients with finding0, fewer than the 5 parts"):
        split(targets, patients)
    made = split(targets, patients, folds=3)
    assert all(targets[fold.validation].any() for fold in made.folds)
    with pytest.raises(TrainingError, match=r"fewer than the 4 parts.*test_share to 0"):
        split(targets, patients, folds=3, test_share=0.2)


def test_one_class_in_a_fold_is_refused():
    """Of whom a finding is denied is not spread on purpose: there are too few of them."""
    patients = np.array([f"p{i:02d}" for i in range(40)])
    targets = np.zeros((40, 2), np.float32)
    targets[:20, 0] = 1
    targets[:, 1] = np.nan
    targets[:10, 1] = 1
    targets[10:12, 1] = 0
    with pytest.raises(TrainingError, match="films of a fold are all of one class of finding1"):
        for seed in range(20):
            split(targets, patients, folds=2, seed=seed)
