"""Who is on the list, and in which order; one clinical situation a test."""

from typing import Any

import duckdb
from spec_tables import catalogue, expect

from vfscreen.results.flags import flag_changes

VF = "vertebral_fracture"


def changes(asked: duckdb.DuckDBPyConnection, threshold: float = 0.5) -> list[tuple[Any, ...]]:
    """Study, state and reason of each flag row that would be added."""
    table = flag_changes(asked, finding=VF, threshold=threshold, run_id="run-2")
    rows = table.select(["study_instance_uid", "state", "reason"]).to_pylist()
    return sorted(tuple(row.values()) for row in rows)


# A logit of 2 is a probability of 0.88, of 0 one of 0.5, of -2 one of 0.12.
SCREENED: dict[str, str] = {
    "checkpoints": "checkpoint\ncheckpoint",
    "manifest": """
        film | study | patient | date       | patient_age_years
        F1   | S1    | P1      | 2024-03-01 | 71
        F2   | S1    | P1      | 2024-03-01 | 71
        F3   | S3    | P3      | 2024-03-03 | 80
    """,
    "predictions": """
        film | study | logit
        F1   | S1    | 2
        F2   | S1    | -2
        F3   | S3    | -2
    """,
}


def test_a_study_is_as_suspicious_as_its_most_suspicious_film() -> None:
    expect(
        catalogue(**SCREENED), "study_predictions",
        """
            study | film | films | probability
            S1    | F1   | 2     | 0.8808
            S3    | F3   | 1     | 0.1192
        """,
    )  # fmt: skip


def test_a_film_that_is_no_longer_eligible_does_not_count() -> None:
    given = SCREENED | {
        "manifest": """
            film | study | archive_path | eligible | scanned_at
            F1   | S1    | one          | yes      | 2024-06-01
            F1   | S1    | one          | no       | 2024-06-02
            F2   | S1    | two          | yes      | 2024-06-01
            F3   | S3    | three        | yes      | 2024-06-01
        """
    }
    expect(
        catalogue(**given), "study_predictions",
        """
            study | film | probability
            S1    | F2   | 0.1192
            S3    | F3   | 0.1192
        """,
    )  # fmt: skip


def test_a_film_screened_again_counts_with_its_last_prediction() -> None:
    given = SCREENED | {
        "predictions": """
            film | study | logit | screened_at
            F1   | S1    | 2     | 2024-06-02
            F1   | S1    | -2    | 2024-06-03
        """
    }
    expect(catalogue(**given), "predictions", "film | logit | probability\nF1 | -2 | 0.1192")


def test_a_recalibration_changes_probabilities_and_nothing_else() -> None:
    given = SCREENED | {
        "checkpoints": """
            checkpoint   | calibration_slope | calibration_intercept | registered_at
            checkpoint   | 1                 | 0                     | 2024-06-01
            recalibrated | 0.5               | -1                    | 2024-06-02
        """
    }
    expect(
        catalogue(**given), "predictions",
        """
            film | logit | raw_probability | probability
            F1   | 2     | 0.8808          | 0.5
            F2   | -2    | 0.1192          | 0.1192
            F3   | -2    | 0.1192          | 0.1192
        """,
    )  # fmt: skip


def test_a_likely_fracture_without_a_report_of_it_is_flagged() -> None:
    assert changes(catalogue(**SCREENED)) == [("S1", "flagged", "new")]


def test_a_reported_fracture_is_not_flagged() -> None:
    asked = catalogue(
        **SCREENED,
        reports="report | study\nR1 | S1",
        report_labels="report | status\nR1 | reported",
    )
    assert changes(asked) == []


def test_a_denied_fracture_is_flagged() -> None:
    asked = catalogue(
        **SCREENED,
        reports="report | study\nR1 | S1",
        report_labels="report | status\nR1 | denied",
    )
    assert changes(asked) == [("S1", "flagged", "new")]


LISTED = """
    study | film | patient | date       | patient_age_years | probability | status    | films
    S1    | F1   | P1      | 2024-03-01 | 71                | 0.8807970779778823 | no_report | 2
"""


