"""What the reports of a study say together; one clinical situation a test."""

from spec_tables import catalogue, expect

ONE_STUDY = """
    film | study | accession | accession_issuer | patient | patient_issuer | date
    F1   | S1    | A1        | RIS              | P1      | HOSP           | 2024-03-01
"""


def test_a_report_with_the_study_uid_is_matched_by_it_before_its_accession_number() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer
            F1   | S1    | A1        | RIS
            F2   | S2    | A2        | RIS
        """,
        reports="""
            report | study | accession | issuer
            R1     | S2    | A1        | RIS
        """,
    )
    expect(
        asked, "study_reports",
        """
            report | study | matched_by
            R1     | S2    | study_instance_uid
        """,
    )  # fmt: skip


def test_a_study_uid_that_is_not_in_the_archive_falls_back_to_the_accession_number() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | study | accession | issuer
            R1     | other | A1        | RIS
        """,
    )
    expect(
        asked, "study_reports",
        """
            report | study | matched_by
            R1     | S1    | accession_number
        """,
    )  # fmt: skip


def test_a_structured_report_in_a_study_of_its_own_belongs_to_the_film_of_its_order() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | modality | eligible
            F1   | S1    | A1        | DX       | yes
            SR1  | own   | A1        | SR       | no
            SR2  | alone | A2        | SR       | no
        """,
        reports="""
            report | study | accession
            SR1    | own   | A1
            R1     |       | A1
            SR2    | alone | A2
        """,
    )
    expect(
        asked, "study_reports",
        """
            report | study | matched_by
            SR1    | S1    | accession_number
            R1     | S1    | accession_number
        """,
    )  # fmt: skip
    expect(
        asked, "unmatched_reports",
        """
            report | reason
            SR2    | study_not_in_archive
        """,
    )  # fmt: skip


def test_the_same_accession_number_of_another_issuer_is_another_order() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer
            F1   | S1    | A1        | NORTH
            F2   | S2    | A1        | SOUTH
        """,
        reports="""
            report | accession | issuer
            R1     | A1        | SOUTH
            R2     | A1        | EAST
        """,
    )
    expect(
        asked, "study_reports",
        """
            report | study
            R1     | S2
        """,
    )  # fmt: skip


def test_a_report_without_issuer_counts_only_where_one_study_has_its_accession_number() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer
            F1   | S1    | A1        | NORTH
            F2   | S2    | A1        | SOUTH
            F3   | S3    | A3        | NORTH
            F4   | S4    | A4        |
        """,
        reports="""
            report | accession | issuer
            R1     | A1        |
            R3     | A3        |
            R4     | A4        | NORTH
        """,
    )
    expect(
        asked, "study_reports",
        """
            report | study
            R3     | S3
            R4     | S4
        """,
    )  # fmt: skip


def test_empty_accession_numbers_match_nothing() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession
            F1   | S1    | ''
            F2   | S2    |
        """,
        reports="""
            report | accession
            R1     | ''
            R2     |
        """,
    )
    expect(asked, "study_reports", "report | study")


def test_the_strongest_mention_of_several_reports_counts() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-02      | final
            R3     | A1        | RIS    | 2024-03-03      | final
        """,
        report_labels="""
            report | status        | levels
            R1     | ambiguous     | L2
            R2     | uncertain     | T12,L1
            R3     | not_mentioned |
        """,
    )
    expect(
        asked, "study_report_status",
        """
            study | finding            | status    | levels    | report_ids | latest_report_at
            S1    | vertebral_fracture | uncertain | L1,L2,T12 | R1,R2,R3   | 2024-03-03
        """,
    )  # fmt: skip


def test_an_addendum_that_names_the_fracture_overrides_a_report_that_denied_it() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-05      | addendum
        """,
        report_labels="""
            report | status
            R1     | denied
            R2     | reported
        """,
    )
    expect(
        asked, "study_report_status",
        """
            study | status   | report_ids
            S1    | reported | R2
        """,
    )  # fmt: skip


def test_a_correction_that_denies_the_fracture_overrides_the_report_that_named_it() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-02      | corrected
        """,
        report_labels="""
            report | status
            R1     | reported
            R2     | denied
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | denied")


