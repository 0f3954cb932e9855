"""Where findings and vertebrae are on labelled films: boxes and points out of a CSV file."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.errors import LabelsError
from vfscreen.jobs.label_tables import CsvTable, read_csv_table
from vfscreen.jobs.labels import Labelled, LabelProblems

log = logging.getLogger("vfscreen")

VERTEBRA = "vertebra"
LEVELS = (*(f"T{n}" for n in range(4, 13)), *(f"L{n}" for n in range(1, 6)))
"""What a mark's level may be: where vertebral fractures are looked for (T4 to L5)."""
POINT_LEVELS = LEVELS[LEVELS.index("T10") :]
"""The vertebrae whose centres are returned: those that an abdominal film shows."""
POINT_BOX = (0.12, 0.08)
"""Width and height, as shares of the film, of the box that stands for a finding marked by a point:
about a lumbar vertebra (5 x 3.5 cm) on a film of 35 x 43 cm with its magnification."""

_BOX, _POINT = ("x0", "y0", "x1", "y1"), ("x", "y")
_UNKNOWN = -2


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of N labelled films, in shares (0..1) of the film's width and height.

    Attributes
    ----------
    boxes : dict
        For each finding that is marked, float32 (N, K, 4): x0, y0, x1, y1; NaN where there is none.
    levels : dict
        For each of these, int8 (N, K): the vertebra as an index into `LEVELS`; -1: not told.
    points : NDArray
        float32 (N, 8, 2): x, y of the centres of the vertebrae `POINT_LEVELS`; NaN: not marked.
    problems : LabelProblems
        Rows of the file that are not used, and why.
    """

    boxes: dict[str, NDArray[np.float32]]
    levels: dict[str, NDArray[np.int8]]
    points: NDArray[np.float32]
    problems: LabelProblems


def read_marks(path: Path, labelled: Labelled) -> Marks:
    """Read boxes and points that somebody has drawn on the labelled films.

    Parameters
    ----------
    path
        CSV with the columns sop_instance_uid, finding (one of the findings, or `vertebra`), level
        (T4 to L5, or empty), x0, y0, x1, y1 (a box) and x, y (a point), in pixels of the stored
        image: x is the column, y the row, (0, 0) the outer corner of the first pixel. A vertebra
        without a point is at the centre of its box; a finding without a box has one of
        `POINT_BOX` around its point. A box ends at the film's edge.
    labelled
        The films, with the findings that may be marked.

    Raises
    ------
    LabelsError
        The file cannot be understood: as `read_csv_table`, or a column is missing, or a coordinate
        is no number. The message names file, line and column.
    """
    table = read_csv_table(path, "marks")
    film = _films(path, table, labelled)
    finding = _findings(table, labelled)
    level = _levels(table)
    count = len(table.line)
    xy = np.stack([_numbers(path, table, name) for name in (*_BOX, *_POINT)], axis=1)
    boxed, pointed = _given(xy[:, :4]), _given(xy[:, 4:])
    xy /= np.tile(_sizes(labelled)[film], 3)
    middle = (xy[:, 0:2] + xy[:, 2:4]) / 2
    xy[:, 4:] = np.where(pointed[:, None], xy[:, 4:], middle)
    half = np.array(POINT_BOX) / 2
    drawn = np.where(boxed[:, None], xy[:, :4], np.hstack([xy[:, 4:] - half, xy[:, 4:] + half]))
    centre = xy[:, 4:]
    vertebra = finding == len(labelled.findings)
    with np.errstate(invalid="ignore"):
        outside = ~((centre >= 0) & (centre <= 1)).all(1)
        no_area = (drawn[:, :2] >= drawn[:, 2:]).any(1)
    box = np.clip(drawn, 0.0, 1.0).astype(np.float32)
    said_no = np.zeros(count, np.bool_)
    of_finding = (film >= 0) & (finding >= 0) & ~vertebra
    targets = labelled.targets()
    said_no[of_finding] = targets[film[of_finding], finding[of_finding]] == 0
    reasons = {
        "unmatched": film < 0,
        "unknown_finding": finding == _UNKNOWN,
        "unknown_level": level == _UNKNOWN,
        "incomplete": ~(boxed | pointed),
        "film_size_unknown": ~_given(centre),
        "outside_film": outside,
        "no_area": no_area,
        "vertebra_without_level": vertebra & (level < 0),
        "vertebra_above_T10": vertebra & (level < LEVELS.index(POINT_LEVELS[0])),
        "contradicts_label": said_no,
    }
    reason = np.select(list(reasons.values()), list(reasons), default="").astype(object)
    _mark_repeated(reason, np.column_stack([film, finding, level, box, centre]))
    _mark_contradictory(reason, vertebra, film * len(LEVELS) + level)
    used = reason == ""
    unused = pa.table(
        {
            "line": table.line[~used],
            "reason": pa.array(reason[~used].tolist(), pa.string()),
        }
    )
    problems = LabelProblems(count, int(used.sum()), unused)
    for why, number in problems.counts.items():
        log.warning("marks: rows not used, %s: %d", why, number)
    points = np.full((labelled.films.num_rows, len(POINT_LEVELS), 2), np.nan, np.float32)
    at = used & vertebra
    points[film[at], level[at] - LEVELS.index(POINT_LEVELS[0])] = centre[at]
    boxes, levels = {}, {}
    for number, name in enumerate(labelled.findings):
        at = used & (finding == number)
        if at.any():
            boxes[name], levels[name] = _of_films(len(points), film[at], box[at], level[at])
    return Marks(boxes, levels, points, problems)


def _given(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether all numbers of a row are there."""
    return np.asarray(np.isfinite(numbers).all(axis=1), np.bool_)


