"""What a labels file says of an archive: the questions alone, one situation a test."""

import pyarrow as pa
import pytest
from spec_tables import catalogue

from vfscreen.results.labels import match_labels

ARCHIVE = """
    film | study | accession | accession_issuer | patient | eligible | exclusion_reason | modality
    F1   | S1    | A1        | X                | P1      | yes      |                  | DX
    F2   | S1    | A1        | X                |         | yes      |                  | DX
    F3   | S2    | A1        | Y                | P2      | yes      |                  | DX
    F4   | S3    | A3        |                  | P3      | no       | view             | DX
    F5   |       | A4        | X                | P4      | yes      |                  | DX
    D1   | S6    | A4        | X                | P4      | no       | not_an_image     | SR
"""


def match(key, *rows, manifest=ARCHIVE):
    """Rows are `(key, issuer, value)`; lines count from 2."""
    lines = list(range(2, len(rows) + 2))
    keys, issuers, values = zip(*rows, strict=True)
    texts = {"key": pa.array(keys, pa.string()), "issuer": pa.array(issuers, pa.string())}
    said = pa.table(
        {
            "line": lines,
            "finding": pa.array([0] * len(rows), pa.int32()),
            "value": pa.array(values, pa.int8()),
        }
    )
    asked = catalogue(manifest=manifest)
    found = match_labels(asked, key, pa.table({"line": lines} | texts), said, ["/archive"])
    films = found.films.select(["sop_instance_uid", "unit"]).to_pylist()
    labels = {row["unit"]: row["value"] for row in found.values.to_pylist()}
    return (
        {row["sop_instance_uid"]: labels[row["unit"]] for row in films},
        found.rows["reason"].to_pylist(),
        found,
    )


def by_accession(*rows, manifest=ARCHIVE):
    return match("accession_number", *rows, manifest=manifest)[:2]


def test_an_accession_number_of_two_sites_is_told_apart_by_its_issuer():
    assert by_accession(("A1", "X", 1), ("A1", "Y", 0)) == (
        {"F1": 1, "F2": 1, "F3": 0},
        [None, None],
    )


def test_without_an_issuer_it_is_ambiguous_and_of_another_issuer_unmatched():
    assert by_accession(("A1", None, 1), ("A1", "Z", 1)) == ({}, ["ambiguous", "unmatched"])


def test_a_single_study_needs_no_issuer_and_a_report_is_no_second_study():
    # The film has no study UID: it is a study of its own. The other study is a structured report.
    assert by_accession(("A4", None, 1)) == ({"F5": 1}, [None])


def test_a_film_without_an_issuer_is_found_only_if_nobody_else_has_the_number():
    films = "film | study | accession | accession_issuer\nF1 | S1 | A1 |\n"
    assert by_accession(("A1", "X", 1), manifest=films) == ({"F1": 1}, [None])
    films += "F2 | S2 | A1 | Y"
    assert by_accession(("A1", "X", 1), manifest=films) == ({}, ["ambiguous"])
    assert by_accession(("A1", "Y", 1), manifest=films) == ({"F2": 1}, [None])


def test_an_order_of_two_studies_labels_both():
    films = """
        film | study | accession | accession_issuer
        F1   | S1    | A1        | X
        F2   | S2    | A1        | X
    """
    assert by_accession(("A1", "X", 1), manifest=films) == ({"F1": 1, "F2": 1}, [None])
    # One row says the same again of both; another contradicts.
    again = (("A1", "X", 1), ("A1", "X", 1))
    assert by_accession(*again, manifest=films)[1] == [None, "repeated"]
    assert by_accession(*again[:1], ("A1", "X", 0), manifest=films) == (
        {},
        ["contradictory", "contradictory"],
    )


def test_only_the_archive_asked_for_counts():
    films = ARCHIVE + "    F9 | S9 | A9 | X | P9 | yes | | DX\n"
    asked = catalogue(manifest=films)
    asked.execute(
        "update parts.manifest set archive_root = '/other' where study_instance_uid = 'S9'"
    )
    rows = pa.table({"line": [2], "key": ["S9"], "issuer": pa.nulls(1, pa.string())})
    said = pa.table({"line": [2], "finding": [0], "value": [1]})
    found = match_labels(asked, "study_instance_uid", rows, said, ["/archive"])
    assert found.rows["reason"].to_pylist() == ["unmatched"]


@pytest.mark.parametrize("key", ["sop_instance_uid", "study_instance_uid"])
def test_a_copy_is_no_second_film_and_does_not_make_one_ineligible(key):
    films = """
        film | study | archive_path | eligible | exclusion_reason
        F1   | S1    | a            | no       | duplicate
        F1   | S1    | b            | yes      |
    """
    unit = {"sop_instance_uid": "F1", "study_instance_uid": "S1"}[key]
    labels, reasons, found = match(key, (unit, None, 1), manifest=films)
    assert (labels, reasons) == ({"F1": 1}, [None])
    assert found.films["archive_path"].to_pylist() == ["b"]


def test_the_patient_is_known_from_another_film_of_the_study():
    _, _, found = match("sop_instance_uid", ("F2", None, 1))
    assert found.films["patient_id"].to_pylist() == ["P1"]


def test_a_patient_whose_issuer_is_named_once_is_one_patient():
    films = """
        film | study | patient | patient_issuer
        F1   | S1    | P1      | X
        F2   | S2    | P1      |
        F3   | S3    | P2      | X
        F4   | S4    | P2      | Y
        F5   | S5    | P2      |
    """
    rows = [(f"F{n}", None, 1) for n in range(1, 6)]
    _, _, found = match("sop_instance_uid", *rows, manifest=films)
    patients = {
        row["sop_instance_uid"]: (row["issuer_of_patient_id"], row["patient_id"])
        for row in found.films.to_pylist()
    }
    assert patients["F1"] == patients["F2"] == ("X", "P1")
    # Two sites have a P2: which of them the last is nobody knows.
    assert (patients["F3"], patients["F4"], patients["F5"]) == (
        ("X", "P2"), ("Y", "P2"), (None, "P2"),
    )  # fmt: skip


def test_what_a_row_says_is_repeated_only_if_all_of_it_was_said_before():
    labels, reasons, _ = match("study_instance_uid", ("S1", None, 1), ("S1", None, 1))
    assert (labels, reasons) == ({"F1": 1, "F2": 1}, [None, "repeated"])


def test_a_study_that_is_only_excluded_says_why():
    assert match("study_instance_uid", ("S3", None, 1))[:2] == ({}, ["not_eligible: view"])