def test_what_is_on_the_list_and_has_not_changed_is_not_written_again() -> None:
    assert changes(catalogue(**SCREENED, flags=LISTED)) == []


def test_a_report_that_arrives_and_names_the_fracture_takes_the_study_off_the_list() -> None:
    asked = catalogue(
        **SCREENED,
        flags=LISTED,
        reports="report | study\nR1 | S1",
        report_labels="report | status\nR1 | reported",
    )
    assert changes(asked) == [("S1", "unflagged", "reported")]


def test_a_report_that_arrives_and_does_not_mention_it_moves_the_study_to_the_unreported() -> None:
    asked = catalogue(
        **SCREENED,
        flags=LISTED,
        reports="report | study\nR1 | S1",
        report_labels="report | status\nR1 | not_mentioned",
    )
    assert changes(asked) == [("S1", "flagged", "report_status")]


def test_another_threshold_is_stated_for_those_who_stay_and_takes_off_the_others() -> None:
    asked = catalogue(**SCREENED, flags=LISTED)
    assert changes(asked, threshold=0.8) == [("S1", "flagged", "threshold")]
    assert changes(asked, threshold=0.9) == [("S1", "unflagged", "below_threshold")]


def test_a_study_that_comes_back_is_flagged_again() -> None:
    asked = catalogue(
        **SCREENED,
        flags="""
            study | state     | reason          | flagged_at
            S1    | flagged   | new             | 2024-06-01
            S1    | unflagged | below_threshold | 2024-06-02
        """,
    )
    assert changes(asked) == [("S1", "flagged", "again")]


def test_a_new_model_that_has_not_seen_the_film_yet_takes_the_study_off_the_list() -> None:
    given = SCREENED | {
        "checkpoints": """
            checkpoint | model | registered_at
            checkpoint | model | 2024-06-01
            newer      | other | 2024-06-02
        """
    }
    assert changes(catalogue(**given, flags=LISTED)) == [("S1", "unflagged", "not_screened")]


def test_a_study_whose_films_are_all_excluded_now_leaves_the_list() -> None:
    given = SCREENED | {"manifest": "film | study | eligible\nF1 | S1 | no\nF2 | S1 | no"}
    assert changes(catalogue(**given, flags=LISTED)) == [("S1", "unflagged", "not_eligible")]


def test_a_fracture_that_becomes_known_elsewhere_is_stated_anew() -> None:
    asked = catalogue(
        **SCREENED,
        flags=LISTED,
        reports="report | patient | report_datetime\nCT | P1 | 2023-01-01",
        report_labels="report | status\nCT | reported",
    )
    assert changes(asked) == [("S1", "flagged", "known_elsewhere")]


def test_the_list_is_ranked_by_probability_and_known_patients_come_last() -> None:
    asked = catalogue(
        flags="""
            study | patient | probability | known_elsewhere | date
            S1    | P1      | 0.7         | no              | 2024-03-01
            S2    | P2      | 0.9         | no              | 2024-03-02
            S3    | P3      | 0.99        | yes             | 2024-03-03
        """
    )
    expect(
        asked, "flagged",
        """
            rank | patient | study | known_elsewhere
            1    | P2      | S2    | no
            2    | P1      | S1    | no
            3    | P3      | S3    | yes
        """,
    )  # fmt: skip


def test_of_equal_probabilities_the_newer_study_comes_first() -> None:
    asked = catalogue(
        flags="""
            study | patient | probability | date
            S1    | P1      | 0.7         | 2024-03-01
            S2    | P2      | 0.7         | 2024-03-02
            S3    | P3      | 0.7         |
        """
    )
    expect(asked, "flagged", "rank | study\n1 | S2\n2 | S1\n3 | S3")


def test_a_patient_is_one_row_with_the_best_study_and_the_number_of_others() -> None:
    asked = catalogue(
        flags="""
            study | patient | patient_issuer | probability
            S1    | P1      | HOSP           | 0.7
            S2    | P1      | HOSP           | 0.8
            S3    | P1      | OTHER          | 0.75
        """
    )
    expect(
        asked, "flagged",
        """
            rank | patient | patient_issuer | study | other_studies
            1    | P1      | HOSP           | S2    | 1
            2    | P1      | OTHER          | S3    | 0
        """,
    )  # fmt: skip


