"""What a service asks about itself; one situation a test."""

import json
from pathlib import Path

import pytest
from spec_tables import catalogue, expect, part
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.results.catalogue import publish
from vfscreen.results.folder import open_results
from vfscreen.results.parts import write_part
from vfscreen.results.sql import MEASURES, QUERIES, VIEWS, about, ask

VF = "vertebral_fracture"
BOUND = {"finding": VF, "threshold": 0.5}

LIKELY: dict[str, str] = {
    "checkpoints": "checkpoint\ncheckpoint",
    "manifest": """
        film | study | date       | study_time | institution_name | station_name | eligible
        F1   | S1    | 2024-03-01 | 100000     | North            | XR1          | yes
        F2   | S2    | 2024-03-15 | 10:30:00   | North            | XR2          | yes
        F3   | S3    | 2024-04-01 | 235959.99  | South            | XR1          | yes
        F4   | S4    | 2024-04-02 |            | ''               | ''           | yes
        F5   | S5    | 2024-04-03 | 000000     | South            | XR1          | yes
        F6   | S5    | 2024-04-03 | 000000     | South            | XR1          | no
    """,
    "predictions": "film | logit\nF1 | 2\nF2 | 2\nF3 | 2\nF4 | 2\nF5 | -2",
    "reports": """
        report | study | report_datetime     | result_status | author_role
        R1     | S1    | 2024-03-01 12:00:00 | final         | Consultant
        R2     | S2    | 2024-03-15 10:00:00 | final         | Registrar
        R3     | S3    | 2024-04-02 00:59:59 | preliminary   | Registrar
        R3b    | S3    | 2024-04-03 23:59:59 | final         |
        R5     | S5    | 2024-04-03 12:00:00 | final         |
    """,
    "report_labels": """
        report | status        | severity | recommendation
        R1     | reported      | moderate | yes
        R2     | ambiguous     |          | no
        R3     | reported      |          | yes
        R3b    | not_mentioned |          | no
        R5     | not_mentioned |          | no
    """,
}


def test_every_measure_says_what_it_is_and_is_asked_with_finding_and_threshold_at_most() -> None:
    for name in MEASURES:
        assert name in (*VIEWS, *QUERIES)
        assert about(name).first_sentence.endswith(".")
        assert len(about(name).first_sentence) > 20
        assert about(name).grain
        assert about(name).caveat


def test_reporting_by_group_is_one_long_table_of_all_groups() -> None:
    asked = catalogue(**LIKELY)
    expect(
        asked, "reporting_by_group",
        """
            grouped_by       | value      | films_eligible | studies_screened | likely_studies
            month            | 2024-03    | 2              | 2                | 2
            month            | 2024-04    | 3              | 3                | 2
            institution_name | North      | 2              | 2                | 2
            institution_name | South      | 2              | 2                | 1
            institution_name |            | 1              | 1                | 1
            station_name     | XR1        | 3              | 3                | 2
            station_name     | XR2        | 1              | 1                | 1
            station_name     |            | 1              | 1                | 1
            author_role      | consultant |                | 1                | 1
            author_role      | registrar  |                | 2                | 2
            author_role      |            |                | 2                | 1
        """,
        **BOUND,
    )  # fmt: skip
    expect(
        asked, "reporting_by_group",
        """
            value      | reported | ambiguous | not_mentioned | no_report | reporting_rate
            2024-03    | 1        | 1         | 0             | 0         | 0.5
            2024-04    | 0        | 0         | 1             | 1         | 0
            North      | 1        | 1         | 0             | 0         | 0.5
            South      | 0        | 0         | 1             | 0         | 0
                       | 0        | 0         | 0             | 1         |
            XR1        | 1        | 0         | 1             | 0         | 0.5
            XR2        | 0        | 1         | 0             | 0         | 0
                       | 0        | 0         | 0             | 1         |
            consultant | 1        | 0         | 0             | 0         | 1
            registrar  | 0        | 1         | 1             | 0         | 0
                       | 0        | 0         | 0             | 1         |
        """,
        **BOUND,
    )  # fmt: skip


def test_a_group_that_was_not_screened_at_all_is_shown_with_its_films() -> None:
    asked = catalogue(
        checkpoints="checkpoint\ncheckpoint",
        manifest="film | study | date | eligible\nF1 | S1 | 2024-03-01 | no",
    )
    expect(
        asked, "reporting_by_group",
        """
            grouped_by       | value   | films_found | films_eligible | studies_screened
            month            | 2024-03 | 1           | 0              | 0
            institution_name |         | 1           | 0              | 0
            station_name     |         | 1           | 0              | 0
        """,
        **BOUND,
    )  # fmt: skip


