"""What can be taken for a fracture on a frontal film, and what normal spines have of it.

A mimic is the finding of a MIMIC film. `with_variants` gives every spine of a usual film, fractured
or not, the variants of the normal and the signs of age that people have, so that none of them is
evidence for or against a fracture.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from vfscreen.phantom.difficulty import Setting
from vfscreen.phantom.spine import (
    Dent,
    Vertebra,
    bowed,
    curved,
    dented,
    narrowed,
    shortened,
    spurred,
    tilted,
    wedged,
)


class Mimic(StrEnum):
    """A finding that can be taken for a fracture on a frontal film."""

    DISC_NARROWING = "disc_narrowing"
    SPURS = "spurs"
    TILT = "tilt"
    SCOLIOSIS = "scoliosis"
    SCHMORL_NODE = "schmorl_node"
    SHORT_BODY = "short_body"
    NORMAL_WEDGE = "normal_wedge"
    CUPIDS_BOW = "cupids_bow"


@dataclass(frozen=True, slots=True)
class MimicFinding:
    """One mimic: its apex or upper level, and a size (mm, degrees or fraction by kind)."""

    mimic: Mimic
    level: str
    size: float


# The mimics of easy films; the others resemble a fracture more.
EASY_MIMICS = tuple(Mimic)[:5]
# Sizes of the others: fractions of the height, below the 20 % of a fracture; the bow in mm.
LIKE_A_FRACTURE = {
    Mimic.SHORT_BODY: (0.10, 0.16),
    Mimic.NORMAL_WEDGE: (0.08, 0.16),
    Mimic.CUPIDS_BOW: (3.0, 5.5),
}
BOW_LEVELS = ("L3", "L4", "L5")
VARIANT_LEVELS = ("T10", "T11", "T12", "L1", "L2", "L3", "L4")


def sample_mimics(
    rng: np.random.Generator, setting: Setting, visible: list[str]
) -> tuple[MimicFinding, ...]:
    """Sample the one or two mimics of a patient, at levels in view."""
    count = 1 + int(rng.random() < 0.4)
    kinds = rng.permutation(len(Mimic) if setting.varied else len(EASY_MIMICS))[:count]
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
        }.get(mimic)
        if size is None:
            # Below the 20 % of a fracture, but not by much; the bow in mm.
            low, high = LIKE_A_FRACTURE[mimic]
            size = rng.uniform(low, high)
            if mimic is Mimic.CUPIDS_BOW:
                level = str(rng.choice([v for v in visible if v in BOW_LEVELS] or visible))
        found.append(MimicFinding(mimic, level, float(size)))
    return tuple(found)


def with_mimic(
    spine: tuple[Vertebra, ...], finding: MimicFinding, rng: np.random.Generator
) -> tuple[Vertebra, ...]:
    """Return the spine with a mimic."""
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
    if finding.mimic is Mimic.SHORT_BODY:
        return shortened(spine, level, size)
    if finding.mimic is Mimic.NORMAL_WEDGE:
        return wedged(spine, level, size)
    if finding.mimic is Mimic.CUPIDS_BOW:
        return bowed(spine, level, size, float(rng.uniform(0.34, 0.46)))
    end = -1 if rng.random() < 0.5 else 1
    dent = Dent(end, float(rng.uniform(-0.35, 0.35)), float(rng.uniform(5.0, 8.0)), size)
    return dented(spine, level, dent)


def with_variants(
    rng: np.random.Generator, spine: tuple[Vertebra, ...], *, bone: float
) -> tuple[Vertebra, ...]:
    """Return a spine with the variants of the normal that people have."""
    # The thoracolumbar junction is wedged in most (Black et al. 1995, J Bone Miner Res 10:890).
    for level, most in (("T10", 0.05), ("T11", 0.08), ("T12", 0.10), ("L1", 0.09), ("L2", 0.05)):
        spine = wedged(spine, level, float(rng.uniform(0.0, most)))
    # Bodies in a curve are lower on its inner side: a third of the angle between neighbours.
    angles = np.gradient(np.array([v.roll_rad for v in spine]))
    uneven = rng.normal(0.0, 0.025, len(spine))
    spine = tuple(
        replace(v, lateral=float(np.clip(own - angle * v.width_mm / v.height_mm / 3, -0.14, 0.14)))
        for v, angle, own in zip(spine, angles, uneven, strict=True)
    )
    if rng.random() < 0.25:
        spine = shortened(spine, str(rng.choice(VARIANT_LEVELS)), float(rng.uniform(0.05, 0.14)))
    if rng.random() < 0.25:
        spine = bowed(
            spine, str(rng.choice(BOW_LEVELS)), float(rng.uniform(1.0, 4.5)),
            float(rng.uniform(0.34, 0.46)),
        )  # fmt: skip
    # Schmorl's nodes: in half of all spines (Pfirrmann and Resnick 2001, Radiology 219:368), many
    # of them too small for a film; often several.
    if rng.random() < 0.33:
        for _ in range(1 + int(rng.poisson(1.0))):
            dent = Dent(
                -1 if rng.random() < 0.5 else 1, float(rng.uniform(-0.6, 0.6)),
                float(rng.uniform(3.5, 7.0)), float(rng.uniform(1.2, 4.5)),
                float(rng.uniform(-0.3, 0.5)),
            )  # fmt: skip
            spine = dented(spine, str(rng.choice(VARIANT_LEVELS)), dent)
    # Soft bone gives way to the discs at every level, less than a fracture at any.
    give_mm = max(0.0, 0.85 - bone) * float(rng.uniform(0.0, 3.2))
    return tuple(replace(v, concavity_mm=v.concavity_mm + give_mm) for v in spine)
