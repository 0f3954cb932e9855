"""Everything soft, gaseous or foreign: trunk, organs, bowel, vessels, metalwork, marker."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vfscreen.phantom.anatomy import Field, Patient
from vfscreen.phantom.overlays import gas_loop, lines, over_spine, stool_over_spine
from vfscreen.phantom.projection import MU_FAT, MU_SOFT
from vfscreen.phantom.raster import Ellipsoid, Grid, Image, Layer, Region, Tube, resample
from vfscreen.phantom.skeleton import pelvic_origin, smoothed
from vfscreen.phantom.spine import LEVELS, Vertebra
from vfscreen.phantom.streams import stream

# Mesh of what has no sharp edge.
SOFT_STEP_MM = 3.0
# The mesh covers every field of view of the patient, whichever film is rendered.
SOFT_REACH_MM = (300.0, 330.0)
Mesh = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Layers by what the texture of the full film does to them."""

    soft: tuple[Layer, ...]
    metal: tuple[Layer, ...]


def build_parts(patient: Patient) -> Parts:
    """Return organs and gas, and metalwork, of a patient."""
    vertebrae = {v.level: v for v in patient.vertebrae}
    return Parts(
        soft=(
            *_organs(patient, vertebrae),
            *_bowel(patient, vertebrae),
            *_vessels(patient, vertebrae),
            *(over_spine(patient) if patient.setting.varied else ()),
        ),
        metal=(
            *_metalwork(patient, vertebrae),
            *(lines(patient) if patient.setting.varied else ()),
        ),
    )