def test_an_addendum_about_something_else_changes_nothing() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-05      | addendum
        """,
        report_labels="""
            report | status
            R1     | reported
            R2     | not_mentioned
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | reported")


def test_a_report_after_the_addendum_is_heard_again() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-02      | addendum
            R3     | A1        | RIS    | 2024-03-03      | final
        """,
        report_labels="""
            report | status
            R1     | reported
            R2     | denied
            R3     | uncertain
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | uncertain")


def test_an_addendum_without_a_time_comes_last() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    |                 | addendum
        """,
        report_labels="""
            report | status
            R1     | reported
            R2     | denied
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | denied")


def test_a_later_version_of_a_report_replaces_the_earlier_one_and_both_are_kept() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | content_sha256
            R1     | A1        | RIS    | 2024-03-01      | text-1
            R1     | A1        | RIS    | 2024-03-02      | text-2
        """,
        report_labels="""
            report | content_sha256 | status
            R1     | text-1         | reported
            R1     | text-2         | denied
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | denied")
    expect(asked, "parts.reports", "report | content_sha256\nR1 | text-1\nR1 | text-2")


def test_an_old_export_imported_again_does_not_bring_the_old_version_back() -> None:
    asked = catalogue(
        reports="""
            report | report_datetime | content_sha256 | imported_at
            R1     | 2024-03-02      | text-2         | 2024-03-03
            R1     | 2024-03-01      | text-1         | 2024-03-04
        """,
    )
    expect(asked, "reports", "report | content_sha256\nR1 | text-2")


def test_a_cancelled_report_is_gone() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status | content_sha256
            R1     | A1        | RIS    | 2024-03-01      | final         | text-1
            R1     | A1        | RIS    | 2024-03-02      | cancelled     | text-2
        """,
        report_labels="""
            report | status
            R1     | reported
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | no_report")


def test_a_report_that_no_lexicon_has_read_is_no_report_for_the_finding() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer
            R1     | A1        | RIS
        """,
        checkpoints="""
            finding
            hip_fracture
        """,
    )
    expect(asked, "study_report_status", "finding | status\nhip_fracture | no_report")


def test_a_relabelled_report_counts_with_its_last_label() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer
            R1     | A1        | RIS
        """,
        report_labels="""
            report | status        | labelled_at
            R1     | reported      | 2024-03-02
            R1     | not_mentioned | 2024-03-01
        """,
    )
    expect(asked, "study_report_status", "study | status\nS1 | reported")


def test_a_fracture_in_the_history_section_is_known_but_not_reported() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer
            R1     | A1        | RIS
        """,
        report_labels="""
            report | status        | history
            R1     | not_mentioned | yes
        """,
    )
    expect(asked, "study_report_status", "study | status | history\nS1 | not_mentioned | yes")
    expect(asked, "known_elsewhere", "study | known_by\nS1 | history")


TWO_STUDIES = """
    film | study | accession | accession_issuer | patient | patient_issuer | date
    F1   | S1    | A1        | RIS              | P1      | HOSP           | 2019-01-15
    F2   | S2    | A2        | RIS              | P1      | HOSP           | 2024-01-15
"""


def test_a_fracture_reported_five_years_earlier_is_known_at_the_later_film() -> None:
    asked = catalogue(
        manifest=TWO_STUDIES,
        reports="""
            report | accession | issuer | report_datetime
            R1     | A1        | RIS    | 2019-01-16
        """,
        report_labels="""
            report | status
            R1     | reported
        """,
    )
    # S1 itself has it in its own report, which is not elsewhere.
    expect(asked, "known_elsewhere", "study | known_by\nS2 | report")


def test_a_fracture_reported_before_the_look_back_is_forgotten() -> None:
    asked = catalogue(
        manifest=TWO_STUDIES,
        reports="""
            report | accession | issuer | report_datetime
            R1     | A1        | RIS    | 2019-01-16
        """,
        report_labels="""
            report | status
            R1     | reported
        """,
        settings="""
            lookback_before_days
            365
        """,
    )
    expect(asked, "known_elsewhere", "study | known_by")


def test_a_fracture_reported_within_a_year_after_the_film_is_known_too() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer | patient | date
            F1   | S1    | A1        | RIS              | P1      | 2024-01-15
            F2   | S2    | A2        | RIS              | P1      | 2022-01-15
            F3   | S3    | A3        | RIS              | P1      | 2024-12-01
        """,
        reports="""
            report | accession | issuer | report_datetime
            R3     | A3        | RIS    | 2024-12-02
        """,
        report_labels="""
            report | status
            R3     | reported
        """,
    )
    expect(asked, "known_elsewhere", "study | known_by\nS1 | report")


