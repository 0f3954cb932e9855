"""Ribs, sacrum, pelvis and hips: outlines in mm of an adult pelvis, scaled to the patient.

Outlines are on the film's right side (x > 0) and mirrored; the origin of the pelvis is the
middle of the first sacral end plate. Drawn after the proportions of anteroposterior pelvic
films in textbooks of radiographic positioning.
"""

from collections.abc import Callable

import numpy as np

from vfscreen.phantom.anatomy import Patient
from vfscreen.phantom.projection import MU_CORTEX
from vfscreen.phantom.raster import Ellipsoid, Layer, Region, Tube
from vfscreen.phantom.spine import Vertebra
from vfscreen.phantom.streams import stream

Points = tuple[tuple[float, float], ...]
Place = Callable[[float, float, int], tuple[float, float]]

ILIUM: Points = (
    (36, 8), (46, -16), (64, -33), (86, -42), (106, -40), (123, -26), (133, -4), (135, 18),
    (128, 38), (121, 54), (122, 70), (127, 86), (126, 102), (117, 116), (102, 122), (88, 116),
    (80, 100), (74, 84), (64, 70), (52, 58), (45, 44), (39, 26),
)  # fmt: skip
SACRUM: Points = (
    (0, -2), (26, -2), (48, 6), (51, 22), (47, 40), (38, 56), (29, 74), (20, 92), (12, 104),
    (0, 108), (-12, 104), (-20, 92), (-29, 74), (-38, 56), (-47, 40), (-51, 22), (-48, 6),
    (-26, -2),
)  # fmt: skip
FORAMINA = ((17.0, 24.0), (15.5, 44.0), (13.5, 62.0), (11.0, 78.0))


def smoothed(points: Points, pieces: int = 3) -> Points:
    """Return a closed Catmull-Rom curve through the points."""
    p = np.array(points, float)
    a, c, d = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    out = []
    for k in range(pieces):
        t = k / pieces
        out.append(
            0.5 * (2 * p + (c - a) * t + (2 * a - 5 * p + 4 * c - d) * t**2
                   + (3 * p - a - 3 * c + d) * t**3)
        )  # fmt: skip
    curve = np.stack(out, axis=1).reshape(-1, 2)
    return tuple((float(x), float(y)) for x, y in curve)


def build_skeleton(patient: Patient) -> tuple[Layer, ...]:
    """Return everything bony but the vertebrae."""
    return (*_pelvis(patient), *_ribs(patient))


def pelvic_origin(patient: Patient) -> tuple[float, float]:
    """Middle of the first sacral end plate in the patient's frame (mm)."""
    last = patient.vertebrae[-1]
    return last.x_mm, last.y_mm + last.height_mm / 2 + last.disc_below_mm + 3.0


def _pelvis(patient: Patient) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "pelvis")
    ox, oy = pelvic_origin(patient)
    scale = patient.body.scale * rng.normal(1.0, 0.025)
    tall = scale * rng.normal(0.98, 0.05)
    if patient.sex == "F":
        scale *= 1.03
    turn = patient.body.rotation_rad
    bone = 0.45 + 0.55 * patient.body.bone
    obliquity = rng.normal(0.0, 0.015)

    def place(x: float, y: float, side: int) -> tuple[float, float]:
        # A rotated patient shows one iliac wing broader than the other.
        wide = scale * (1 + side * turn * 0.9)
        x, y = side * x * wide, y * tall
        return ox + x - y * obliquity, oy + y + x * obliquity

    sacrum = tuple((ox + x * scale + turn * 30, oy + y * tall) for x, y in SACRUM)
    layers = [Layer((Region(smoothed(sacrum, 2), 0.26 * bone, 22.0, 0.16 * bone, 2.0),))]
    parts: list[Ellipsoid | Tube | Region] = []
    for fx, fy in FORAMINA:
        for side in (-1, 1):
            x, y = ox + side * fx * scale + turn * 30, oy + fy * tall
            parts.append(Ellipsoid(x, y, 5.4 * scale, 4.0 * scale, 10.0, -0.011 * bone))
            arc = tuple(
                (x + 6.2 * scale * np.cos(t), y - 5.0 * scale * np.sin(t))
                for t in np.linspace(0.15, np.pi - 0.15, 6)
            )
            parts.append(Tube(arc, (0.9,) * 6, MU_CORTEX * 2.2 * bone))
    crest = [(ox + turn * 40 + rng.normal(0, 0.6), oy + y * tall) for y in (14, 28, 42, 56)]
    parts += [Ellipsoid(x, y, 3.0, 6.0, 10.0, 0.016 * bone) for x, y in crest]
    prosthesis = rng.choice(4, p=(0.90, 0.04, 0.04, 0.02))
    hips: list[Layer] = []
    for side in (-1, 1):
        outline = smoothed(tuple(place(x, y, side) for x, y in ILIUM), 2)
        parts.append(Region(outline, 0.20 * bone, 16.0, 0.24 * bone, 2.4))
        # Bone is thick behind the sacroiliac joint and over the acetabulum, thin in the wing.
        thick = ((52.0, 18.0, 13.0, 26.0, 0.55), (104.0, 92.0, 20.0, 24.0, 0.2))
        for x, y, a, b, lean in thick:
            px, py = place(x, y, side)
            parts.append(
                Ellipsoid(
                    px, py, a * scale, b * scale, 22.0, 0.014 * bone, -side * lean, diffuse=True
                )
            )
        wing = place(92.0, 4.0, side)
        parts.append(
            Ellipsoid(wing[0], wing[1], 26 * scale, 32 * scale, 9.0, -0.013 * bone, diffuse=True)
        )
        hips += _hip(place, side, scale, bone, replaced=bool(prosthesis & (1 if side < 0 else 2)))
        joint = tuple(place(x, y, side) for x, y in ((42, 6), (45, 22), (43, 38), (36, 52)))
        parts.append(Tube(joint, (1.3,) * 4, -MU_CORTEX * 1.9))
    return (*layers, Layer(tuple(parts)), *hips)