def _films(path: Path, table: CsvTable, labelled: Labelled) -> NDArray[np.int64]:
    """Index of each row's film; -1: none."""
    missing = [n for n in ("sop_instance_uid", "finding") if n not in table.columns]
    if missing:
        raise LabelsError(f"{path} has no column `{missing[0]}` in its first line.")
    if not any(all(n in table.columns for n in names) for names in (_BOX, _POINT)):
        raise LabelsError(f"{path} has neither the columns x0, y0, x1, y1 nor the columns x, y.")
    uids = labelled.films["sop_instance_uid"].combine_chunks()
    at = pc.index_in(table.columns["sop_instance_uid"], value_set=uids, skip_nulls=True)
    return np.asarray(pc.fill_null(at, -1), np.int64)


def _findings(table: CsvTable, labelled: Labelled) -> NDArray[np.int64]:
    """Index of each row's finding; the number of findings: a vertebra."""
    known = pa.array([*labelled.findings, VERTEBRA])
    at = pc.index_in(table.columns["finding"], value_set=known, skip_nulls=True)
    return np.asarray(pc.fill_null(at, _UNKNOWN), np.int64)


def _levels(table: CsvTable) -> NDArray[np.int64]:
    """Index of each row's level into `LEVELS`; -1: empty."""
    cells = table.columns.get("level")
    if cells is None:
        return np.full(len(table.line), -1, np.int64)
    at = pc.index_in(pc.utf8_upper(cells), value_set=pa.array(LEVELS), skip_nulls=True)
    unknown = pc.if_else(pc.is_null(cells), -1, _UNKNOWN)
    return np.asarray(pc.coalesce(at.cast(pa.int64()), unknown), np.int64)


def _numbers(path: Path, table: CsvTable, name: str) -> NDArray[np.float64]:
    """A column of coordinates; NaN where it is empty."""
    cells = table.columns.get(name)
    if cells is None:
        return np.full(len(table.line), np.nan)
    numeric = pc.match_substring_regex(cells, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$")
    wrong = np.flatnonzero(pc.fill_null(pc.invert(numeric), False))
    if len(wrong):
        raise LabelsError(
            f"{path}: line {table.line[wrong[0]]}, column `{name}`: not a number of pixels."
        )
    return np.asarray(pc.fill_null(cells.cast(pa.float64()), float("nan")))


def _sizes(labelled: Labelled) -> NDArray[np.float64]:
    """(N + 1, 2) width and height in pixels; NaN where unknown, and for the film -1."""
    sizes = [
        np.asarray(pc.fill_null(labelled.films[name].cast(pa.float64()), float("nan")))
        for name in ("columns", "rows")
    ]
    return np.vstack([np.stack(sizes, axis=1), [[np.nan, np.nan]]])


def _mark_repeated(reason: NDArray[Any], rows: NDArray[np.float64]) -> None:
    """Of rows that say the same, the first counts."""
    index = np.flatnonzero(reason == "")
    _, first = np.unique(rows[index], axis=0, return_index=True)
    reason[np.delete(index, first)] = "repeated"


def _mark_contradictory(
    reason: NDArray[Any], vertebra: NDArray[np.bool_], place: NDArray[np.int64]
) -> None:
    """Of a vertebra of a film that is in several places, none counts."""
    index = np.flatnonzero(vertebra & (reason == ""))
    _, inverse, count = np.unique(place[index], return_inverse=True, return_counts=True)
    reason[index[count[inverse] > 1]] = "contradictory"


def _of_films(
    films: int, film: NDArray[np.int64], box: NDArray[np.float32], level: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Boxes and levels by film, in the order of the file."""
    order = np.argsort(film, kind="stable")
    film, box, level = film[order], box[order], level[order]
    slot = np.arange(len(film)) - np.searchsorted(film, film)
    boxes = np.full((films, int(slot.max()) + 1, 4), np.nan, np.float32)
    levels = np.full(boxes.shape[:2], -1, np.int8)
    boxes[film, slot], levels[film, slot] = box, level
    return boxes, levels
