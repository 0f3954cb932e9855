"""What is screened tonight; one situation a test."""

from spec_tables import catalogue, expect

BOUND = {"model_sha256": "model", "transient_nights": 3, "archive_roots": ["/archive"]}

THREE = """
    film | study | date       | archive_path
    F1   | S1    | 2022-01-01 | a/1
    F2   | S2    | 2024-01-01 | b/2
    F3   | S3    |            | c/3
"""


def test_the_newest_study_comes_first_and_an_undated_one_last() -> None:
    expect(catalogue(manifest=THREE), "to_screen", "film\nF2\nF1\nF3", **BOUND)


def test_a_screened_film_is_done_until_its_content_or_the_model_changes() -> None:
    asked = catalogue(
        manifest="""
            film | study | archive_path | content
            F1   | S1    | a            | v1
            F2   | S2    | b            | v2
            F3   | S3    | c            | v1
        """,
        predictions="""
            film | logit | content | model
            F1   | 1     | v1      | model
            F2   | 1     | v1      | model
            F3   | 1     | v1      | older
        """,
    )
    expect(asked, "to_screen", "film\nF2\nF3", **BOUND)


def test_a_permanent_failure_is_done_and_a_transient_one_is_tried_on_three_nights() -> None:
    asked = catalogue(
        manifest="""
            film | study | archive_path
            F1   | S1    | a
            F2   | S2    | b
            F3   | S3    | c
        """,
        failures="""
            film | transient | run_id
            F1   | no        | night-1
            F2   | yes       | night-1
            F2   | yes       | night-2
            F3   | yes       | night-1
            F3   | yes       | night-2
            F3   | yes       | night-3
        """,
    )
    expect(asked, "to_screen", "film\nF2", **BOUND)


def test_two_transient_failures_in_one_night_are_one_try() -> None:
    asked = catalogue(
        manifest="film | study\nF1 | S1",
        failures="""
            film | transient | run_id
            F1   | yes       | night-1
            F1   | yes       | night-1
            F1   | yes       | night-1
        """,
    )
    expect(asked, "to_screen", "film\nF1", **BOUND)


def test_a_failed_heatmap_does_not_keep_a_film_from_being_screened() -> None:
    asked = catalogue(
        manifest="film | study\nF1 | S1",
        failures="film | stage | transient\nF1 | explain | no",
    )
    expect(asked, "to_screen", "film\nF1", **BOUND)


def test_only_the_archives_asked_for_are_planned_and_a_copy_is_screened_once() -> None:
    asked = catalogue(
        manifest="""
            film | study | archive_root | archive_path
            F1   | S1    | /archive     | a
            F1   | S1    | /archive     | z-copy
            F2   | S2    | /elsewhere   | a
        """
    )
    expect(asked, "to_screen", "film | archive_path\nF1 | a", **BOUND)


def test_a_file_rescanned_counts_as_it_is_now() -> None:
    asked = catalogue(
        manifest="""
            film | study | archive_path | eligible | scanned_at
            F1   | S1    | a            | yes      | 2024-06-01
            F1   | S1    | a            | no       | 2024-06-02
            F2   | S2    | b            | no       | 2024-06-01
            F2   | S2    | b            | yes      | 2024-06-02
        """
    )
    expect(asked, "manifest", "archive_path | eligible\na | no\nb | yes")
    expect(asked, "to_screen", "film\nF2", **BOUND)


def test_an_instance_in_two_places_is_one_instance_the_eligible_copy() -> None:
    asked = catalogue(
        manifest="""
            film | study | archive_path | eligible | exclusion_reason
            F1   | S1    | a            | no       | duplicate
            F1   | S1    | b            | yes      |
        """
    )
    expect(asked, "instances", "film | archive_path | eligible\nF1 | b | yes")


def test_a_film_without_a_study_uid_is_a_study_of_its_own() -> None:
    asked = catalogue(manifest="film | study\nF1 |\nF2 | ''")
    expect(asked, "instances", "film | study\nF1 | F1\nF2 | F2")
    expect(asked, "studies", "study\nF1\nF2")


def test_failures_tell_the_last_reason_and_how_often_it_was_tried() -> None:
    asked = catalogue(
        failures="""
            instance_key | film | reason         | run_id  | failed_at
            k1           | F1   | decode_timeout | night-1 | 2024-06-01
            k1           | F1   | lost_worker    | night-2 | 2024-06-02
            k2           | F2   | truncated      | night-2 | 2024-06-02
        """,
        predictions="film | logit | screened_at\nF2 | 1 | 2024-06-03",
    )
    expect(
        asked, "failures",
        """
            instance_key | reason      | nights_tried
            k1           | lost_worker | 2
            k2           | truncated   | 1
        """,
    )  # fmt: skip
    # What was screened since is no longer a failure to mend.
    expect(asked, "failures_by_reason", "reason | instances\nlost_worker | 1")
