"""Eligibility: one situation a row; an abdominal DX film of a 70-year-old but for what it says."""

from dataclasses import replace
from typing import Any

import pytest

from vfscreen.archive.eligibility import ExclusionReason, eligibility_sha256, exclusion
from vfscreen.archive.header import Header
from vfscreen.config import EligibilityConfig

DEFAULT = EligibilityConfig()
FILM = Header(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
    modality="DX",
    body_part_examined="ABDOMEN",
    view_position="AP",
    patient_age_years=70,
    rows=2500,
    columns=2000,
    image_type=("DERIVED", "PRIMARY"),
    presentation_intent_type="FOR PRESENTATION",
)


def judged(config: EligibilityConfig = DEFAULT, **changes: Any) -> str:
    reason = exclusion(replace(FILM, **changes), config)
    return reason.value if reason else "eligible"


def cases(table: str) -> list[tuple[str, str, str, str, str]]:
    """Rows of `given | study | series | protocol | expected`; `-` is a missing element."""
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [tuple(row) for row in rows if "---" not in row[0]][1:]  # type: ignore[misc]


def known(cell: str) -> str | None:
    return None if cell == "-" else cell


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "eligible"),
        ({"modality": "CR"}, "eligible"),
        ({"modality": "dx"}, "eligible"),
        ({"modality": "CT"}, "modality"),
        ({"modality": None}, "modality"),
        ({"rows": None}, "not_an_image"),
        ({"columns": 0}, "not_an_image"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.11"}, "not_an_image"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.104.1"}, "not_an_image"),
        ({"sop_class_uid": "1.2.840.10008.1.3.10"}, "not_an_image"),
        ({"patient_age_years": 50}, "eligible"),
        ({"patient_age_years": 49}, "under_age"),
        ({"patient_age_years": 0}, "under_age"),
        ({"patient_age_years": None}, "eligible"),
        ({"rows": 512, "columns": 512}, "eligible"),
        ({"columns": 511}, "too_small"),
        ({"image_type": ("DERIVED", "SECONDARY")}, "secondary"),
        ({"image_type": ("ORIGINAL", "secondary", "X")}, "secondary"),
        ({"image_type": ("SECONDARY",)}, "eligible"),
        ({"image_type": None}, "eligible"),
        ({"presentation_intent_type": "FOR PROCESSING"}, "for_processing"),
        ({"presentation_intent_type": None}, "eligible"),
    ],
)
def test_one_reason_at_a_time(changes: dict[str, Any], expected: str) -> None:
    assert judged(**changes) == expected


def test_the_first_reason_in_order_wins() -> None:
    """Everything is wrong; put right one by one, each next reason shows, in the design's order."""
    wrong: dict[str, Any] = {
        "rows": None,
        "modality": "CT",
        "body_part_examined": "CHEST",
        "view_position": "LL",
        "patient_age_years": 10,
        "image_type": ("DERIVED", "SECONDARY"),
        "presentation_intent_type": "FOR PROCESSING",
    }
    order = [judged(**wrong)]
    for name, right in [("rows", 100), ("modality", "CR"), ("body_part_examined", "ABDOMEN"),
                        ("view_position", "AP"), ("patient_age_years", 60), ("rows", 600),
                        ("image_type", None), ("presentation_intent_type", None)]:  # fmt: skip
        wrong[name] = right
        order.append(judged(**wrong))

    assert order == [
        "not_an_image", "modality", "body_part", "view", "under_age", "too_small", "secondary",
        "for_processing", "eligible",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "study", "series", "protocol", "expected"),
    cases("""
        BodyPartExamined  | study              | series     | protocol | expected
        ------------------------------------------------------------------------
        ABDOMEN           | -                  | -          | -        | eligible
        abdomen           | -                  | -          | -        | eligible
        ABDOMEN_AP        | -                  | -          | -        | eligible
        KUB               | -                  | -          | -        | eligible
        腹部              | -                  | -          | -        | eligible
        CHEST             | -                  | -          | -        | body_part
        CHEST             | ABDOMEN            | ABDOMEN    | KUB      | body_part
        LSPINE            | -                  | -          | -        | body_part
        GALLBLADDER       | -                  | -          | -        | body_part
        -                 | -                  | -          | -        | body_part
        -                 | XR ABDOMEN 1 VIEW  | -          | -        | eligible
        -                 | -                  | Abdomen.   | -        | eligible
        -                 | -                  | -          | KUB/AP   | eligible
        -                 | 腹部立位正面       | -          | -        | eligible
        -                 | XR-ＡＢＤＯＭＥＮ  | -          | -        | eligible
        -                 | CHEST PA           | PA         | -        | body_part
        -                 | ABDUCTION SHOULDER | -          | -        | body_part
        UNKNOWN           | XR ABDOMEN         | -          | -        | eligible
        OTHER             | CHEST              | -          | -        | body_part
        ***               | KUB                | -          | -        | eligible
    """),
)
def test_body_part(given: str, study: str, series: str, protocol: str, expected: str) -> None:
    assert expected == judged(
        body_part_examined=known(given),
        study_description=known(study),
        series_description=known(series),
        protocol_name=known(protocol),
    )


