"""What is computed once for a question answers it as the views do, and leaves nothing behind."""

from pathlib import Path

import duckdb
import pytest
from spec_tables import part

from vfscreen.jobs.listing import run_query
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results, open_results
from vfscreen.results.parts import write_part
from vfscreen.results.sql import fetch
from vfscreen.results.staging import staged


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three studies of two patients, two of them with a report."""
    results = open_results(tmp_path / "results")
    given = {
        "manifest": """
            film | study | accession | patient | date
            F1   | S1    | A1        | P1      | 2024-03-01
            F2   | S2    | A2        | P1      | 2024-03-02
            F3   | S3    | A3        | P2      | 2024-03-03
        """,
        "predictions": "film | logit\nF1 | 2\nF2 | 1\nF3 | -2",
        "checkpoints": "threshold\n0.5",
        "reports": """
            report | accession | report_datetime
            R1     | A1        | 2024-03-01
            R3     | A3        | 2024-03-03
        """,
        "report_labels": "report | status\nR1 | reported\nR3 | denied",
    }
    for folder, table in given.items():
        write_part(results, folder, part(folder, table))
    publish(results)
    return results


@pytest.mark.parametrize(
    "relation",
    ["study_statements", "study_report_status", "known_elsewhere", "screened_studies",
     "screening_funnel", "flagged"],
)  # fmt: skip
def test_a_staged_question_has_the_same_answer(results: Results, relation: str) -> None:
    question = f"select * from {relation} order by all"  # noqa: S608
    with connect(results) as catalogue:
        expected = fetch(catalogue, question)
        with staged(catalogue, question):
            assert fetch(catalogue, question) == expected
        assert fetch(catalogue, question) == expected
        assert fetch(catalogue, "select * from duckdb_tables() where temporary").num_rows == 0
        assert (
            fetch(catalogue, "from duckdb_views() where temporary and not internal").num_rows == 0
        )
    assert run_query(results.path, question) == expected
    if relation != "flagged":
        assert expected.num_rows


def test_a_question_that_fails_leaves_nothing_behind(results: Results) -> None:
    question = "select no_such_column from screened_studies"
    with connect(results) as catalogue:
        with pytest.raises(duckdb.Error), staged(catalogue, question):
            fetch(catalogue, question)
        assert fetch(catalogue, "select * from duckdb_tables() where temporary").num_rows == 0