def test_studies_without_a_patient_id_are_patients_of_their_own() -> None:
    asked = catalogue(
        flags="""
            study | patient | probability
            S1    |         | 0.7
            S2    |         | 0.8
        """
    )
    expect(asked, "flagged", "rank | study | other_studies\n1 | S2 | 0\n2 | S1 | 0")


def test_studies_without_a_report_are_a_list_of_their_own() -> None:
    asked = catalogue(
        flags="""
            study | patient | probability | status
            S1    | P1      | 0.9         | no_report
            S2    | P2      | 0.8         | denied
            S3    | P3      | 0.7         | no_report
        """
    )
    expect(
        asked, "flagged",
        """
            list       | rank | study
            unreported | 1    | S2
            no_report  | 1    | S1
            no_report  | 2    | S3
        """,
    )  # fmt: skip


FOUR = """
    study | patient | probability | date
    S1    | P1      | 0.9         | 2024-03-01
    S2    | P1      | 0.8         | 2024-02-01
    S3    | P1      | 0.7         | 2024-09-01
    S4    | P4      | 0.6         | 2024-03-01
"""


def test_a_confirmed_study_takes_the_patients_earlier_studies_with_it() -> None:
    asked = catalogue(
        flags=FOUR,
        reviews="""
            study | patient | decision | reviewed_at
            S1    | P1      | confirm  | 2024-06-01
        """,
    )
    # A film made after the decision comes back, as known, behind everyone else.
    expect(
        asked, "flagged",
        """
            rank | study | known_elsewhere
            1    | S4    | no
            2    | S3    | yes
        """,
    )  # fmt: skip


def test_a_referred_patients_earlier_studies_leave_too_but_are_not_known_for_that() -> None:
    asked = catalogue(
        flags=FOUR,
        reviews="""
            study | patient | decision | reviewed_at
            S1    | P1      | refer    | 2024-06-01
        """,
    )
    expect(asked, "flagged", "rank | study | known_elsewhere\n1 | S3 | no\n2 | S4 | no")


def test_a_rejected_study_leaves_alone() -> None:
    asked = catalogue(
        flags=FOUR,
        reviews="""
            study | patient | decision
            S1    | P1      | reject
        """,
    )
    expect(asked, "flagged", "rank | study | other_studies\n1 | S2 | 1\n2 | S4 | 0")


def test_a_decision_about_another_finding_changes_nothing() -> None:
    asked = catalogue(
        flags=FOUR,
        reviews="""
            study | patient | decision | finding
            S4    | P4      | confirm  | hip_fracture
        """,
    )
    expect(asked, "flagged", "rank | study | known_elsewhere\n1 | S1 | no\n2 | S4 | no")


def test_an_unflagged_study_is_not_on_the_list_and_its_history_stays() -> None:
    asked = catalogue(
        flags="""
            study | patient | probability | state     | flagged_at
            S1    | P1      | 0.9         | flagged   | 2024-06-01
            S1    | P1      | 0.4         | unflagged | 2024-06-02
        """
    )
    expect(asked, "flagged", "rank | study")
    expect(asked, "parts.flags", "study | state\nS1 | flagged\nS1 | unflagged")


def test_a_demonstration_model_says_so_in_every_row() -> None:
    asked = catalogue(
        flags="study | film | patient | probability\nS1 | F1 | P1 | 0.9",
        checkpoints="checkpoint | name | demonstration\ncheckpoint | demo | yes",
        heatmaps="film | heatmap_file\nF1 | abc.png",
    )
    expect(
        asked, "flagged",
        """
            rank | checkpoint_name | demonstration | heatmap
            1    | demo            | yes           | heatmaps/abc.png
        """,
    )  # fmt: skip