@pytest.mark.parametrize(
    ("region", "expected"),
    [("T-D4000 Abdomen", "eligible"), ("T-D3000 Chest", "body_part"), (None, "body_part")],
)
def test_the_anatomic_region_says_what_the_body_part_does_not(
    region: str | None, expected: str
) -> None:
    assert judged(body_part_examined=None, anatomic_region=region) == expected


@pytest.mark.parametrize(
    ("given", "study", "series", "protocol", "expected"),
    cases("""
        ViewPosition | study                    | series             | protocol | expected
        --------------------------------------------------------------------------------
        AP           | -                        | -                  | -        | eligible
        LL           | -                        | -                  | -        | view
        lateral      | -                        | -                  | -        | view
        LLD          | -                        | -                  | -        | view
        LEFT LATERAL | -                        | -                  | -        | view
        AP           | ABDOMEN AP AND LATERAL   | LATERAL            | -        | eligible
        -            | -                        | -                  | -        | eligible
        -            | -                        | ABDOMEN LATERAL    | -        | view
        -            | -                        | Abdomen (decub.)   | -        | view
        -            | -                        | -                  | LAT      | view
        -            | -                        | BILATERAL          | -        | eligible
        -            | -                        | COLLATERAL         | -        | eligible
        -            | -                        | 腹部側位           | -        | view
        -            | ABDOMEN LATERAL          | -                  | -        | view
        -            | ABDOMEN LATERAL          | ABDOMEN            | -        | view
        -            | ABDOMEN LATERAL          | AP SUPINE          | -        | eligible
        -            | ABDOMEN SUPINE AND DECUB | -                  | -        | eligible
        -            | ABDOMEN SUPINE AND DECUB | LEFT DECUBITUS AP  | -        | view
        UNKNOWN      | -                        | CROSS-TABLE        | -        | view
    """),
)
def test_view(given: str, study: str, series: str, protocol: str, expected: str) -> None:
    assert expected == judged(
        view_position=known(given),
        study_description=known(study),
        series_description=known(series),
        protocol_name=known(protocol),
    )


def test_the_view_code_says_what_the_view_position_does_not() -> None:
    assert judged(view_position=None, view_code="R-10236 left lateral") == "view"
    assert judged(view_position=None, view_code="R-10206 antero-posterior") == "eligible"


@pytest.mark.parametrize(
    ("key", "changes", "expected"),
    [
        ({"allow_unknown_age": False}, {"patient_age_years": None}, "under_age"),
        ({"allow_unknown_view": False}, {"view_position": None}, "view"),
        (
            {"allow_unknown_view": False},
            {"view_position": None, "series_description": "ABDOMEN AP"},
            "eligible",
        ),
        ({"allow_unknown_body_part": True}, {"body_part_examined": None}, "eligible"),
        ({"allow_unknown_body_part": True}, {"body_part_examined": "CHEST"}, "body_part"),
        ({"min_age_years": 40}, {"patient_age_years": 45}, "eligible"),
        ({"min_short_side_px": 100}, {"rows": 128}, "eligible"),
        ({"modalities": ("RG",)}, {"modality": "RG"}, "eligible"),
        ({"body_parts": ("ABDOMINAL",)}, {"body_part_examined": "Abdominal"}, "eligible"),
        ({"body_parts": ("",)}, {"body_part_examined": "CHEST"}, "body_part"),
    ],
)
def test_the_configuration_decides(
    key: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    assert judged(EligibilityConfig(**key), **changes) == expected


def test_the_hash_changes_with_the_rules_only() -> None:
    assert eligibility_sha256(EligibilityConfig()) == eligibility_sha256(EligibilityConfig())
    assert eligibility_sha256(EligibilityConfig()) != eligibility_sha256(
        EligibilityConfig(min_age_years=51)
    )


def test_every_reason_has_its_state_name() -> None:
    assert [reason.value for reason in ExclusionReason] == [
        "not_dicom", "not_an_image", "modality", "body_part", "view", "under_age", "too_small",
        "secondary", "for_processing", "duplicate", "vanished",
    ]  # fmt: skip