def soft_tissue(patient: Patient) -> tuple[Image, Grid]:
    """Return the trunk's attenuation on a coarse mesh: muscle, fat, clutter and stool.

    Returns
    -------
    attenuation : float32 (H, W)
    grid : Grid
    """
    rng = stream(patient.seed, "soft-tissue")
    reach_x, reach_y = SOFT_REACH_MM
    shape = (int(2 * reach_y / SOFT_STEP_MM), int(2 * reach_x / SOFT_STEP_MM))
    grid = Grid(-reach_x, -reach_y, SOFT_STEP_MM, shape)
    x = (grid.x_mm + SOFT_STEP_MM * np.arange(shape[1]))[None, :]
    y = (grid.y_mm + SOFT_STEP_MM * np.arange(shape[0]))[:, None]
    body = patient.body
    waist = rng.uniform(0.02, 0.10)
    lean = rng.normal(0.0, 0.02)
    middle = rng.normal(0.0, 6.0) + lean * y
    _, pelvis_y = pelvic_origin(patient)
    half = body.half_width_mm * (
        1 - waist * np.exp(-(((y - 30) / 70) ** 2)) + 0.06 / (1 + np.exp(-(y - pelvis_y) / 25))
    )
    thick = body.thickness_mm * (
        1 + 0.08 * np.exp(-(((y - 60) / 120) ** 2)) + rng.normal(0, 0.0001) * y
    )
    # The chest is flatter than the belly, and thins out towards the top of the film.
    chest_y = patient.vertebrae[LEVELS.index("T11")].y_mm
    thick = thick * (1 - 0.11 / (1 + np.exp((y - chest_y) / 22)))
    u = (x - middle) / half
    outer = np.clip(1 - np.abs(u) ** 2.5, 0, 1) ** 0.5
    inner_half = half - body.fat_mm
    inner_u = (x - middle) / inner_half
    inner = np.clip(1 - np.abs(inner_u) ** 2.7, 0, 1) ** 0.5
    inner_thick = np.maximum(thick - 1.7 * body.fat_mm, 0.45 * thick)
    muscle_share = 0.86 - 0.04 * rng.random()
    # Between the organs there is fat as well; the abdominal wall's muscle is a rim of its own.
    wall = np.clip(1 - np.abs(np.abs(inner_u) - 0.965) / 0.035, 0, 1) * 0.45
    lean_mm = inner_thick * inner * (muscle_share + 0.14 * np.clip(wall, 0, 1))
    attenuation = MU_FAT * thick * outer + (MU_SOFT - MU_FAT) * lean_mm

    clutter = np.zeros(shape)
    for sigma_mm, weight in ((5.0, 0.012), (11.0, 0.026), (26.0, 0.045), (60.0, 0.05)):
        clutter += weight * patient.setting.clutter * _noise(rng, shape, sigma_mm)
    attenuation += clutter * inner
    attenuation += _stool(rng, x, y, shape, pelvis_y) * inner
    if patient.setting.varied:
        attenuation += stool_over_spine(patient, x, y) * inner
    # Thighs and perineum: attenuation falls towards the lower edge between the legs.
    gap = np.clip((y - pelvis_y - 150) / 40, 0, 1) * np.exp(-((x / 16.0) ** 2))
    attenuation *= 1 - 0.45 * gap
    return attenuation.astype(np.float32), grid


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma_mm: float) -> Mesh:
    """Smooth noise of unit variance; wide structures on a mesh of their own."""
    factor = max(1, int(sigma_mm / SOFT_STEP_MM / 2.5))
    small = (shape[0] // factor + 4, shape[1] // factor + 4)
    noise = ndimage.gaussian_filter(rng.standard_normal(small), sigma_mm / SOFT_STEP_MM / factor)
    noise /= noise.std()
    if factor > 1:
        rows, columns = (1 + np.arange(n, dtype=np.float32) / np.float32(factor) for n in shape)
        return resample(noise.astype(np.float32), rows, columns).astype(np.float64)
    return np.asarray(noise[: shape[0], : shape[1]], np.float64)


def _stool(
    rng: np.random.Generator, x: Mesh, y: Mesh, shape: tuple[int, int], pelvis_y: float
) -> Mesh:
    """Mottled gas in the ascending colon, caecum and rectum."""
    fine = ndimage.gaussian_filter(rng.standard_normal(shape), 1.1)
    fine = fine / fine.std()
    bubbles = np.clip(fine - 0.35, 0, 1.6)
    out = np.zeros(shape)
    amount = rng.gamma(1.5, 0.07, 3).clip(0, 0.32)
    places = (
        (-105 + rng.normal(0, 10), 40 + rng.normal(0, 15), 24.0, 62.0),
        (112 + rng.normal(0, 8), 30 + rng.normal(0, 20), 18.0, 70.0),
        (rng.normal(0, 6), pelvis_y + 75, 24.0, 32.0),
    )
    for (cx, cy, a, b), mu in zip(places, amount, strict=True):
        envelope = np.clip(1.15 - ((x - cx) / a) ** 2 - ((y - cy) / b) ** 2, 0, 1)
        out += envelope * (0.05 - mu * bubbles)
    return out


def _organs(patient: Patient, vertebrae: dict[str, Vertebra]) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "organs")
    s = patient.body.scale
    t12, l2, l4 = vertebrae["T12"], vertebrae["L2"], vertebrae["L4"]
    inner = patient.body.half_width_mm - patient.body.fat_mm
    layers = []
    edge = rng.uniform(3.0, 9.0)
    psoas_mu = rng.uniform(0.05, 0.16)
    for side in (-1, 1):
        spread = rng.uniform(62, 78) * s
        root, foot = t12.y_mm + 12, l4.y_mm + rng.uniform(60, 90)
        outline = (
            (t12.x_mm + side * 14, root), (l2.x_mm + side * 30 * s, l2.y_mm - 18),
            (l2.x_mm + side * 44 * s, l2.y_mm + 22), (l4.x_mm + side * spread, l4.y_mm),
            (l4.x_mm + side * (spread + 8), foot), (l4.x_mm + side * (spread - 10), foot + 45),
            (l4.x_mm + side * 14, l4.y_mm + 20), (l2.x_mm + side * 10, l2.y_mm),
        )  # fmt: skip
        layers.append(Layer((Region(smoothed(outline, 2), psoas_mu, edge * 2.2),)))
        ky = l2.y_mm + (-16 if side > 0 else 0) * s + rng.normal(0, 7)
        kx = l2.x_mm + side * rng.uniform(68, 84) * s
        layers.append(
            Layer((Ellipsoid(kx, ky, 30 * s, 58 * s, 52.0, rng.uniform(0.0006, 0.0019),
                             -side * rng.uniform(0.12, 0.35)),))
        )  # fmt: skip
    tip = l2.y_mm + rng.normal(22, 22)
    top = vertebrae["T10"].y_mm - 70
    liver = (
        (-inner * 0.96, top), (10, top), (46, top + 36), (10, t12.y_mm + 6),
        (-44, t12.y_mm + 42), (-inner * 0.60, tip - 18), (-inner * 0.84, tip + 10),
        (-inner * 0.95, tip - 20),
    )  # fmt: skip
    layers.append(Layer((Region(smoothed(liver, 2), rng.uniform(0.10, 0.24), 26.0),)))
    spleen_x, spleen_y = inner * 0.74, t12.y_mm - rng.uniform(0, 18)
    layers.append(
        Layer(
            (Ellipsoid(spleen_x, spleen_y, 28 * s, 50 * s, 60.0, rng.uniform(0.001, 0.0022), 0.35),)
        )
    )
    layers.append(
        Layer((Ellipsoid(rng.normal(0, 5), pelvic_origin(patient)[1] + 105, rng.uniform(26, 55) * s,
                         rng.uniform(20, 42) * s, 60.0, 0.0022),))
    )  # fmt: skip
    layers.extend(_lungs(rng, vertebrae, inner))
    return tuple(layers)