def test_names_with_quotes_and_sql_change_nothing_but_what_is_shown() -> None:
    nasty = "O'Brien\"); drop table x; --"
    asked = catalogue(
        flags=f"study | patient | probability\n{nasty} | {nasty} | 0.9",
        manifest=f"film | study | patient | accession\nF1 | {nasty} | {nasty} | {nasty}",
    )
    expect(asked, "flagged", f"rank | study | patient\n1 | {nasty} | {nasty}")
    expect(asked, "find_study", f"study\n{nasty}", key=nasty)


def test_one_accession_number_names_the_study_that_was_listed() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession
            F1   | S1    | A1
            F2   | S2    | A1
            F3   | S3    | A3
            F4   | S4    | A3
        """,
        flags="study | accession | probability\nS2 | A1 | 0.9",
    )
    expect(asked, "find_study", "study\nS2", key="A1")
    expect(asked, "find_study", "study\nS3\nS4", key="A3")
    expect(asked, "find_study", "study\nS4", key="S4")
    expect(asked, "find_study", "study", key="")


def test_the_reporting_rate_counts_likely_fractures_that_have_a_report() -> None:
    asked = catalogue(
        checkpoints="checkpoint\ncheckpoint",
        manifest="""
            film | study | date
            F1   | S1    | 2023-03-01
            F2   | S2    | 2024-03-01
            F3   | S3    | 2024-03-01
            F4   | S4    | 2024-03-01
        """,
        predictions="film | logit\nF1 | 2\nF2 | 2\nF3 | 2\nF4 | -2",
        reports="report | study\nR1 | S1\nR2 | S2\nR4 | S4",
        report_labels="report | status\nR1 | reported\nR2 | not_mentioned\nR4 | reported",
    )
    expect(
        asked, "reporting_rate",
        """
            study_year | likely_studies | reported | not_mentioned | reporting_rate
                       | 2              | 1        | 1             | 0.5
            2023       | 1              | 1        | 0             | 1
            2024       | 1              | 0        | 1             | 0
        """,
        finding=VF, threshold=0.5,
    )  # fmt: skip


def test_the_worklist_is_the_top_of_the_unreported_list_with_its_reports() -> None:
    given = {
        "flags": """
            study | film | patient | probability | status
            S1    | F1   | P1      | 0.9         | denied
            S2    | F2   | P2      | 0.8         | denied
            S3    | F3   | P3      | 0.99        | no_report
        """,
        "manifest": "film | study\nF1 | S1\nF2 | S2\nF3 | S3",
        "reports": """
            report | study | text          | report_datetime
            R1     | S1    | No fracture.  | 2024-03-02
            R0     | S1    | Preliminary.  | 2024-03-01
            R2     | S2    | Not shown.    | 2024-03-01
        """,
    }
    asked = catalogue(**given)
    expect(asked, "worklist", "rank | study\n1 | S1", capacity=1)
    expect(
        asked, "worklist_reports",
        """
            study | text
            S1    | Preliminary.
            S1    | No fracture.
        """,
        capacity=1,
    )  # fmt: skip
    expect(
        asked, "to_explain",
        """
            list       | rank | film
            unreported | 1    | F1
            no_report  | 1    | F3
        """,
        capacity=1,
    )  # fmt: skip


def test_the_funnel_accounts_for_every_instance() -> None:
    given = SCREENED | {
        "manifest": """
            film | study | eligible | exclusion_reason | failure_reason
            F1   | S1    | yes      |                  |
            F2   | S1    | yes      |                  |
            F3   | S3    | yes      |                  |
            F4   | S3    | no       | view             |
            F5   | S3    | no       |                  | truncated
        """
    }
    expect(
        catalogue(**given, flags=LISTED), "screening_funnel",
        """
            step             | reason     | total
            found            |            | 5
            excluded         | view       | 1
            unreadable       | truncated  | 1
            eligible         |            | 3
            screened         |            | 3
            studies_screened | no_report  | 2
            studies_not_flagged | below_threshold | 1
            studies_flagged  | no_report  | 1
            patients_waiting | no_report  | 1
        """,
    )  # fmt: skip
