"""Patients that a checkpoint was trained on are refused, or left out, or said in every output."""

from dataclasses import replace

import pyarrow as pa
import pytest

from vfscreen.config import Config
from vfscreen.errors import LabelsError, UsageError
from vfscreen.jobs.labels import Labelled, LabelProblems
from vfscreen.jobs.run import open_run
from vfscreen.jobs.seen_patients import refuse_seen, settle_seen, training_patients, without_seen
from vfscreen.model.checkpoint import read_info
from vfscreen.privacy import key_id, patient_key

KEY, OTHER = b"k" * 32, b"o" * 32
NOTHING = pa.table({"line": pa.array([], pa.int64()), "reason": pa.array([], pa.string())})


def hashed(*patients):
    return [patient_key(KEY, "HOSPITAL", p, "1.2") for p in patients]


@pytest.fixture
def labelled():
    """Five films of four patients."""
    films = pa.table(
        {
            "patient_key": hashed("P1", "P1", "P2", "P3", "P4"),
            "vf": pa.array([1, 0, 0, 1, 0], pa.int8()),
        }
    )
    return Labelled("sop_instance_uid", ("vf",), films, LabelProblems(5, 5, NOTHING), "0" * 64)


def trained_on(*patients, key=KEY):
    return replace(read_info("demo"), training_patients=training_patients(hashed(*patients), key))


def test_a_set_of_new_patients_is_accepted_and_says_so(labelled):
    overlap = refuse_seen(trained_on("P8", "P9"), labelled, KEY, force=False)
    assert (overlap.checked, overlap.patients, overlap.films) == (True, 0, 0)
    assert overlap.sentence == "The checkpoint was trained on no patient of this set."


def test_patients_of_the_training_set_are_refused(labelled):
    with pytest.raises(UsageError, match=r"2 of the 4 patients.*3 of 5 films.*--exclude-seen"):
        refuse_seen(trained_on("P1", "P2", "P9"), labelled, KEY, force=False)


def test_forced_it_is_said_in_a_sentence(labelled):
    overlap = refuse_seen(trained_on("P1"), labelled, KEY, force=True)
    assert (overlap.patients, overlap.films) == (1, 2)
    assert "trained on 1 of the 4 patients" in overlap.sentence


def test_a_checkpoint_of_another_key_or_without_hashes_cannot_be_checked(labelled):
    overlap = refuse_seen(trained_on("P1", key=OTHER), labelled, KEY, force=False)
    assert not overlap.checked
    assert "another key" in overlap.sentence
    silent = replace(read_info("demo"), training_patients=None)
    overlap = refuse_seen(silent, labelled, KEY, force=False)
    assert not overlap.checked
    assert "does not say" in overlap.sentence


def test_left_out_they_count_as_excluded(labelled, tmp_path):
    run_config = replace(Config().run, pseudonym_key=str(tmp_path / "key"))
    config = replace(Config(), run=run_config)
    labels = tmp_path / "labels.csv"
    with open_run(tmp_path / "results", "test", config) as run:
        run = replace(run, key=KEY)
        left, said = settle_seen(run, trained_on("P1"), labels, labelled, force=False, exclude=True)
        assert said.sentence.startswith("Left out: 1 patients (2 films)")
        assert left.films["patient_key"].to_pylist() == hashed("P2", "P3", "P4")
        assert run.ledger.excluded == {"seen_in_training": 2}
        # With P3 the last positive film goes.
        overlap = refuse_seen(trained_on("P1", "P3"), labelled, KEY, force=True)
        with pytest.raises(LabelsError, match="none is positive"):
            without_seen(run, labels, labelled, overlap)


def test_a_patient_is_the_same_whatever_the_spelling_and_nobody_elses(labelled):
    assert patient_key(KEY, "A", "p1 ", "1.2") == patient_key(KEY, " a", "P1", "9.9")
    assert patient_key(KEY, "A", "P1", "1.2") != patient_key(KEY, "B", "P1", "1.2")
    # Issuer and id are not run together, and no patient id looks like a study.
    assert patient_key(KEY, "A", "BC", "1") != patient_key(KEY, "AB", "C", "1")
    assert patient_key(KEY, None, "", "1.2") == patient_key(KEY, None, None, "1.2")
    assert patient_key(KEY, None, None, "1.2") != patient_key(KEY, None, "1.2", "1.2")


def test_the_id_of_a_key_is_its_own_and_no_part_of_it():
    assert key_id(KEY) == key_id(KEY) != key_id(OTHER)
    assert len(key_id(KEY)) == 16
    assert KEY.hex()[:16] != key_id(KEY)
