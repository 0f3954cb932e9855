"""At which vertebrae a listed film looks suspicious; one situation a test."""

import pyarrow as pa
from spec_tables import catalogue

from vfscreen.results.levels import with_levels

VF = "vertebral_fracture"
LISTED = pa.table({"sop_instance_uid": ["F1", "F2"], "finding": [VF, VF]})
HEADS = """
    finding                | operating_point | threshold
    vertebral_fracture     | default         | 0.5
    vertebral_fracture_T12 | default         | 0.5
    vertebral_fracture_L1  | default         | 0.5
    vertebral_fracture_L1  | sensitive       | 0.1
    vertebral_fracture_L2  | default         | 0.9
    hip_fracture_L1        | default         | 0.1
"""


def levels(**given: str) -> list[list[tuple[str, float]]]:
    rows = with_levels(catalogue(**given), LISTED).to_pylist()
    return [[(at["level"], round(at["probability"], 2)) for at in row["levels"]] for row in rows]


# A logit of 2 is a probability of 0.88, of 0 one of 0.5, of -2 one of 0.12.
def test_levels_at_or_above_their_own_operating_point_are_told_likeliest_first() -> None:
    found = levels(
        checkpoints=HEADS,
        predictions="""
            film | finding                | logit
            F1   | vertebral_fracture     | 2
            F1   | vertebral_fracture_T12 | 0
            F1   | vertebral_fracture_L1  | 2
            F1   | vertebral_fracture_L2  | 2
            F1   | hip_fracture_L1        | 2
            F2   | vertebral_fracture     | 2
            F2   | vertebral_fracture_L1  | -2
            F3   | vertebral_fracture_L1  | 2
        """,
    )
    assert found == [[("L1", 0.88), ("T12", 0.5)], []]


def test_another_models_levels_do_not_count() -> None:
    found = levels(
        checkpoints=HEADS,
        predictions="""
            film | finding               | logit | model
            F1   | vertebral_fracture_L1 | 2     | older
            F2   | vertebral_fracture_L1 | 2     | model
        """,
    )
    assert found == [[], [("L1", 0.88)]]


def test_a_checkpoint_without_levels_changes_nothing() -> None:
    asked = catalogue(
        checkpoints="finding\nvertebral_fracture",
        predictions="film | logit\nF1 | 2",
    )
    assert with_levels(asked, LISTED) is LISTED
