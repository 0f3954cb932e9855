"""The spine from T7 to L5: normal geometry, and what fractures and mimics do to it.

Lengths are millimetres in the detector plane (anatomical size times a magnification of about
1.12). x runs to the right of the film (the patient's left), y down, z from anterior to
posterior, along the beam.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vfscreen.phantom.difficulty import Setting

# Order is from the top of the film down. T7 to T9 are there for tall fields only.
LEVELS = ("T7", "T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")
# The levels that can be fractured and that every film reports a box for.
SCREENED_LEVELS = LEVELS[LEVELS.index("T10") :]

# Anatomical means in mm, women and men together, rounded from the morphometry of Panjabi et al.
# 1991/1992 (Spine 16:888, 17:299) and Zhou et al. 2000 (Eur Spine J 9:242).
BODY_WIDTH_MM = (28.0, 29.5, 31.0, 33.0, 35.5, 39.0, 41.0, 42.5, 44.0, 46.0, 49.0)
BODY_DEPTH_MM = (27.0, 28.0, 28.5, 29.0, 30.0, 31.0, 32.0, 33.0, 34.0, 34.5, 35.0)
BODY_HEIGHT_MM = (20.0, 20.5, 21.5, 22.5, 23.5, 25.0, 26.5, 27.2, 27.6, 27.5, 27.0)
DISC_BELOW_MM = (4.2, 4.5, 4.8, 5.2, 6.0, 7.0, 8.3, 9.6, 10.6, 11.0, 9.5)
# Slope of the end plates against the ray that meets them, in degrees: sagittal curve plus beam
# divergence. Positive: the anterior rim is projected above the posterior one.
END_PLATE_SLOPE_DEG = (9.0, 9.0, 9.0, 8.5, 8.0, 7.5, 6.0, 3.5, 0.0, -5.0, -17.0)

# Share of a fracture's lost height that shortens the spine; the neighbouring discs take the rest.
SHORTENING_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Spur:
    """An osteophyte at one corner of a body: side -1 or 1, end -1 (upper) or 1 (lower)."""

    side: int
    end: int
    length_mm: float


@dataclass(frozen=True, slots=True)
class Dent:
    """A local depression of an end plate (Schmorl node); ``u`` and ``w`` as in `end_plates`."""

    end: int
    u: float
    radius_mm: float
    depth_mm: float
    w: float = 0.0


@dataclass(frozen=True, slots=True)
class Collapse:
    """The deformity of a fractured body: lost fractions of height and what goes with them."""

    anterior: float
    middle: float
    posterior: float
    upper_share: float
    step_mm: float
    lean: float
    # Density of the crushed trabeculae under the end plate: fades as a fracture heals.
    impaction: float
    # Bone mass that stays (exponent of the lost height), and density of the end plate.
    packing: float = 0.75
    plate_gain: float = 1.4

    @property
    def rim(self) -> float:
        """Mean loss at the rim, which is what the neighbours follow."""
        return (self.anterior + self.posterior) / 2


@dataclass(frozen=True, slots=True)
class Vertebra:
    """One vertebra as it is projected; ``height_mm`` is the height before any collapse."""

    level: str
    x_mm: float
    y_mm: float
    width_mm: float
    depth_mm: float
    height_mm: float
    disc_below_mm: float
    roll_rad: float
    slope: float
    axial_rad: float
    waist: float
    concavity_mm: float
    bone: float
    plate: float
    sclerosis_upper: float = 0.0
    sclerosis_lower: float = 0.0
    vacuum_below: float = 0.0
    # What a normal body's front is lower than its back, as a fraction of its height.
    wedge: float = 0.0
    # The same for its right side (of the film) against its left.
    lateral: float = 0.0
    spurs: tuple[Spur, ...] = ()
    dents: tuple[Dent, ...] = ()
    collapse: Collapse | None = None


def base_spine(
    rng: np.random.Generator, setting: Setting, *, scale: float, age_years: int, bone: float
) -> tuple[Vertebra, ...]:
    """Sample a spine with the degeneration of its age and no finding.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of the spine.
    setting : Setting
        How much spines differ.
    scale : float
        Film size over anatomical mean: magnification times body size.
    age_years : int
        Degeneration grows with age.
    bone : float
        Trabecular density, 1 for a healthy fifty-year-old.

    Returns
    -------
    tuple of Vertebra
        From T7 down to L5; the centre of L3 lies at y = 0.
    """
    count = len(LEVELS)
    height_factor = rng.normal(1.0, 0.03)
    width_factor = rng.normal(1.0, 0.04)
    disc_factor = rng.normal(1.0, 0.10) - 0.004 * (age_years - 60)
    lordosis = rng.uniform(0.6, 1.15)
    slope_offset = rng.normal(0.0, setting.slope_sd_deg)
    # Some have a scoliosis of their own, so that a curve is no evidence against a fracture.
    curve_mm = rng.normal(0.0, 4.0) * (3.5 if rng.random() < setting.curve_share else 1.0)
    curve_centre_mm = rng.uniform(-110.0, 20.0)
    lean = rng.normal(0.0, setting.lean_sd)
    axial = rng.normal(0.0, setting.axial_sd)
    waist = rng.uniform(0.06, 0.11)
    own_height = rng.normal(1.0, setting.height_sd, count)
    heights = np.array(BODY_HEIGHT_MM) * scale * height_factor * own_height
    own_disc = rng.normal(1.0, setting.disc_sd, count)
    discs = np.array(DISC_BELOW_MM) * scale * disc_factor * own_disc
    degenerated = rng.random(count) < setting.degeneration * (0.05 + 0.006 * (age_years - 50))
    discs = np.where(degenerated, discs * rng.uniform(0.55, 0.9, count), discs)
    spur_size = rng.gamma(2.0, 1.2 + 0.03 * (age_years - 50), (count, 2, 2))
    spur_share = np.where(degenerated, 0.6, setting.spur_share)
    spur_here = rng.random((count, 2, 2)) < spur_share[:, None, None]
    sclerosis = np.where(degenerated, rng.uniform(0.0, 0.9, count), 0.0)
    roll_noise = rng.normal(0.0, 0.012, count)
    slope_noise = rng.normal(0.0, setting.own_slope_sd_deg, count)
    slopes_deg = np.array(END_PLATE_SLOPE_DEG) * lordosis + slope_offset + slope_noise
    concavity = rng.uniform(0.8, 2.2, count) * (1.0 + 0.5 * (1.0 - bone))
    bone_noise = rng.normal(1.0, 0.04, count)
    follows = setting.cortex_follows
    plate = rng.uniform(0.85, 1.15) * ((1 - follows) + follows * bone)

    centres = np.zeros(count)
    for i in range(count - 2, -1, -1):
        centres[i] = centres[i + 1] - (heights[i] + heights[i + 1]) / 2 - discs[i]
    centres -= centres[LEVELS.index("L3")]
    bend = np.exp(-(((centres - curve_centre_mm) / 95.0) ** 2))
    shifts = curve_mm * bend + lean * centres
    rolls = -(curve_mm * bend * -2 * (centres - curve_centre_mm) / 95.0**2 + lean)

    def spurs_of(i: int) -> tuple[Spur, ...]:
        return tuple(
            Spur(side, end, float(min(spur_size[i, s, e], 9.0)))
            for s, side in enumerate((-1, 1))
            for e, end in enumerate((-1, 1))
            if spur_here[i, s, e]
        )

    return tuple(
        Vertebra(
            level=level,
            x_mm=float(shifts[i]),
            y_mm=float(centres[i]),
            width_mm=float(BODY_WIDTH_MM[i] * scale * width_factor),
            depth_mm=float(BODY_DEPTH_MM[i] * scale * width_factor),
            height_mm=float(heights[i]),
            disc_below_mm=float(discs[i]),
            roll_rad=float(rolls[i] + roll_noise[i]),
            slope=float(np.tan(np.deg2rad(slopes_deg[i]))),
            axial_rad=float(axial + 0.8 * rolls[i]),
            waist=float(waist),
            concavity_mm=float(concavity[i]),
            bone=float(bone * bone_noise[i]),
            plate=float(plate),
            sclerosis_upper=float(sclerosis[i - 1]) if i else 0.0,
            sclerosis_lower=float(sclerosis[i]),
            spurs=spurs_of(i),
        )
        for i, level in enumerate(LEVELS)
    )


def collapsed(
    vertebrae: Sequence[Vertebra], collapses: Sequence[tuple[str, Collapse]]
) -> tuple[Vertebra, ...]:
    """Return the spine with these levels collapsed and everything above them moved down.

    The spine shortens by ``SHORTENING_SHARE`` of the rim's loss, the neighbouring discs open by
    the rest, as on films of old fractures.
    """
    spine = list(vertebrae)
    for level, collapse in collapses:
        i = LEVELS.index(level)
        lost_mm = collapse.rim * spine[i].height_mm * SHORTENING_SHARE
        for j in range(i):
            spine[j] = replace(spine[j], y_mm=spine[j].y_mm + lost_mm)
        own_mm = lost_mm * (1 - collapse.upper_share)
        spine[i] = replace(spine[i], collapse=collapse, y_mm=spine[i].y_mm + own_mm)
    return tuple(spine)


def narrowed(
    vertebrae: Sequence[Vertebra], level: str, fraction: float, sclerosis: float, vacuum: float
) -> tuple[Vertebra, ...]:
    """Return the spine with the disc below ``level`` narrowed and its end plates dense."""
    spine = list(vertebrae)
    i = LEVELS.index(level)
    lost_mm = spine[i].disc_below_mm * fraction
    for j in range(i + 1):
        spine[j] = replace(spine[j], y_mm=spine[j].y_mm + lost_mm)
    spine[i] = replace(
        spine[i],
        disc_below_mm=spine[i].disc_below_mm - lost_mm,
        sclerosis_lower=max(spine[i].sclerosis_lower, sclerosis),
        vacuum_below=vacuum,
    )
    if i + 1 < len(spine):
        below = spine[i + 1]
        spine[i + 1] = replace(below, sclerosis_upper=max(below.sclerosis_upper, sclerosis))
    return tuple(spine)


def spurred(
    vertebrae: Sequence[Vertebra], level: str, lengths_mm: tuple[float, float]
) -> tuple[Vertebra, ...]:
    """Return the spine with spurs on both sides of the disc below ``level``."""
    spine = list(vertebrae)
    i = LEVELS.index(level)
    for j, end in ((i, 1), (i + 1, -1)):
        if j < len(spine):
            kept = tuple(s for s in spine[j].spurs if s.end != end)
            new = tuple(
                Spur(side, end, mm) for side, mm in zip((-1, 1), lengths_mm, strict=True) if mm > 1
            )
            spine[j] = replace(spine[j], spurs=kept + new)
    return tuple(spine)


def tilted(vertebrae: Sequence[Vertebra], level: str, degrees: float) -> tuple[Vertebra, ...]:
    """Return the spine tilted to the beam around ``level``: end plates become ellipses."""
    centre = next(v.y_mm for v in vertebrae if v.level == level)
    return tuple(
        replace(
            v,
            slope=v.slope
            + float(np.tan(np.deg2rad(degrees)) * np.exp(-(((v.y_mm - centre) / 60.0) ** 2))),
        )
        for v in vertebrae
    )


def curved(vertebrae: Sequence[Vertebra], level: str, shift_mm: float) -> tuple[Vertebra, ...]:
    """Return the spine bent sideways with its apex at ``level``, bodies rolled and rotated."""
    centre = next(v.y_mm for v in vertebrae if v.level == level)
    bent = []
    for v in vertebrae:
        d = (v.y_mm - centre) / 85.0
        shift = shift_mm * float(np.exp(-(d**2)))
        roll = 2 * d / 85.0 * shift
        axial = v.axial_rad + 0.012 * shift
        bent.append(replace(v, x_mm=v.x_mm + shift, roll_rad=v.roll_rad + roll, axial_rad=axial))
    return tuple(bent)


def shortened(vertebrae: Sequence[Vertebra], level: str, fraction: float) -> tuple[Vertebra, ...]:
    """Return the spine with one body lower than its neighbours suggest, as some people's are."""
    spine = list(vertebrae)
    i = LEVELS.index(level)
    lost_mm = spine[i].height_mm * fraction
    for j in range(i):
        spine[j] = replace(spine[j], y_mm=spine[j].y_mm + lost_mm)
    here = spine[i]
    spine[i] = replace(here, height_mm=here.height_mm - lost_mm, y_mm=here.y_mm + lost_mm / 2)
    return tuple(spine)


