"""Boxes and points of a marks file as shares of the film; one situation a test."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vfscreen.errors import LabelsError
from vfscreen.jobs.labels import Labelled, LabelProblems
from vfscreen.jobs.marks import LEVELS, POINT_LEVELS, read_marks

HEADER = "sop_instance_uid,finding,level,x0,y0,x1,y1,x,y\n"


@pytest.fixture
def films():
    """Three films of 200 x 100 pixels (columns x rows), the last of unknown size."""
    table = pa.table(
        {
            "sop_instance_uid": ["F1", "F2", "F3"],
            "rows": pa.array([100, 100, None], pa.int32()),
            "columns": pa.array([200, 200, None], pa.int32()),
            "vf": pa.array([1, 0, 1], pa.int8()),
        }
    )
    nothing = pa.table({"line": pa.array([], pa.int64()), "reason": pa.array([], pa.string())})
    return Labelled("sop_instance_uid", ("vf",), table, LabelProblems(3, 3, nothing), "0" * 64)


@pytest.fixture
def read(tmp_path, films):
    def read(text, header=HEADER):
        path = tmp_path / "marks.csv"
        path.write_text(header + text)
        return read_marks(path, films)

    return read


def reasons(marks):
    return {row["line"]: row["reason"] for row in marks.problems.rows.to_pylist()}


def test_a_box_of_a_finding_is_a_share_of_width_and_height(read):
    marks = read("F1,vf,L1,20,10,60,30,,\n")
    assert marks.boxes["vf"].shape == (3, 1, 4)
    assert marks.boxes["vf"].dtype == np.float32
    np.testing.assert_allclose(marks.boxes["vf"][0, 0], [0.1, 0.1, 0.3, 0.3])
    assert np.isnan(marks.boxes["vf"][1:]).all()
    assert marks.levels["vf"].tolist() == [[LEVELS.index("L1")], [-1], [-1]]
    assert marks.problems.used == marks.problems.total == 1


def test_several_boxes_of_a_film_are_in_the_files_order(read):
    marks = read("F1,vf,,0,0,20,10,,\nF1,vf,T12,20,10,40,20,,\n")
    np.testing.assert_allclose(marks.boxes["vf"][0], [[0, 0, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2]])
    assert marks.levels["vf"][0].tolist() == [-1, LEVELS.index("T12")]


def test_a_vertebra_is_at_its_point_or_else_in_the_middle_of_its_box(read):
    marks = read("F1,vertebra,T10,20,10,60,30,,\nF2,vertebra,l5,,,,,100,50\n")
    assert marks.points.shape == (3, len(POINT_LEVELS), 2) == (3, 8, 2)
    np.testing.assert_allclose(marks.points[0, 0], [0.2, 0.2])
    np.testing.assert_allclose(marks.points[1, 7], [0.5, 0.5])
    assert np.isnan(marks.points).sum() == 3 * 8 * 2 - 4
    assert marks.boxes == {}


def test_a_finding_marked_by_a_point_has_a_vertebras_box_around_it(read):
    marks = read("F1,vf,L1,100,50\n", header="sop_instance_uid,finding,level,x,y\n")
    np.testing.assert_allclose(marks.boxes["vf"][0, 0], [0.44, 0.46, 0.56, 0.54], atol=1e-6)


def test_a_box_ends_at_the_films_edge(read):
    marks = read("F1,vf,,-10,80,30,110,,\n")
    np.testing.assert_allclose(marks.boxes["vf"][0, 0], [0, 0.8, 0.15, 1.0])


def test_a_mark_that_cannot_be_used_has_one_reason(read):
    marks = read(
        "F9,vf,,0,0,9,9,,\n"
        "F1,hip,,0,0,9,9,,\n"
        "F1,vf,S1,0,0,9,9,,\n"
        "F1,vf,,0,0,9,,,\n"
        "F3,vf,,0,0,9,9,,\n"
        "F1,vf,,190,90,260,120,,\n"
        "F1,vf,,9,0,0,9,,\n"
        "F1,vertebra,,0,0,9,9,,\n"
        "F1,vertebra,T5,0,0,9,9,,\n"
        "F2,vf,,0,0,9,9,,\n"
        "F1,vertebra,L2,0,0,9,9,,\n"
        "F1,vertebra,L2,0,0,9,9,,\n"
        "F1,vertebra,L3,0,0,9,9,,\n"
        "F1,vertebra,L3,,,,,7,7\n"
        ",vf,,0,0,9,9,,\n"
    )
    assert reasons(marks) == {
        2: "unmatched", 3: "unknown_finding", 4: "unknown_level", 5: "incomplete",
        6: "film_size_unknown", 7: "outside_film", 8: "no_area", 9: "vertebra_without_level",
        10: "vertebra_above_T10", 11: "contradicts_label", 13: "repeated", 14: "contradictory",
        15: "contradictory", 16: "unmatched",
    }  # fmt: skip
    page = (Path(__file__).parents[1] / "docs" / "labels.md").read_text("utf-8")
    assert [reason for reason in marks.problems.counts if f"`{reason}`" not in page] == []
    assert marks.problems.used == 1
    assert not np.isnan(marks.points[0, POINT_LEVELS.index("L2")]).any()


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        (HEADER, "F1,vf,,a,0,9,9,,\n", "line 2, column `x0`: not a number"),
        (HEADER, "F1,vf,,nan,0,9,9,,\n", "line 2, column `x0`: not a number"),
        ("sop_instance_uid,x,y\n", "F1,1,1\n", "no column `finding`"),
        ("sop_instance_uid,finding,x\n", "F1,vf,1\n", "neither the columns"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(read, header, row, says):
    with pytest.raises(LabelsError, match=says):
        read(row, header=header)


def test_points_are_of_the_levels_that_the_locator_finds():
    from vfscreen.model import column

    assert column.LEVELS == POINT_LEVELS


def test_a_file_without_marks_is_one_without_marks(read):
    marks = read("")
    assert marks.boxes == {}
    assert np.isnan(marks.points).all()