def _lungs(rng: np.random.Generator, vertebrae: dict[str, Vertebra], inner: float) -> list[Layer]:
    """Lung bases above the domes, and the thinner recess behind them, and the heart."""
    t10 = vertebrae["T10"]
    found = []
    for side in (-1, 1):
        dome = t10.y_mm + rng.normal(-14, 14) + (6 if side > 0 else -4)
        wall = min(inner * 0.94, 165)
        lung = (
            (side * 24, dome - 150), (side * 27, dome - 22), (side * 50, dome - 4),
            (side * 84, dome), (side * (wall - 26), dome + 14), (side * (wall - 4), dome + 44),
            (side * wall, dome - 40), (side * wall, dome - 150),
        )  # fmt: skip
        found.append(Layer((Region(smoothed(lung, 3), -rng.uniform(0.6, 1.05), 38.0),)))
        recess = (
            (side * 20, dome - 100), (side * 20, dome + 42), (side * 70, dome + 52),
            (side * (wall - 14), dome + 66), (side * wall, dome - 100),
        )  # fmt: skip
        found.append(Layer((Region(smoothed(recess, 3), -rng.uniform(0.10, 0.32), 30.0),)))
    heart = (26 + rng.normal(0, 5), t10.y_mm - 62, rng.uniform(58, 74), rng.uniform(44, 56))
    found.append(Layer((Ellipsoid(*heart, 60.0, 0.006),)))
    return found


