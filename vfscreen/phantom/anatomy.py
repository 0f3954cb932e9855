"""A synthetic patient: demography, body, spine, field of view and findings.

The mix, fixed: 30 % of studies are drawn ``FRACTURE``, half of the others (35 % of all)
``MIMIC``, the rest ``PLAIN``. The worst Genant grade of a study is 1, 2 or 3 with a third each.
T11 to L2 are favoured, T10 to L5 possible; 72 % have one fracture, 20 % two, 8 % three (fewer
where the field of view shows fewer levels).

Which variant is drawn does not depend on anything else of the patient, and every patient
carries the findings of all variants: the same body can be filmed with its fracture, with its
mimic or without either. Age-related degeneration is part of the body, whatever the variant, so
spurs or a narrow disc are no evidence against a fracture.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vfscreen.phantom.spine import (
    SCREENED_LEVELS,
    Collapse,
    Dent,
    Vertebra,
    base_spine,
    collapsed,
    curved,
    dented,
    narrowed,
    projected_box_mm,
    spurred,
    tilted,
)
from vfscreen.phantom.streams import stream

FRACTURE_SHARE = 0.30
MIMIC_SHARE = 0.35
GRADES = (1, 2, 3)
# Genant et al. 1993 (J Bone Miner Res 8:1137): lost height, per grade. The upper end is the
# phantom's own; beyond 60 % the body is hardly a body on a frontal film.
GRADE_HEIGHT_LOSS = {1: (0.20, 0.25), 2: (0.25, 0.40), 3: (0.40, 0.60)}
FRACTURE_COUNT_SHARES = (0.72, 0.20, 0.08)
LEVEL_WEIGHTS = {
    "T10": 0.5,
    "T11": 1.2,
    "T12": 2.2,
    "L1": 2.4,
    "L2": 1.4,
    "L3": 0.9,
    "L4": 0.7,
    "L5": 0.3,
}
# A level counts as in view when its box is this far inside the exposed field (mm).
VIEW_MARGIN_MM = 4.0


class Variant(StrEnum):
    """Which of the three counterfactual films of a patient."""

    FRACTURE = "fracture"
    MIMIC = "mimic"
    PLAIN = "plain"


class Mimic(StrEnum):
    """A finding that can be taken for a fracture on a frontal film."""

    DISC_NARROWING = "disc_narrowing"
    SPURS = "spurs"
    TILT = "tilt"
    SCOLIOSIS = "scoliosis"
    SCHMORL_NODE = "schmorl_node"


class Shape(StrEnum):
    """Genant's shapes of vertebral deformity."""

    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


@dataclass(frozen=True, slots=True)
class Fracture:
    """One fractured vertebra; ``height_loss`` is the largest loss of its three heights."""

    level: str
    shape: Shape
    grade: int
    height_loss: float


@dataclass(frozen=True, slots=True)
class MimicFinding:
    """One mimic: its apex or upper level, and a size (mm, degrees or fraction by kind)."""

    mimic: Mimic
    level: str
    size: float


@dataclass(frozen=True, slots=True)
class Body:
    """Habitus in film millimetres; densities relative to a healthy fifty-year-old."""

    scale: float
    half_width_mm: float
    thickness_mm: float
    fat_mm: float
    bone: float
    rotation_rad: float