def test_a_ct_report_without_a_film_is_the_patients_by_id_and_issuer() -> None:
    asked = catalogue(
        manifest="""
            film | study | patient | patient_issuer | date
            F1   | S1    | P1      | NORTH          | 2024-01-15
            F2   | S2    | P1      | SOUTH          | 2024-01-15
            F3   | S3    | P3      | NORTH          | 2024-01-15
        """,
        reports="""
            report | accession | patient | issuer | report_datetime
            R1     | CT-1      | P1      | NORTH  | 2023-12-01
            R2     | CT-2      | P1      |        | 2023-12-01
            R3     | CT-3      | P3      |        | 2023-12-01
        """,
        report_labels="""
            report | status
            R1     | reported
            R2     | reported
            R3     | reported
        """,
    )
    # R2 names a patient id that two patients have, and no issuer.
    expect(
        asked, "known_elsewhere",
        """
            study | known_by
            S1    | report
            S3    | report
        """,
    )  # fmt: skip


def test_unknown_patients_do_not_share_reports() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer | patient | date
            F1   | S1    | A1        | RIS              | ''      | 2024-01-15
            F2   | S2    | A2        | RIS              | ''      | 2024-01-20
        """,
        reports="""
            report | accession | issuer | patient | report_datetime
            R1     | A1        | RIS    | ''      | 2024-01-16
        """,
        report_labels="""
            report | status
            R1     | reported
        """,
    )
    expect(asked, "known_elsewhere", "study | known_by")


def test_a_confirmed_fracture_is_known_at_the_patients_other_studies() -> None:
    asked = catalogue(
        manifest=TWO_STUDIES,
        reviews="""
            study | patient | patient_issuer | decision
            S1    | P1      | HOSP           | confirm
        """,
    )
    expect(asked, "known_elsewhere", "study | known_by\nS1 | review\nS2 | review")


def test_a_rejected_study_says_nothing_about_the_patient() -> None:
    asked = catalogue(
        manifest=TWO_STUDIES,
        reviews="""
            study | patient | patient_issuer | decision
            S1    | P1      | HOSP           | reject
        """,
    )
    expect(asked, "known_elsewhere", "study | known_by")


def test_a_report_over_several_studies_belongs_to_each_of_them() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer
            F1   | S1    | A1        | RIS
            F2   | S2    | A2        | RIS
            F3   | S3    | A3        | RIS
            F4   | S4    | A3        | RIS
            F5   | S5    | A1        | OTHER
        """,
        reports="""
            report | study | accession | issuer | also_accession_numbers | also_study_instance_uids
            R1     |       | A1        | RIS    | A2,A1,A9,              |
            R2     | S1    | A1        | RIS    | A1                     | S2,S1,S9
            R3     | S2    |           |        | A3                     | S3
            R4     | S9    | A3        | RIS    |                        | S3
        """,
    )
    # S4 shares its order with S3, which R3 and R4 name by its UID.
    expect(
        asked, "study_reports",
        """
            report | study | matched_by
            R1     | S1    | accession_number
            R1     | S2    | accession_number
            R2     | S1    | study_instance_uid
            R2     | S2    | study_instance_uid
            R3     | S2    | study_instance_uid
            R3     | S3    | study_instance_uid
            R4     | S3    | study_instance_uid
        """,
    )  # fmt: skip
    expect(asked, "unmatched_reports", "report")


