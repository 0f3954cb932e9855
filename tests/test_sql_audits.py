"""What is drawn for an audit, and what its readers make of it; one situation a test."""

from datetime import date

import pytest
from spec_tables import catalogue, expect

from vfscreen.results.audits import Plan, population
from vfscreen.results.sql import ask

SCREENED = {
    "manifest": """
        film | study | accession | patient | date
        F1   | S1    | A1        | P1      | 2024-01-01
        F2   | S2    | A2        | P2      | 2024-02-01
        F3   | S3    | A3        | P3      | 2024-03-01
        F4   | S4    | A4        | P4      | 2024-04-01
        F5   | S5    | A5        | P5      |
        F6   | S1    | A1        | P1      | 2024-01-01
    """,
    "predictions": """
        film | logit
        F1   | -1
        F2   | 0
        F3   | 0.5
        F4   | -2
        F5   | -3
        F6   | 2
    """,
    "checkpoints": """
        finding            | threshold
        vertebral_fracture | 0.5
    """,
    "reports": """
        report | accession
        R1     | A1
        R2     | A2
        R4     | A4
    """,
    "report_labels": """
        report | status
        R1     | reported
        R2     | not_mentioned
        R4     | not_mentioned
    """,
}


def plan(since=None, until=None, seed=1):
    return Plan("audit-1", "vertebral_fracture", 0.5, since, until, "equal", seed)


def sizes(studies):
    return {(s.above, s.report_status): s.studies for s in studies.strata}


def test_strata_are_the_side_of_the_threshold_by_what_the_report_says():
    # A study counts with its most suspicious film; one at the threshold is above it.
    with population(catalogue(**SCREENED), plan()) as studies:
        assert sizes(studies) == {
            (True, "reported"): 1,
            (True, "not_mentioned"): 1,
            (True, "no_report"): 1,
            (False, "not_mentioned"): 1,
            (False, "no_report"): 1,
        }
        assert studies.undated == 0


def test_a_period_holds_both_its_days_and_counts_what_has_no_date():
    with population(
        catalogue(**SCREENED), plan(since=date(2024, 2, 1), until=date(2024, 3, 1))
    ) as studies:
        assert sizes(studies) == {(True, "not_mentioned"): 1, (True, "no_report"): 1}
        assert studies.undated == 1


def test_a_drawn_study_keeps_how_likely_it_was_to_be_drawn():
    with population(catalogue(**SCREENED), plan()) as studies:
        rows = studies.draw([1, 1, 1, 1, 1]).to_pylist()
    assert sorted(row["reading_number"] for row in rows) == [1, 2, 3, 4, 5]
    assert {row["inclusion_probability"] for row in rows} == {1.0}
    first = next(row for row in rows if row["study_instance_uid"] == "S1")
    assert (first["films"], first["accession_number"], first["above"]) == (2, "A1", True)
    assert (first["threshold"], first["seed"]) == (0.5, 1)


def many(studies):
    lines = [f"F{n} | S{n}" for n in range(studies)]
    logits = [f"F{n} | {1 if n < studies / 4 else -1}" for n in range(studies)]
    return catalogue(
        manifest="\n".join(["film | study", *lines]),
        predictions="\n".join(["film | logit", *logits]),
        checkpoints=SCREENED["checkpoints"],
    )


def drawn(asked, sampled, seed):
    with population(asked, plan(seed=seed)) as studies:
        return studies.draw(sampled).to_pylist()


def test_the_same_seed_draws_the_same_studies_and_a_larger_sample_holds_the_smaller():
    asked = many(200)
    few = [row["study_instance_uid"] for row in drawn(asked, [10, 20], 7)]
    assert few == [row["study_instance_uid"] for row in drawn(asked, [10, 20], 7)]
    assert set(few) < {row["study_instance_uid"] for row in drawn(asked, [20, 40], 7)}
    assert set(few) != {row["study_instance_uid"] for row in drawn(asked, [10, 20], 8)}


