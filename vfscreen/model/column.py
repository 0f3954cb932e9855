"""The straightened column: how a film's spine becomes the classifier's picture.

The spec is part of a checkpoint's identity. Nothing here imports torch: a checkpoint that is only
described needs none.

Lengths along the column are in spacings: one spacing is the mean distance between the centres of
neighbouring vertebrae from T10 to L5 on that film.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from vfscreen.errors import CheckpointError

LEVELS = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
# Centre to centre in mm: half of both bodies and the disc between them, women and men together
# (Panjabi et al. 1992, Spine 17:299; Zhou et al. 2000, Eur Spine J 9:242).
_DISTANCES_MM = (28.2, 30.3, 32.8, 35.2, 37.0, 38.2, 38.3)
# What the locator sees and answers, in pixels and cells a side.
LOCATOR_PX = 224
CELLS = 56
# A backbone halves its picture five times: sides that are multiples waste nothing.
_STRIDE_PX = 32
# One spacing is about a tenth of a film's height; 288 px then give every vertebra a cell.
_LEAST_HEIGHT_PX = 288
_HEIGHT_SHARE = 0.8
_WIDTH_SPACINGS = 3.4


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """From a film at working size to the column.

    The column is `height_px` by `width_px`, its pixels square on the prepared film. It begins
    `margin` spacings above the centre of T10 and ends as far below the centre of L5, whether
    the film shows them or not; what lies outside the film is mean grey. A level counts as seen
    with at least `min_confidence` of the locator's probability around one place near the curve;
    with fewer than `min_levels` of them the column is the middle strip of the film
    (`fallback`).
    """

    height_px: int
    width_px: int
    levels: tuple[str, ...] = LEVELS
    margin: float = 0.9
    min_confidence: float = 0.3
    min_levels: int = 3
    fallback: str = "middle_strip"
    version: int = 1

    @property
    def extent(self) -> float:
        """Length of the column in spacings."""
        return len(LEVELS) - 1 + 2 * self.margin

    @property
    def width(self) -> float:
        """Width of the column in spacings."""
        return self.extent * self.width_px / self.height_px


def column_spec(input_size_px: int) -> ColumnSpec:
    """The column for films of this working size: no detail lost, no cell without a use."""
    height_px = max(_LEAST_HEIGHT_PX, _stride(_HEIGHT_SHARE * input_size_px))
    extent = ColumnSpec(height_px, _STRIDE_PX).extent
    return ColumnSpec(height_px, _stride(_WIDTH_SPACINGS * height_px / extent))


def standard_places() -> tuple[float, ...]:
    """Where the levels' centres lie in an average column, in spacings from its middle."""
    scale = (len(LEVELS) - 1) / sum(_DISTANCES_MM)
    places = [0.0]
    for distance in _DISTANCES_MM:
        places.append(places[-1] + distance * scale)
    middle = places[-1] / 2
    return tuple(place - middle for place in places)


def level_of(finding: str) -> str | None:
    """The level that a finding's name ends with (`vertebral_fracture_L1`), or None."""
    base, _, level = finding.rpartition("_")
    return level if base and level in LEVELS else None


def to_json(spec: ColumnSpec) -> dict[str, Any]:
    """The spec as a JSON object."""
    return asdict(spec) | {"levels": list(spec.levels)}


def from_json(raw: Any) -> ColumnSpec:
    """Read a spec from a checkpoint's metadata.

    Raises
    ------
    CheckpointError
        A key is unknown or missing, or a value is one that this version cannot work with.
    """
    wrong = CheckpointError(
        "The checkpoint's locator is not understood by this version of vfscreen; use the version "
        "that it was made with."
    )
    if not isinstance(raw, dict) or set(raw) != {f.name for f in fields(ColumnSpec)}:
        raise wrong
    whole = all(type(raw[n]) is int for n in ("height_px", "width_px", "min_levels", "version"))
    real = all(_finite(raw[name]) for name in ("margin", "min_confidence"))
    if not (whole and real and raw["levels"] == list(LEVELS)):
        raise wrong
    spec = ColumnSpec(**raw | {"levels": LEVELS})
    if spec.fallback != "middle_strip" or spec.version != 1:
        raise wrong
    sides = (spec.height_px, spec.width_px)
    if not all(_STRIDE_PX <= px <= 8192 and px % _STRIDE_PX == 0 for px in sides):
        raise wrong
    # Two points make a line, and a column is at least as long as its levels.
    if not (0 <= spec.margin <= 4 and 0 < spec.min_confidence < 1):
        raise wrong
    if not 2 <= spec.min_levels <= len(LEVELS):
        raise wrong
    return spec


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _stride(pixels: float) -> int:
    return max(1, round(pixels / _STRIDE_PX)) * _STRIDE_PX