def _bowel(patient: Patient, vertebrae: dict[str, Vertebra]) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "bowel")
    l1, l3 = vertebrae["L1"], vertebrae["L3"]
    _, pelvis_y = pelvic_origin(patient)
    inner = min(patient.body.half_width_mm - patient.body.fat_mm, 175.0)
    gassy = rng.gamma(2.0, 0.5)
    layers = []

    def some(share: float) -> bool:
        return bool(rng.random() < share)

    if some(0.7):
        x, y = rng.uniform(48, 95), l1.y_mm - rng.uniform(30, 65)
        size = rng.uniform(16, 34)
        layers.append(gas_loop(rng, [(x - size * 0.7, y + 6), (x, y), (x + size, y - 8)], size,
                            size * rng.uniform(0.9, 1.7)))  # fmt: skip
    if some(0.55):
        sag = rng.uniform(5, 55)
        y = l1.y_mm + rng.uniform(15, 45)
        left, right = -inner * rng.uniform(0.5, 0.75), inner * rng.uniform(0.5, 0.75)
        path = [(left, y), (left * 0.4, y + sag), (right * 0.4, y + sag), (right, y - 25)]
        radius = rng.uniform(11, 18)
        layers.append(gas_loop(rng, path, radius, radius * rng.uniform(0.6, 1.5)))
    for share, x in ((0.55, inner * 0.76), (0.5, -inner * 0.72)):
        if some(share):
            top, length = l3.y_mm - rng.uniform(60, 110), rng.uniform(50, 150)
            radius = rng.uniform(10, 19)
            path = [(x + rng.normal(0, 6), top), (x + rng.normal(0, 7), top + length)]
            layers.append(gas_loop(rng, path, radius, radius * rng.uniform(0.7, 1.6)))
    if some(0.6):
        y = pelvis_y + rng.uniform(45, 85)
        radius = rng.uniform(11, 20)
        path = [(rng.uniform(20, 60), y - 25), (rng.normal(0, 12), y), (rng.normal(0, 8), y + 25)]
        layers.append(gas_loop(rng, path, radius, radius * rng.uniform(0.7, 1.6)))
    for _ in range(int(rng.poisson(4.0 * gassy))):
        x = rng.normal(0, 62)
        y = l3.y_mm + rng.normal(30, 70)
        radius = rng.uniform(5, 12)
        turn = rng.uniform(0, 2 * np.pi)
        length = rng.uniform(8, 55)
        path = [(x, y), (x + length * np.cos(turn), y + length * np.sin(turn) * 0.6)]
        layers.append(gas_loop(rng, path, radius, radius * rng.uniform(0.5, 1.2)))
    if some(0.07):
        count = int(rng.integers(4, 22))
        dots = tuple(
            Ellipsoid(float(x), float(y), float(r), float(r * 0.8), float(2 * r), 0.12)
            for x, y, r in zip(
                rng.choice((-1, 1)) * inner * 0.7 + rng.normal(0, 14, count),
                l3.y_mm + rng.uniform(-60, 120, count),
                rng.uniform(1.5, 4.0, count),
                strict=True,
            )
        )
        layers.append(Layer(dots))
    elif some(0.04):
        contrast = gas_loop(
            rng, [(inner * 0.72, l3.y_mm - 40), (inner * 0.7, l3.y_mm + 90)], 12, 14
        )
        parts = tuple(
            Ellipsoid(p.x_mm, p.y_mm, p.a_mm, p.b_mm, p.depth_mm, 0.05, p.angle_rad)
            for p in contrast.parts
            if isinstance(p, Ellipsoid)
        )
        layers.append(Layer(parts, merged=True, warp=contrast.warp))
    return tuple(layers)


def _vessels(patient: Patient, vertebrae: dict[str, Vertebra]) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "vessels")
    tubes: list[Tube | Ellipsoid] = []
    if rng.random() < np.clip(0.012 * (patient.age_years - 45), 0.05, 0.5):
        top, bottom = vertebrae["L1"].y_mm, vertebrae["L4"].y_mm + 8
        middle = vertebrae["L3"].x_mm + rng.uniform(4, 16)
        half = rng.uniform(8, 13)
        bulge = rng.gamma(1.0, 2.0)
        severity = rng.uniform(0.2, 1.0)
        for side in (-1, 1):
            y = top
            while y < bottom:
                length = rng.uniform(3, 16)
                if rng.random() < severity:
                    ys = np.linspace(y, y + length, 4)
                    t = (ys - top) / (bottom - top)
                    xs = middle + side * (half + bulge * np.sin(np.pi * t)) + rng.normal(0, 0.4, 4)
                    points = tuple((float(a), float(b)) for a, b in zip(xs, ys, strict=True))
                    tubes.append(
                        Tube(points, (float(rng.uniform(0.5, 1.1)),) * 4,
                             float(rng.uniform(0.05, 0.13)))
                    )  # fmt: skip
                y += length
    _, pelvis_y = pelvic_origin(patient)
    for _ in range(int(rng.poisson(1.2))):
        x = float(rng.choice((-1, 1)) * rng.uniform(28, 75))
        y, r = float(pelvis_y + rng.uniform(85, 125)), float(rng.uniform(1.3, 2.8))
        tubes.append(Ellipsoid(x, y, r, r, 2 * r, 0.06))
    return (Layer(tuple(tubes)),)