def test_every_study_of_a_stratum_is_as_likely_to_be_drawn_and_the_order_tells_nothing():
    asked = many(40)
    times, above_first = dict.fromkeys((f"S{n}" for n in range(40)), 0), 0
    strata = {
        "above": [True, False],
        "report_status": ["no_report", "no_report"],
        "studies": [10, 30],
        "sampled": [5, 6],
    }
    with population(asked, plan()):
        for seed in range(300):
            rows = ask(asked, "audit_draw", seed=seed, **strata).to_pylist()
            above_first += rows[0]["above"]
            for row in rows:
                times[row["study_instance_uid"]] += 1
    # 300 draws of 5 in 10, and of 6 in 30: 150 and 60 times each, give or take four deviations.
    assert all(115 < times[f"S{n}"] < 185 for n in range(10))
    assert all(32 < times[f"S{n}"] < 88 for n in range(10, 40))
    assert 100 < above_first < 175  # 5 in 11


DRAWN = """
    audit_id | study | above | status        | stratum_studies | stratum_sampled
    audit-1  | S1    | yes   | not_mentioned | 10              | 2
    audit-1  | S2    | yes   | not_mentioned | 10              | 2
    audit-1  | S3    | no    | reported      | 1               | 1
"""


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param(
            """
            audit_id | study | reader | reading
            audit-1  | S1    | a      | yes
            audit-1  | S2    | a      | no
            """,
            "study | reading | disagree\nS1 | yes | no\nS2 | no | no\nS3 | | no",
            id="one reader is believed, and what nobody read stays open",
        ),
        pytest.param(
            """
            audit_id | study | reader | reading
            audit-1  | S1    | a      | yes
            audit-1  | S1    | b      | no
            audit-1  | S2    | a      | yes
            audit-1  | S2    | b      | unclear
            """,
            "study | reading | disagree\nS1 | unclear | yes\nS2 | unclear | yes\nS3 | | no",
            id="two readers who differ leave a study unclear",
        ),
        pytest.param(
            """
            audit_id | study | reader    | reading
            audit-1  | S1    | a         | yes
            audit-1  | S1    | b         | no
            audit-1  | S1    | c         | yes
            audit-1  | S2    | a         | yes
            audit-1  | S2    | b         | yes
            audit-1  | S2    | consensus | no
            """,
            "study | reading | disagree\nS1 | yes | yes\nS2 | no | no\nS3 | | no",
            id="more than half decide, and a consensus before them",
        ),
        pytest.param(
            """
            audit_id | study | reader | reading | imported_at
            audit-1  | S1    | a      | yes     | 2024-06-02
            audit-1  | S1    | a      | no      | 2024-06-01
            """,
            "study | reading | readers\nS1 | yes | 1\nS2 | | 0\nS3 | | 0",
            id="a reader's last word counts",
        ),
        pytest.param(
            """
            audit_id | study | reader | reading
            audit-2  | S1    | a      | yes
            """,
            "study | reading\nS1 |\nS2 |\nS3 |",
            id="a reading belongs to its own audit",
        ),
    ],
)
def test_readings_of_a_study(readings, expected):
    expect(catalogue(audits=DRAWN, audit_readings=readings), "audited_studies", expected)


READ = """
    audit_id | study | reader | reading
    audit-1  | S1    | a      | yes
    audit-1  | S2    | a      | yes
    audit-1  | S2    | b      | no
"""


def test_counts_of_a_stratum_add_up_to_what_was_drawn():
    expect(
        catalogue(audits=DRAWN, audit_readings=READ), "audit_counts",
        """
            above | status        | studies | sampled | with_finding | without | unclear | unread
            yes   | not_mentioned | 10      | 2       | 1            | 0       | 1       | 0
            no    | reported      | 1       | 1       | 0            | 0       | 0       | 1
        """,
        audit_id="audit-1",
    )  # fmt: skip


def test_progress_of_an_audit():
    expect(
        catalogue(audits=DRAWN, audit_readings=READ, checkpoints=SCREENED["checkpoints"]),
        "audit_progress",
        """
            audit_id | drawn | clear | unclear | unread | read_twice | disagreeing | checkpoint_name
            audit-1  | 3     | 1     | 1       | 1      | 1          | 1           | test model
        """,
    )
