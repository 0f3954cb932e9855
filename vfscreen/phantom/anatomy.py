"""A synthetic patient: demography, body, spine, field of view and findings.

The mix, fixed: 30 % of studies are drawn ``FRACTURE``, half of the others (35 % of all)
``MIMIC``, the rest ``PLAIN``. The worst Genant grade of a study is 1, 2 or 3 with a third each.
T11 to L2 are favoured, T10 to L5 possible; 72 % have one fracture, 20 % two, 8 % three (fewer
where the field of view shows fewer levels).

Which variant is drawn does not depend on anything else of the patient, and every patient
carries the findings of all variants: the same body can be filmed with its fracture, with its
mimic or without either. Age-related degeneration is part of the body, whatever the variant, so
spurs or a narrow disc are no evidence against a fracture. How hard films are to read is a setting
(`vfscreen.phantom.difficulty`).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, SETTINGS, Difficulty, Setting
from vfscreen.phantom.mimics import MimicFinding, sample_mimics, with_mimic, with_variants
from vfscreen.phantom.spine import (
    SCREENED_LEVELS,
    Collapse,
    Vertebra,
    base_spine,
    collapsed,
    projected_box_mm,
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
# Usual films: how many have the spine at the side, and how far its axis then is from the edge.
OFF_CENTRE_SHARE = 0.05
SPINE_TO_EDGE_MM = (26.0, 75.0)


class Variant(StrEnum):
    """Which of the three counterfactual films of a patient."""

    FRACTURE = "fracture"
    MIMIC = "mimic"
    PLAIN = "plain"


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
    difficulty: Difficulty = DEFAULT_DIFFICULTY

    @property
    def setting(self) -> Setting:
        """The numbers of the difficulty."""
        return SETTINGS[self.difficulty]


def sample_patient(seed: int, difficulty: Difficulty = DEFAULT_DIFFICULTY) -> Patient:
    """Sample the patient of a seed.

    Parameters
    ----------
    seed : int
        Not negative. The same seed gives the same patient.
    difficulty : Difficulty
        How hard the films are to read: age, sex, variant and grades do not depend on it.
    """
    setting = SETTINGS[difficulty]
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
    body = _sample_body(stream(seed, "body"), setting, age_years, sex)
    vertebrae = base_spine(
        stream(seed, "spine"), setting, scale=body.scale, age_years=age_years, bone=body.bone
    )
    if setting.varied:
        vertebrae = with_variants(stream(seed, "variants"), vertebrae, bone=body.bone)
    fields = _sample_fields(stream(seed, "field"), setting, vertebrae)
    if setting.varied:
        fields = _off_centre(stream(seed, "off-centre"), fields, vertebrae)
    visible = _visible(vertebrae, fields)
    return Patient(
        seed=seed,
        age_years=age_years,
        sex=sex,
        variant=variant,
        fractures=_sample_fractures(stream(seed, "fractures"), setting, visible),
        mimics=sample_mimics(stream(seed, "mimics"), setting, visible),
        body=body,
        vertebrae=vertebrae,
        fields=fields,
        difficulty=difficulty,
    )


def spine_of(patient: Patient, variant: Variant) -> tuple[Vertebra, ...]:
    """Return the patient's vertebrae as ``variant`` shows them."""
    if variant is Variant.FRACTURE:
        rng, healing = stream(patient.seed, "collapse"), stream(patient.seed, "healing")
        return collapsed(
            patient.vertebrae,
            [(f.level, _collapse_of(f, patient.setting, rng, healing)) for f in patient.fractures],
        )
    if variant is Variant.MIMIC:
        rng = stream(patient.seed, "mimic-detail")
        spine = patient.vertebrae
        for finding in patient.mimics:
            spine = with_mimic(spine, finding, rng)
        return spine
    return patient.vertebrae


def _sample_body(rng: np.random.Generator, setting: Setting, age_years: int, sex: str) -> Body:
    man = sex == "M"
    size = rng.normal(1.04 if man else 0.96, 0.04)
    magnification = rng.uniform(1.08, 1.15)
    mean, deviation, least, most = setting.weight
    weight = float(np.clip(rng.normal(mean, deviation), least, most))
    half_width = (160.0 + 20.0 * weight + rng.normal(0, 6)) * (size * 0.5 + 0.5)
    thickness = 225.0 + 32.0 * weight + rng.normal(0, 10)
    # Trabecular loss after fifty, faster in women (Riggs et al. 2004, J Bone Miner Res 19:1945).
    loss = (0.009 if sex == "F" else 0.006) * (age_years - 50)
    mean, deviation, least, most = setting.bone
    return Body(
        scale=float(size * magnification),
        # Never narrower than the pelvis that it covers.
        half_width_mm=float(max(half_width, 150.0 * size) * magnification),
        thickness_mm=float(thickness),
        fat_mm=float(max(8.0, 22.0 + 11.0 * weight + rng.normal(0, 3))),
        bone=float(np.clip(rng.normal(mean, deviation) - loss, least, most)),
        rotation_rad=float(rng.normal(0.0, setting.rotation_sd)),
    )