def _metalwork(patient: Patient, vertebrae: dict[str, Vertebra]) -> tuple[Layer, ...]:
    rng = stream(patient.seed, "metalwork")
    layers = []
    hurt = {f.level for f in patient.fractures} | {m.level for m in patient.mimics}
    if rng.random() < 0.04 and not hurt & {"L3", "L4", "L5"}:
        # Screws only where nothing is to be found: hardware must not tell the label.
        screws: list[Tube | Ellipsoid] = []
        heads: dict[int, list[tuple[float, float]]] = {-1: [], 1: []}
        for level in ("L4", "L5"):
            v = vertebrae[level]
            for side in (-1, 1):
                head = (v.x_mm + side * v.width_mm * 0.32, v.y_mm - 3 + v.slope * 20)
                tip = (v.x_mm + side * v.width_mm * 0.12, v.y_mm - 2)
                screws.append(Tube((head, tip), (3.2, 2.2), 0.22))
                screws.append(Ellipsoid(*head, 6.0, 6.0, 12.0, 0.2))
                heads[side].append(head)
        screws += [Tube(tuple(points), (2.8,) * len(points), 0.25) for points in heads.values()]
        layers.append(Layer(tuple(screws), merged=True))
    if rng.random() < 0.13:
        clips = []
        for _ in range(int(rng.integers(2, 7))):
            x, y = -62 + rng.normal(0, 16), vertebrae["L1"].y_mm + rng.normal(12, 16)
            turn, length = rng.uniform(0, np.pi), rng.uniform(4, 8)
            end = (float(x + length * np.cos(turn)), float(y + length * np.sin(turn)))
            clips.append(Tube(((float(x), float(y)), end), (0.7, 0.7), 1.0))
        layers.append(Layer(tuple(clips)))
    if rng.random() < 0.06:
        _, pelvis_y = pelvic_origin(patient)
        x, y = float(rng.normal(0, 6)), float(pelvis_y + rng.uniform(-40, 30))
        button = (Ellipsoid(x, y, 8.0, 8.0, 3.0, 0.5), Ellipsoid(x, y, 3.0, 3.0, 3.0, 0.6))
        layers.append(Layer(button))
        teeth = tuple(
            Ellipsoid(x + float(rng.normal(0, 0.3)), y + 14 + 2.4 * k, 2.2, 0.7, 2.0, 0.5)
            for k in range(int(rng.integers(20, 45)))
        )
        layers.append(Layer(teeth))
    if rng.random() < 0.05:
        # A monitoring lead or tube lying over the patient.
        x0, drift, swing = rng.uniform(-150, 150), rng.normal(0, 0.25), rng.uniform(4, 22)
        phase, wave = rng.uniform(0, 2 * np.pi), rng.uniform(45, 110)
        top = vertebrae["T10"].y_mm - 70
        along = np.linspace(0, rng.uniform(90, 220), 24)
        across = x0 + drift * along + swing * np.sin(along / wave * 2 + phase)
        course = tuple((float(x), float(top + y)) for x, y in zip(across, along, strict=True))
        layers.append(Layer((Tube(course, (0.9,) * len(course), 0.35),), merged=True))
    return tuple(layers)


def side_marker(patient: Patient, field: Field, view: int) -> Layer:
    """Return the lead letter, R on the film's left or L on its right."""
    rng = stream(patient.seed, "marker", view)
    right = bool(rng.random() < 0.5)
    size = float(rng.uniform(8.0, 13.0))
    inset = float(rng.uniform(14.0, 28.0))
    low = bool(rng.random() < 0.4)
    x0 = field.x0_mm + field.margin_left_mm + inset
    if not right:
        x0 = field.x0_mm + field.width_mm - field.margin_right_mm - inset - size * 0.6
    y0 = field.y0_mm + field.margin_top_mm + inset
    if low:
        y0 = field.y0_mm + field.height_mm - field.margin_bottom_mm - inset - size
    strokes = (
        (((0, 0), (0, 1)), ((0, 0), (0.45, 0), (0.6, 0.12), (0.6, 0.38), (0.45, 0.5), (0, 0.5)),
         ((0.3, 0.5), (0.65, 1)))
        if right
        else (((0, 0), (0, 1), (0.6, 1)),)
    )  # fmt: skip
    radius = size * 0.085
    return Layer(
        tuple(
            Tube(
                tuple((x0 + a * size, y0 + b * size) for a, b in stroke),
                (radius,) * len(stroke),
                1.6 / radius,
            )
            for stroke in strokes
        ),
        merged=True,
    )