@dataclass(frozen=True, slots=True)
class Field:
    """What the detector and the collimator see, in the patient's frame (mm)."""

    x0_mm: float
    y0_mm: float
    width_mm: float
    height_mm: float
    margin_left_mm: float
    margin_top_mm: float
    margin_right_mm: float
    margin_bottom_mm: float


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient with everything that the films of the study need.

    ``fractures`` and ``mimics`` are what the FRACTURE and MIMIC variants show, whatever the
    drawn ``variant``; ``vertebrae`` is the spine without either.
    """

    seed: int
    age_years: int
    sex: str
    variant: Variant
    fractures: tuple[Fracture, ...]
    mimics: tuple[MimicFinding, ...]
    body: Body
    vertebrae: tuple[Vertebra, ...]
    fields: tuple[Field, Field]


def sample_patient(seed: int) -> Patient:
    """Sample the patient of a seed.

    Parameters
    ----------
    seed : int
        Not negative. The same seed gives the same patient.
    """
    rng = stream(seed, "demography")
    age_years = int(np.clip(round(rng.normal(71.0, 11.0)), 50, 97))
    sex = "F" if rng.random() < 0.56 else "M"
    draw = float(stream(seed, "variant").random())
    variant = (
        Variant.FRACTURE
        if draw < FRACTURE_SHARE
        else Variant.MIMIC
        if draw < FRACTURE_SHARE + MIMIC_SHARE
        else Variant.PLAIN
    )
    body = _sample_body(stream(seed, "body"), age_years, sex)
    vertebrae = base_spine(
        stream(seed, "spine"), scale=body.scale, age_years=age_years, bone=body.bone
    )
    fields = _sample_fields(stream(seed, "field"), vertebrae, body)
    visible = [
        v.level
        for v in vertebrae
        if v.level in SCREENED_LEVELS and all(_in_view(v, field) for field in fields)
    ]
    return Patient(
        seed=seed,
        age_years=age_years,
        sex=sex,
        variant=variant,
        fractures=_sample_fractures(stream(seed, "fractures"), visible),
        mimics=_sample_mimics(stream(seed, "mimics"), visible),
        body=body,
        vertebrae=vertebrae,
        fields=fields,
    )


def spine_of(patient: Patient, variant: Variant) -> tuple[Vertebra, ...]:
    """Return the patient's vertebrae as ``variant`` shows them."""
    if variant is Variant.FRACTURE:
        rng = stream(patient.seed, "collapse")
        return collapsed(
            patient.vertebrae, [(f.level, _collapse_of(f, rng)) for f in patient.fractures]
        )
    if variant is Variant.MIMIC:
        rng = stream(patient.seed, "mimic-detail")
        spine = patient.vertebrae
        for finding in patient.mimics:
            spine = _with_mimic(spine, finding, rng)
        return spine
    return patient.vertebrae


def _sample_body(rng: np.random.Generator, age_years: int, sex: str) -> Body:
    man = sex == "M"
    size = rng.normal(1.04 if man else 0.96, 0.04)
    magnification = rng.uniform(1.08, 1.15)
    weight = float(np.clip(rng.normal(0.0, 1.0), -1.8, 2.4))
    half_width = (160.0 + 20.0 * weight + rng.normal(0, 6)) * (size * 0.5 + 0.5)
    thickness = 225.0 + 32.0 * weight + rng.normal(0, 10)
    # Trabecular loss after fifty, faster in women (Riggs et al. 2004, J Bone Miner Res 19:1945).
    loss = (0.009 if sex == "F" else 0.006) * (age_years - 50)
    return Body(
        scale=float(size * magnification),
        # Never narrower than the pelvis that it covers.
        half_width_mm=float(max(half_width, 150.0 * size) * magnification),
        thickness_mm=float(thickness),
        fat_mm=float(max(8.0, 22.0 + 11.0 * weight + rng.normal(0, 3))),
        bone=float(np.clip(rng.normal(1.05, 0.13) - loss, 0.45, 1.35)),
        rotation_rad=float(rng.normal(0.0, 0.05)),
    )


def _sample_fields(
    rng: np.random.Generator, vertebrae: tuple[Vertebra, ...], body: Body
) -> tuple[Field, Field]:
    """Sample the fields of view of the study's two possible films."""
    kind = rng.choice(3, p=(0.78, 0.10, 0.12))
    width, height = ((350.0, 430.0), (430.0, 350.0), (0.0, 0.0))[int(kind)]
    if kind == 2:
        width, height = float(rng.uniform(295, 350)), float(rng.uniform(380, 430))
    collimated = rng.random() < 0.6
    top_mm = projected_box_mm(next(v for v in vertebrae if v.level == "T10"))[1]
    above_mm = rng.uniform(6.0, 45.0) if rng.random() < 0.85 else rng.uniform(-30.0, 6.0)
    centre_x = rng.normal(0.0, 7.0)

    def field(shift_x: float, shift_y: float) -> Field:
        margins = rng.gamma(1.3, 7.0, 4).clip(0, 32) if collimated else np.zeros(4)
        # Collimators are shut towards the sides more often than over the anatomy asked for.
        left, right, top, bottom = (float(m) for m in margins * (1.0, 1.0, 0.6, 0.8))
        return Field(
            x0_mm=float(centre_x + shift_x - width / 2),
            y0_mm=float(top_mm - above_mm + shift_y - top),
            width_mm=width,
            height_mm=height,
            margin_left_mm=left,
            margin_top_mm=top,
            margin_right_mm=right,
            margin_bottom_mm=bottom,
        )

    return field(0.0, 0.0), field(float(rng.normal(0, 6)), float(rng.normal(0, 7)))