BY_DAY = """
    film | study | patient | patient_issuer | date       | modality | eligible
    F1   | S1    | P1      | NORTH          | 2024-03-01 | DX       | yes
    F2   | S1    | P1      | NORTH          | 2024-03-01 | PR       | no
    F3   | S2    | P2      | NORTH          | 2024-03-01 | DX       | yes
    F4   | S3    | P2      | NORTH          | 2024-03-01 | DX       | no
    F5   | S4    | P3      | NORTH          | 2024-03-01 | CR       | yes
    F6   | S5    | P3      | SOUTH          | 2024-03-05 | CR       | yes
    F7   | S6    | P4      |                | 2024-03-01 | DX       | yes
    F8   | S7    | ''      | NORTH          | 2024-03-01 | DX       | yes
"""
NAMELESS = """
    report | patient | patient_issuer | date       | modality | accession
    R1     | P1      | NORTH          | 2024-03-01 | dx       | ''
    R2     | P2      | NORTH          | 2024-03-01 | DX       |
    R3     | P3      |                | 2024-03-01 | CR       |
    R4     | P3      | NORTH          | 2024-03-01 | CR       |
    R5     | P4      | EAST           | 2024-03-01 | DX       |
    R6     | P1      | SOUTH          | 2024-03-01 | DX       |
    R7     | P1      | NORTH          | 2024-03-02 | DX       |
    R8     | P1      | NORTH          | 2024-03-01 | CR       |
    R9     | ''      | NORTH          | 2024-03-01 | DX       |
    R10    | P1      | NORTH          | 2024-03-01 | DX       | A-unknown
"""


def test_a_report_that_names_no_study_is_matched_by_patient_and_day_only_where_one_fits() -> None:
    asked = catalogue(
        manifest=BY_DAY,
        reports=NAMELESS,
        settings="match_by_patient_and_date\nyes",
    )
    expect(
        asked, "study_reports",
        """
            report | study | matched_by
            R1     | S1    | patient_and_date
            R4     | S4    | patient_and_date
            R5     | S6    | patient_and_date
        """,
    )  # fmt: skip
    # R2: two studies, though one is not screened. R3: two patients of that id, and no issuer.
    expect(
        asked, "unmatched_reports",
        """
            report | reason
            R2     | patient_and_date_uncertain
            R3     | patient_and_date_uncertain
            R6     | patient_and_date_uncertain
            R7     | patient_and_date_not_in_archive
            R8     | patient_and_date_uncertain
            R9     | no_key
            R10    | study_not_in_archive
        """,
    )  # fmt: skip


def test_matching_by_patient_and_day_is_off_unless_switched_on() -> None:
    asked = catalogue(manifest=BY_DAY, reports=NAMELESS)
    expect(asked, "study_reports", "report | study")
    reasons = asked.sql("select reason, count(*) from unmatched_reports group by 1 order by 1")
    assert reasons.fetchall() == [
        ("no_key", 1), ("patient_and_date_off", 8), ("study_not_in_archive", 1),
    ]  # fmt: skip


def test_the_reason_tells_why_an_accession_number_of_the_archive_did_not_match() -> None:
    asked = catalogue(
        manifest="""
            film | study | accession | accession_issuer
            F1   | S1    | A1        | NORTH
            F2   | S2    | A1        | SOUTH
            F3   | S3    | A3        | NORTH
        """,
        reports="""
            report | accession | issuer | study | also_accession_numbers
            R1     | A1        |        |       |
            R2     | A1        | EAST   |       |
            R3     | A9        | NORTH  |       | A3
            R4     | A9        | EAST   | other | A3
            R5     |           |        | other |
        """,
    )
    expect(
        asked, "unmatched_reports",
        """
            report | reason
            R1     | accession_ambiguous
            R2     | accession_of_another_issuer
            R4     | accession_of_another_issuer
            R5     | study_not_in_archive
        """,
    )  # fmt: skip


def test_reports_without_an_archive_are_all_unmatched_and_an_archive_without_reports_has_none() -> (
    None
):
    asked = catalogue(reports="report | accession\nR1 | A1")
    expect(asked, "unmatched_reports", "report | reason\nR1 | study_not_in_archive")
    expect(catalogue(manifest=ONE_STUDY), "unmatched_reports", "report")