def _sample_fields(
    rng: np.random.Generator, setting: Setting, vertebrae: tuple[Vertebra, ...]
) -> tuple[Field, Field]:
    """Sample the fields of view of the study's two possible films."""
    kind = rng.choice(3, p=(0.78, 0.10, 0.12))
    width, height = ((350.0, 430.0), (430.0, 350.0), (0.0, 0.0))[int(kind)]
    if kind == 2:
        width, height = float(rng.uniform(295, 350)), float(rng.uniform(380, 430))
    collimated = rng.random() < 0.6
    top_mm = projected_box_mm(next(v for v in vertebrae if v.level == "T10"))[1]
    whole = rng.random() < 1 - setting.cut_share
    above_mm = rng.uniform(6.0, 45.0) if whole else rng.uniform(-setting.cut_mm, 6.0)
    centre_x = rng.normal(0.0, setting.centre_sd_mm)

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


def _off_centre(
    rng: np.random.Generator, fields: tuple[Field, Field], vertebrae: tuple[Vertebra, ...]
) -> tuple[Field, Field]:
    """Move some patients so far aside that the spine is near the edge of both films.

    At least three levels stay in view, whatever else was drawn.
    """
    aside_mm = 0.0
    if rng.random() < OFF_CENTRE_SHARE:
        reach_mm = min(fields[0].width_mm, fields[1].width_mm) / 2
        aside_mm = float(rng.choice((-1, 1)) * (reach_mm - rng.uniform(*SPINE_TO_EDGE_MM)))
    while True:
        first, second = (replace(f, x0_mm=f.x0_mm + aside_mm) for f in fields)
        if len(_visible(vertebrae, (first, second))) >= 3:
            return first, second
        # Back towards where the spine is on most films.
        aside_mm = 0.8 * aside_mm - 0.2 * (fields[0].x0_mm + fields[0].width_mm / 2)


def _visible(vertebrae: tuple[Vertebra, ...], fields: tuple[Field, Field]) -> list[str]:
    """The levels T10 to L5 that both films show whole."""
    return [
        v.level
        for v in vertebrae
        if v.level in SCREENED_LEVELS and all(_in_view(v, field) for field in fields)
    ]


def _in_view(v: Vertebra, field: Field) -> bool:
    x0, y0, x1, y1 = projected_box_mm(v)
    left = field.x0_mm + field.margin_left_mm + VIEW_MARGIN_MM
    top = field.y0_mm + field.margin_top_mm + VIEW_MARGIN_MM
    right = field.x0_mm + field.width_mm - field.margin_right_mm - VIEW_MARGIN_MM
    bottom = field.y0_mm + field.height_mm - field.margin_bottom_mm - VIEW_MARGIN_MM
    return x0 > left and x1 < right and y0 > top and y1 < bottom


def _sample_fractures(
    rng: np.random.Generator, setting: Setting, visible: list[str]
) -> tuple[Fracture, ...]:
    worst = int(rng.integers(1, 4))
    count = min(1 + int(rng.choice(3, p=FRACTURE_COUNT_SHARES)), len(visible))
    weights = np.array([LEVEL_WEIGHTS[level] for level in visible])
    levels = rng.choice(visible, size=count, replace=False, p=weights / weights.sum())
    found = []
    for i, level in enumerate(levels):
        grade = worst if i == 0 else int(rng.integers(1, worst + 1))
        shape = tuple(Shape)[int(rng.choice(3, p=setting.shapes[grade - 1]))]
        low, high = GRADE_HEIGHT_LOSS[grade]
        found.append(Fracture(str(level), shape, grade, float(rng.uniform(low, high))))
    return tuple(sorted(found, key=lambda f: SCREENED_LEVELS.index(f.level)))


def _collapse_of(
    fracture: Fracture, setting: Setting, rng: np.random.Generator, healing: np.random.Generator
) -> Collapse:
    """Turn a fracture into the loss at the front, in the middle and at the back of the body."""
    loss = fracture.height_loss
    minor = float(rng.uniform(*setting.minor))
    upper_share = float(rng.uniform(0.55, 0.9))
    step_mm = float(rng.uniform(*setting.step_mm) * (0.5 + 2.2 * loss))
    lean = float(rng.normal(0.0, 0.12))
    impaction = max(0.0, float(rng.uniform(*setting.impaction)))
    packing = float(healing.uniform(*setting.packing))
    plate_gain = float(healing.uniform(*setting.plate_gain))
    if fracture.shape is Shape.WEDGE:
        front, middle, back = loss, loss * (0.5 + minor / 2), loss * minor
    elif fracture.shape is Shape.BICONCAVE:
        front, middle, back, upper_share = loss * minor, loss, loss * minor, 0.55
    else:
        front = middle = back = loss
    return Collapse(front, middle, back, upper_share, step_mm, lean, impaction, packing, plate_gain)