def _in_view(v: Vertebra, field: Field) -> bool:
    x0, y0, x1, y1 = projected_box_mm(v)
    left = field.x0_mm + field.margin_left_mm + VIEW_MARGIN_MM
    top = field.y0_mm + field.margin_top_mm + VIEW_MARGIN_MM
    right = field.x0_mm + field.width_mm - field.margin_right_mm - VIEW_MARGIN_MM
    bottom = field.y0_mm + field.height_mm - field.margin_bottom_mm - VIEW_MARGIN_MM
    return x0 > left and x1 < right and y0 > top and y1 < bottom


def _sample_fractures(rng: np.random.Generator, visible: list[str]) -> tuple[Fracture, ...]:
    worst = int(rng.integers(1, 4))
    count = min(1 + int(rng.choice(3, p=FRACTURE_COUNT_SHARES)), len(visible))
    weights = np.array([LEVEL_WEIGHTS[level] for level in visible])
    levels = rng.choice(visible, size=count, replace=False, p=weights / weights.sum())
    found = []
    for i, level in enumerate(levels):
        grade = worst if i == 0 else int(rng.integers(1, worst + 1))
        shape = tuple(Shape)[int(rng.choice(3, p=(0.45, 0.25, 0.30)))]
        low, high = GRADE_HEIGHT_LOSS[grade]
        found.append(Fracture(str(level), shape, grade, float(rng.uniform(low, high))))
    return tuple(sorted(found, key=lambda f: SCREENED_LEVELS.index(f.level)))


def _collapse_of(fracture: Fracture, rng: np.random.Generator) -> Collapse:
    """Turn a fracture into the loss at the front, in the middle and at the back of the body."""
    loss = fracture.height_loss
    minor = float(rng.uniform(0.50, 0.72))
    upper_share = float(rng.uniform(0.55, 0.9))
    step_mm = float(rng.uniform(1.0, 1.8) * (0.5 + 2.2 * loss))
    lean = float(rng.normal(0.0, 0.12))
    impaction = float(rng.uniform(0.5, 1.1))
    if fracture.shape is Shape.WEDGE:
        front, middle, back = loss, loss * (0.5 + minor / 2), loss * minor
    elif fracture.shape is Shape.BICONCAVE:
        front, middle, back, upper_share = loss * minor, loss, loss * minor, 0.55
    else:
        front = middle = back = loss
    return Collapse(front, middle, back, upper_share, step_mm, lean, impaction)


def _sample_mimics(rng: np.random.Generator, visible: list[str]) -> tuple[MimicFinding, ...]:
    count = 1 + int(rng.random() < 0.4)
    kinds = rng.permutation(len(Mimic))[:count]
    found = []
    for kind in kinds:
        mimic = tuple(Mimic)[int(kind)]
        level = str(rng.choice(visible))
        sign = 1.0 if rng.random() < 0.5 else -1.0
        size = {
            Mimic.DISC_NARROWING: rng.uniform(0.45, 0.8),
            Mimic.SPURS: rng.uniform(5.0, 11.0),
            Mimic.TILT: sign * rng.uniform(7.0, 13.0),
            Mimic.SCOLIOSIS: sign * rng.uniform(10.0, 26.0),
            Mimic.SCHMORL_NODE: rng.uniform(3.0, 6.5),
        }[mimic]
        found.append(MimicFinding(mimic, level, float(size)))
    return tuple(found)


def _with_mimic(
    spine: tuple[Vertebra, ...], finding: MimicFinding, rng: np.random.Generator
) -> tuple[Vertebra, ...]:
    level, size = finding.level, finding.size
    if finding.mimic is Mimic.DISC_NARROWING:
        spine = narrowed(
            spine, level, size, float(rng.uniform(0.5, 1.6)), float(rng.random() < 0.35)
        )
        return spurred(spine, level, (float(rng.uniform(0, 6)), float(rng.uniform(0, 6))))
    if finding.mimic is Mimic.SPURS:
        return spurred(spine, level, (size, float(rng.uniform(0.2, 1.0) * size)))
    if finding.mimic is Mimic.TILT:
        return tilted(spine, level, size)
    if finding.mimic is Mimic.SCOLIOSIS:
        return curved(spine, level, size)
    end = -1 if rng.random() < 0.5 else 1
    dent = Dent(end, float(rng.uniform(-0.35, 0.35)), float(rng.uniform(5.0, 8.0)), size)
    return dented(spine, level, dent)