def _hip(place: Place, side: int, scale: float, bone: float, *, replaced: bool) -> list[Layer]:
    mu = MU_CORTEX * bone
    rami = (
        Tube(
            (place(84, 106, side), place(52, 122, side), place(16, 132, side)),
            (9 * scale, 7 * scale, 9 * scale), mu * 0.28, 1.6, mu * 0.95,
        ),
        Tube(
            (place(88, 116, side), place(80, 146, side), place(62, 170, side),
             place(34, 158, side), place(14, 142, side)),
            (12 * scale, 11 * scale, 10 * scale, 6.5 * scale, 7 * scale),
            mu * 0.26, 1.6, mu * 0.85,
        ),
    )  # fmt: skip
    head = place(103, 104, side)
    shaft = (place(146, 168, side), place(142, 260, side))
    neck = Tube((head, place(138, 142, side)), (17 * scale, 15 * scale), mu * 0.22, 1.6, mu * 0.7)
    trochanter = Tube(
        (place(138, 138, side), place(150, 132, side)), (13 * scale, 9 * scale), mu * 0.2, 1.4,
        mu * 0.6,
    )  # fmt: skip
    femur = Tube(shaft, (16 * scale, 15 * scale), mu * 0.10, 5.0, mu * 0.95)
    if replaced:
        metal = 0.30
        implant = (
            Ellipsoid(head[0], head[1], 25 * scale, 25 * scale, 30.0, metal * 0.35, shell_mm=5.0),
            Ellipsoid(head[0], head[1], 15 * scale, 15 * scale, 28.0, metal * 0.6),
            Tube((head, place(136, 140, side), place(143, 230, side)), (7.0, 8.0, 5.0), metal),
        )
        return [Layer(rami, merged=True), Layer((trochanter, femur), merged=True), Layer(implant)]
    ball = Ellipsoid(head[0], head[1], 24 * scale, 24 * scale, 40 * scale, mu * 0.17)
    rim = Ellipsoid(head[0], head[1], 24 * scale, 24 * scale, 34 * scale, mu * 0.26, shell_mm=1.6)
    return [
        Layer(rami, merged=True),
        Layer((ball,)),
        Layer((rim,)),
        Layer((neck, trochanter, femur), merged=True),
    ]


def _ribs(patient: Patient) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "ribs")
    bone = 0.4 + 0.6 * patient.body.bone
    chest = min(patient.body.half_width_mm * 0.93, 168.0) * rng.normal(1.0, 0.03)
    drop = rng.normal(1.0, 0.12)
    twelfth = min(rng.uniform(55.0, 130.0), 0.72 * chest)
    layers = []
    for level in ("T8", "T9", "T10", "T11", "T12"):
        v = next(v for v in patient.vertebrae if v.level == level)
        for side in (-1, 1):
            jitter = rng.normal(0, 2.5)
            points = _rib_course(v, level, side, chest, drop, twelfth, jitter)
            count = len(points)
            radii = tuple(float(r) for r in np.linspace(5.0, 5.6, count) * patient.body.scale)
            if level in ("T11", "T12"):
                radii = tuple(r * (1 - 0.35 * (i / count) ** 3) for i, r in enumerate(radii))
            mu = MU_CORTEX * bone
            layers.append(Layer((Tube(points, radii, mu * 0.20, 1.3, mu * 0.72),), merged=True))
    return tuple(layers)


def _rib_course(
    v: Vertebra,
    level: str,
    side: int,
    chest: float,
    drop: float,
    twelfth_mm: float,
    jitter_mm: float,
) -> Points:
    """Course of one rib: out from the vertebra, down along the wall, then forward and inward."""
    number = int(level[1:])
    start_x = v.width_mm * 0.5 + 2.0
    y0 = v.y_mm - v.height_mm * 0.3
    wall = chest * (0.90 + 0.025 * (12 - number)) - start_x
    if number == 12:
        t = np.linspace(0, 1, 9)
        x, y = twelfth_mm * t, twelfth_mm * drop * (0.42 * t + 0.18 * t**2) + jitter_mm * t
    else:
        # Posterior arc to the side wall; floating ribs end there, others return anteriorly.
        angle = np.linspace(0, 1.30 if number == 11 else 2.05, 12 if number == 11 else 18)
        x = wall * np.sin(np.minimum(angle, np.pi)) ** 0.9
        y = drop * (62.0 * (1 - np.cos(angle)) + 16.0 * angle) + jitter_mm * angle
    x0 = v.x_mm * 0.5 + side * start_x
    return tuple((float(x0 + side * a), float(y0 + b)) for a, b in zip(x, y, strict=True))
