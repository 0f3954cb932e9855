"""Patients whose films a checkpoint was trained on: they are no evidence of how good it is."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vfscreen.errors import UsageError
from vfscreen.jobs.labels import Labelled, refuse_useless
from vfscreen.jobs.run import Run
from vfscreen.model.checkpoint import CheckpointInfo, TrainingPatients
from vfscreen.privacy import key_id


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of a labelled set the checkpoint knows from training.

    Attributes
    ----------
    checked : bool
        Whether that could be told at all.
    patients, films : int
        Those that were trained on.
    sentence : str
        The same in words, for every output.
    patient_keys : frozenset of str
        Whose they are, as in `Labelled.films`.
    """

    checked: bool
    patients: int
    films: int
    sentence: str
    patient_keys: frozenset[str] = frozenset()


def training_patients(patient_keys: Iterable[str], key: bytes) -> TrainingPatients:
    """What a checkpoint stores of the patients it was trained on, validation included.

    Parameters
    ----------
    patient_keys
        Of the films (`Labelled.films`), as often as they occur.
    key
        The key that these hashes were made with.
    """
    return TrainingPatients(key_id(key), tuple(sorted(set(patient_keys))))


def seen_patients(info: CheckpointInfo, labelled: Labelled, key: bytes) -> Overlap:
    """Compare a labelled set with the patients that a checkpoint was trained on."""
    known = info.training_patients
    if known is None:
        return Overlap(
            False, 0, 0,
            "The checkpoint does not say whose films it was trained on; patients of this set may "
            "be among them.",
        )  # fmt: skip
    if known.key_id != key_id(key):
        return Overlap(
            False, 0, 0,
            "The checkpoint's patients are hashed with another key (run.pseudonym_key) than this "
            "set's, so whether it was trained on them is not known.",
        )  # fmt: skip
    of_films = labelled.films["patient_key"]
    seen = of_films.filter(pc.is_in(of_films, value_set=pa.array(known.hashes, pa.string())))
    keys = frozenset(pc.unique(seen).to_pylist())
    if not keys:
        return Overlap(True, 0, 0, "The checkpoint was trained on no patient of this set.")
    patients = pc.count_distinct(of_films).as_py()
    return Overlap(
        True, len(keys), len(seen),
        f"The checkpoint was trained on {len(keys):,} of the {patients:,} patients of this set "
        f"({len(seen):,} of {len(of_films):,} films): its figures here are better than on "
        "patients it has not seen.",
        keys,
    )  # fmt: skip


def refuse_seen(info: CheckpointInfo, labelled: Labelled, key: bytes, *, force: bool) -> Overlap:
    """Refuse a set with patients of the training set, unless that is wanted.

    Returns
    -------
    Overlap
        Its `sentence` belongs into every output.

    Raises
    ------
    UsageError
        The checkpoint was trained on patients of this set, and `force` is not given.
    """
    overlap = seen_patients(info, labelled, key)
    if overlap.patients and not force:
        raise UsageError(
            f"{overlap.sentence} Leave them out with --exclude-seen, or go on with --force, and "
            "every output will say so."
        )
    return overlap


def without_seen(
    run: Run, labels_path: Path, labelled: Labelled, overlap: Overlap
) -> tuple[Labelled, Overlap]:
    """The set without the patients of an overlap; the ledger counts their films as excluded.

    Returns
    -------
    tuple
        What is left, and the overlap, whose sentence now says that they were left out.

    Raises
    ------
    LabelsError
        What is left is not labelled both ways.
    """
    if not overlap.patients:
        return labelled, overlap
    keys = pa.array(sorted(overlap.patient_keys), pa.string())
    seen = pc.is_in(labelled.films["patient_key"], value_set=keys)
    left = replace(labelled, films=labelled.films.filter(pc.invert(seen)))
    run.ledger.add("excluded", "seen_in_training", overlap.films)
    refuse_useless(labels_path, left)
    sentence = (
        f"Left out: {overlap.patients:,} patients ({overlap.films:,} films) that the checkpoint "
        "was trained on."
    )
    return left, replace(overlap, sentence=sentence)


def settle_seen(
    run: Run,
    info: CheckpointInfo,
    labels_path: Path,
    labelled: Labelled,
    *,
    force: bool,
    exclude: bool,
) -> tuple[Labelled, Overlap]:
    """Leave patients of the training set out, refuse them, or count them, as a command is told.

    Raises
    ------
    UsageError, LabelsError
        As `refuse_seen` and `without_seen`.
    """
    if exclude:
        overlap = seen_patients(info, labelled, run.key)
        return without_seen(run, labels_path, labelled, overlap)
    return labelled, refuse_seen(info, labelled, run.key, force=force)
