"""What a person is shown of a labels file."""

from pathlib import Path

import pyarrow as pa

from vfscreen.cli.labels_table import print_labelled, print_problems
from vfscreen.jobs.labels import Labelled, LabelProblems


def problems(reasons, used=1):
    lines = list(range(2, len(reasons) + 2))
    rows = pa.table({"line": lines, "reason": pa.array(reasons, pa.string())})
    return LabelProblems(len(reasons) + used, used, rows)


def test_rows_that_are_not_used_are_counted_with_the_first_lines(capsys):
    print_problems(problems(["unmatched"] * 7 + ["not_eligible: under_age"]))
    shown = capsys.readouterr().out
    assert "Rows of the labels file: 9, of which used 1." in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "unmatched 7 2, 3, 4, 5, 6, ..." in lines
    assert "not eligible: under age 1 9" in lines
    assert "--problems FILE" in shown


def test_where_all_of_them_are_is_said(capsys):
    print_problems(problems(["no_area"]), "marks", Path("p.csv"))
    shown = capsys.readouterr().out
    assert "Rows of the marks file: 2" in shown
    assert "All of them are in p.csv." in shown


def test_a_file_without_problems_is_one_line(capsys):
    print_problems(problems([], used=3))
    assert capsys.readouterr().out == "Rows of the labels file: 3, all used.\n"


def test_findings_are_counted_by_films(capsys):
    films = pa.table({"vf": pa.array([1, 0, None, 0], pa.int8())})
    labelled = Labelled("accession_number", ("vf",), films, problems([], used=3), "0" * 64)
    print_labelled(labelled)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "vf 3 1 2 1" in lines
    assert "Films are named by accession_number." in lines