def wedged(vertebrae: Sequence[Vertebra], level: str, fraction: float) -> tuple[Vertebra, ...]:
    """Return the spine with the front of one normal body lower than its back."""
    return tuple(
        replace(v, wedge=max(v.wedge, fraction)) if v.level == level else v for v in vertebrae
    )


def bowed(
    vertebrae: Sequence[Vertebra], level: str, depth_mm: float, apart: float
) -> tuple[Vertebra, ...]:
    """Return the spine with a Cupid's bow: two shallow pits at the back of a lower end plate.

    A normal variant of L3 to L5 (Dietz and Christensen 1976, Radiology 121:577).
    """
    for u in (-apart, apart):
        vertebrae = dented(vertebrae, level, Dent(1, u, 8.0, depth_mm, w=0.45))
    return tuple(vertebrae)


def dented(vertebrae: Sequence[Vertebra], level: str, dent: Dent) -> tuple[Vertebra, ...]:
    """Return the spine with a Schmorl node in one end plate of ``level``."""
    return tuple(replace(v, dents=(*v.dents, dent)) if v.level == level else v for v in vertebrae)


def end_plates(
    v: Vertebra, u: NDArray[np.float32], w: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the heights of both end plates in the vertebra's own frame.

    Parameters
    ----------
    v : Vertebra
        The body.
    u, w : float32 arrays that broadcast
        Lateral place and depth in units of half the width and half the depth; ``w`` = -1 is
        the anterior rim.

    Returns
    -------
    upper, lower : float32 arrays
        Millimetres, down positive, 0 at the undeformed centre.
    """
    half = v.height_mm / 2
    bowl = np.clip(1 - u * u, 0, 1) * np.clip(1 - w * w, 0, 1)
    upper = -half + v.concavity_mm * bowl
    lower = half - v.concavity_mm * bowl
    if v.collapse is not None:
        c = v.collapse
        rim = (c.anterior * (1 - w) + c.posterior * (1 + w)) / 2
        centre = c.middle - c.rim
        loss = v.height_mm * (rim + centre * np.sqrt(bowl))
        loss = loss * (1 + c.lean * np.clip(u, -1, 1))
        upper = upper + c.upper_share * loss
        lower = lower - (1 - c.upper_share) * loss
    if v.wedge:
        front = v.wedge * v.height_mm * (1 - w) / 4
        upper, lower = upper + front, lower - front
    if v.lateral:
        side = v.lateral * v.height_mm * u / 4
        upper, lower = upper + side, lower - side
    for dent in v.dents:
        du = (u - dent.u) * (v.width_mm / 2)
        dw = (w - dent.w) * (v.depth_mm / 2)
        pit = dent.depth_mm * np.exp(-(((du**2 + dw**2) / dent.radius_mm**2) ** 2))
        if dent.end < 0:
            upper = upper + pit
        else:
            lower = lower - pit
    tilt = v.slope * w * (v.depth_mm / 2)
    return (upper + tilt).astype(np.float32), (lower + tilt).astype(np.float32)


def projected_box_mm(v: Vertebra) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1) of the projected body in millimetres, collapse included."""
    angle = np.linspace(0, 2 * np.pi, 48, dtype=np.float32)
    u = (np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.8).astype(np.float32)
    w = (np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.8).astype(np.float32)
    upper, lower = end_plates(v, u, w)
    lateral = u * (v.width_mm / 2)
    x = np.concatenate([lateral, lateral])
    y = np.concatenate([upper, lower])
    cos, sin = np.cos(v.roll_rad), np.sin(v.roll_rad)
    xs = v.x_mm + x * cos - y * sin
    ys = v.y_mm + x * sin + y * cos
    return float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())