def test_turn_around_counts_where_film_and_report_have_a_time_of_day() -> None:
    # S2 was reported half an hour before its film: a clock, or a zone. S3's draft does not count;
    # its report came two days later. S4 has no report, S5 no time of day.
    rows = ask(catalogue(**LIKELY), "turnaround").to_pylist()
    assert [row["study_year"] for row in rows] == [None, 2024]
    for row in rows:
        assert (row["reported_studies"], row["both_times_known"], row["before_the_film"]) == (
            4,
            3,
            1,
        )
        assert row["median_hours"] == pytest.approx(25)  # of 2 and 48 hours
        assert row["share_within_24_hours"] == 0.5
    (nothing,) = ask(catalogue(), "turnaround").to_pylist()
    assert (nothing["reported_studies"], nothing["median_hours"]) == (0, None)


def test_the_audit_asks_for_words_grade_and_action_of_the_reports_that_identify_it() -> None:
    asked = catalogue(**LIKELY)
    mentions = [
        ("R1", "Vertebral compression\n fracture of L1.", "findings", "affirmed"),
        ("R2", "No vertebral fracture.", "findings", "negated"),
        ("R2", "Known vertebral fracture.", "history", "affirmed"),
    ]
    for report, sentence, section, assertion in mentions:
        asked.execute(
            "update parts.report_labels set evidence = list_append(coalesce(evidence, []), "
            "{'section': $section, 'sentence': $sentence, 'start': 0, 'end': 1, 'rule_id': '', "
            "'assertion': $assertion}) where report_id = $report",
            {"report": report, "sentence": sentence, "section": section, "assertion": assertion},
        )
    expect(
        asked, "rcr_audit",
        """
            standard                 | met | of_studies | share  | target
            identified               | 2   | 3          | 0.6667 | 0.9
            vertebral_fracture_words | 1   | 2          | 0.5    | 1
            grade_named              | 1   | 2          | 0.5    |
            action_recommended       | 1   | 2          | 0.5    | 1
        """,
        **BOUND,
    )  # fmt: skip


def test_the_audit_of_nothing_has_no_shares() -> None:
    expect(
        catalogue(), "rcr_audit",
        """
            standard                 | met | of_studies | share
            identified               | 0   | 0          |
            vertebral_fracture_words | 0   | 0          |
            grade_named              | 0   | 0          |
            action_recommended       | 0   | 0          |
        """,
        **BOUND,
    )  # fmt: skip


def test_a_film_of_two_findings_is_counted_once_for_each() -> None:
    given = LIKELY | {
        "checkpoints": "checkpoint | finding\ncheckpoint | vertebral_fracture\n"
        "checkpoint | hip_fracture",
        "predictions": "film | finding | logit\nF1 | vertebral_fracture | 2\nF1 | hip_fracture | 3",
    }
    asked = catalogue(**given)
    for finding in (VF, "hip_fracture"):
        expect(
            asked, "reporting_rate",
            f"study_year | likely_studies\n           | {int(finding == VF)}"
            + ("\n2024 | 1" if finding == VF else ""),
            finding=finding, threshold=0.5,
        )  # fmt: skip


def test_the_funnel_says_why_an_eligible_film_or_a_screened_study_went_no_further() -> None:
    asked = catalogue(
        checkpoints="checkpoint\ncheckpoint",
        manifest="""
            film | study | archive_path
            F1   | S1    | a
            F1   | S1    | copy
            F2   | S2    | b
            F3   | S3    | c
            F4   | S4    | d
            F5   | S5    | e
        """,
        predictions="film | logit\nF1 | 2\nF2 | -2\nF3 | 2",
        failures="film | instance_key\nF4 | k4",
        reports="report | study\nR3 | S3",
        report_labels="report | status\nR3 | reported",
        flags="study | status | probability\nS1 | no_report | 0.88",
    )
    expect(
        asked, "screening_funnel",
        """
            step                | reason          | total
            found               |                 | 6
            eligible            |                 | 6
            failed              | truncated       | 1
            not_screened        | copy            | 1
            not_screened        | waiting         | 1
            screened            |                 | 3
            studies_screened    | no_report       | 2
            studies_screened    | reported        | 1
            studies_not_flagged | below_threshold | 1
            studies_not_flagged | reported        | 1
            studies_flagged     | no_report       | 1
            patients_waiting    | no_report       | 1
        """,
    )  # fmt: skip


def test_measures_are_listed_and_asked_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = open_results(tmp_path / "results")
    for folder, rows in LIKELY.items():
        write_part(results, folder, part(folder, rows))
    publish(results)

    def said(*words: str) -> str:
        answer = CliRunner().invoke(app, ["measures", *words, "--results", str(results.path)])
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "how long after the film" in said()
    shown = said("reporting_rate")
    assert "Caveat: biased" in shown
    assert "2024" in shown
    assert "2,024" not in shown
    assert "0.500 or more" in shown
    rows = json.loads(said("rcr_audit", "--format", "json"))
    assert [row["met"] for row in rows] == [2, 0, 1, 1]
    for name in MEASURES:
        said(name)
    unknown = CliRunner().invoke(app, ["measures", "nonsense", "--results", str(results.path)])
    assert "reporting_rate" in str(unknown.exception)
