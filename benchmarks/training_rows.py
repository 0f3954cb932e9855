"""The rows of the training study, and what they have in common."""

from dataclasses import dataclass, field
from typing import Any

ARCHITECTURE = "resnext50_32x4d"
PRETEXT = "pretext"
SHIFTS = {
    "curve": "another maker's curve",
    "noise": "an eighth of the dose",
    "photograph": "photographed from a screen",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration: what of `[train]` differs from the study's own settings."""

    name: str
    shown: str
    init: str = "none"  # or `pretext`, or `imagenet` (what --imagenet names)
    settings: dict[str, Any] = field(default_factory=dict)
    marks: bool = True


ROWS = (
    Row("scratch-224", "224 px, from scratch"),
    Row("pretext-224", "224 px, from the pretext task", PRETEXT),
    Row("imagenet-224", "224 px, from ImageNet", "imagenet"),
    Row("unmarked-224", "224 px, from the pretext task, labels alone", PRETEXT, marks=False),
    Row("pretext-512", "512 px, from the pretext task", PRETEXT, {"input_size_px": 512}),
    Row(
        "located-512",
        "512 px, located and straightened, from the pretext task",
        PRETEXT,
        {"input_size_px": 512, "locate": True},
    ),
    Row("folds-224", "224 px, from the pretext task, five folds", PRETEXT, {"folds": 5}),
)
# The network that is followed into another display, where no other is named.
SHIFTED = "pretext-224"


@dataclass(frozen=True, slots=True)
class Study:
    """What all rows have in common; other numbers are another study, in another work folder."""

    budget_min: float
    training: int
    calibration: int
    test: int
    films: str
    long_side_px: int
    seed: int
    rows: tuple[str, ...]
    shifts: tuple[str, ...]
    shift_row: str
    train: dict[str, Any]
    eligibility: dict[str, Any] = field(default_factory=dict)
    imagenet: str | None = None

    def chosen(self) -> list[Row]:
        """The rows, in the order of the table; ImageNet's only where its weights are."""
        known = {row.name: row for row in ROWS}
        rows = [known[name] for name in self.rows]
        return [r for r in rows if r.init != "imagenet" or self.imagenet is not None]