def test_a_replaced_report_is_gone_and_so_is_what_it_replaced_itself() -> None:
    asked = catalogue(
        reports="""
            report | replaces
            R1     |
            R2     | R1
            R3     | R2, R3
            R4     |
        """,
    )
    expect(asked, "reports", "report\nR3\nR4")
    expect(asked, "parts.reports", "report\nR1\nR2\nR3\nR4")


def test_a_cancelled_replacement_brings_the_report_back() -> None:
    asked = catalogue(
        reports="""
            report | replaces | result_status | report_datetime | content_sha256
            R1     |          | final         | 2024-03-01      | text-1
            R2     | R1       | final         | 2024-03-02      | text-1
            R2     | R1       | cancelled     | 2024-03-03      | text-2
        """,
    )
    expect(asked, "reports", "report\nR1")


def test_the_latest_version_decides_what_is_replaced() -> None:
    asked = catalogue(
        reports="""
            report | replaces | report_datetime | content_sha256
            R1     |          | 2024-03-01      | text-1
            R2     | R1       | 2024-03-02      | text-1
            R2     |          | 2024-03-03      | text-2
        """,
    )
    expect(asked, "reports", "report\nR1\nR2")


def test_reports_that_replace_each_other_in_a_circle_all_stand() -> None:
    asked = catalogue(
        reports="""
            report | replaces
            R1     | R3
            R2     | R1
            R3     | R2
            R4     | R4
            R5     | R6
            R6     | R5
            R7     | R6
        """,
    )
    # R7 stands outside its circle: what it replaces is gone, with all that this replaced.
    expect(asked, "reports", "report\nR1\nR2\nR3\nR4\nR7")


def test_a_draft_counts_until_a_report_is_signed() -> None:
    draft = """
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | preliminary
    """
    labels = "report | status\nR1 | reported\nR2 | not_mentioned"
    asked = catalogue(manifest=ONE_STUDY, reports=draft, report_labels=labels)
    expect(asked, "study_report_status", "study | status\nS1 | reported")
    signed = f"{draft}\n            R2     | A1        | RIS    |                 | final"
    asked = catalogue(manifest=ONE_STUDY, reports=signed, report_labels=labels)
    expect(
        asked, "study_report_status",
        """
            study | status        | report_ids | reports
            S1    | not_mentioned | R2         | 2
        """,
    )  # fmt: skip


def test_a_draft_made_after_the_signed_report_counts_beside_it() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-02      | preliminary
        """,
        report_labels="report | status\nR1 | denied\nR2 | uncertain",
    )
    expect(asked, "study_report_status", "study | status\nS1 | uncertain")


def test_an_addendum_dated_before_the_report_amends_it_all_the_same() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-05      | final
            R2     | A1        | RIS    | 2024-03-01      | addendum
            R3     | A1        | RIS    | 2024-03-06      | final
        """,
        report_labels="report | status\nR1 | reported\nR2 | denied\nR3 | ambiguous",
    )
    expect(asked, "study_report_status", "study | status | report_ids\nS1 | ambiguous | R2,R3")


def test_an_addendum_about_one_level_leaves_the_others_as_they_were_reported() -> None:
    asked = catalogue(
        manifest=ONE_STUDY,
        reports="""
            report | accession | issuer | report_datetime | result_status
            R1     | A1        | RIS    | 2024-03-01      | final
            R2     | A1        | RIS    | 2024-03-05      | addendum
        """,
        report_labels="""
            report | status    | levels
            R1     | reported  | L1
            R2     | uncertain | T12
        """,
    )
    expect(asked, "study_report_status", "study | status | levels\nS1 | reported | L1,T12")


def test_the_issuer_of_a_patient_goes_before_that_of_the_accession_number() -> None:
    asked = catalogue(
        manifest="""
            film | study | patient | patient_issuer | date
            F1   | S1    | P1      | NORTH          | 2024-01-15
            F2   | S2    | P1      | SOUTH          | 2024-01-15
        """,
        reports="""
            report | accession | patient | patient_issuer | issuer | report_datetime
            R1     | CT-1      | P1      | SOUTH          | NORTH  | 2023-12-01
        """,
        report_labels="report | status\nR1 | reported",
    )
    expect(asked, "known_elsewhere", "study | known_by\nS2 | report")
