"""What lies over the spine: gas, stool, contrast medium, and what is put on or into patients.

All of it is on a film whatever the spine shows, drawn from streams that know nothing of findings.
Usual films have it; on easy ones only the bowel's own loops may cross the spine.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vfscreen.phantom.anatomy import Patient
from vfscreen.phantom.projection import MU_SOFT
from vfscreen.phantom.raster import Ellipsoid, Layer, Tube
from vfscreen.phantom.spine import Vertebra
from vfscreen.phantom.streams import stream

GAS_MU = -MU_SOFT
# Barium or iodine in bowel, diluted, relative to what it displaces.
CONTRAST_MU = 0.05

Rng = np.random.Generator
Mesh = NDArray[np.floating[Any]]


def gas_loop(
    rng: np.random.Generator, path: list[tuple[float, float]], radius: float, depth: float
) -> Layer:
    """A gas-filled loop: a chain of overlapping ellipsoids, notched like haustra."""
    points = np.array(path)
    steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    count = max(2, int(steps[-1] / (radius * 0.95)))
    at = np.linspace(0, steps[-1], count)
    xs, ys = np.interp(at, steps, points[:, 0]), np.interp(at, steps, points[:, 1])
    parts = tuple(
        Ellipsoid(
            float(x + rng.normal(0, radius * 0.12)), float(y + rng.normal(0, radius * 0.12)),
            float(radius * rng.uniform(0.8, 1.2)), float(radius * rng.uniform(0.75, 1.1)),
            float(depth * rng.uniform(0.75, 1.15)), GAS_MU, float(rng.uniform(0, np.pi)),
        )
        for x, y in zip(xs, ys, strict=True)
    )  # fmt: skip
    phases = rng.uniform(0, 2 * np.pi, 2)
    warp = (float(min(radius * 0.28, 5.0)), float(phases[0]), float(phases[1]))
    return Layer(parts, merged=True, warp=warp)


def over_spine(patient: Patient) -> tuple[Layer, ...]:
    """Gas and contrast medium in bowel that crosses the spine."""
    rng = stream(patient.seed, "over-spine")
    layers = []
    for _ in range(int(rng.poisson(1.9))):
        v = _at(rng, patient)
        radius = rng.uniform(9.0, 24.0)
        depth = radius * rng.uniform(0.5, 1.5)
        layers.append(gas_loop(rng, _across(rng, v), radius, depth))
    if rng.random() < 0.07:
        radius = rng.uniform(9.0, 16.0)
        loop = gas_loop(rng, _across(rng, _at(rng, patient)), radius, radius * 1.1)
        parts = tuple(
            Ellipsoid(p.x_mm, p.y_mm, p.a_mm, p.b_mm, p.depth_mm, CONTRAST_MU, p.angle_rad)
            for p in loop.parts
            if isinstance(p, Ellipsoid)
        )
        layers.append(Layer(parts, merged=True, warp=loop.warp))
    return tuple(layers)


def stool_over_spine(patient: Patient, x: Mesh, y: Mesh) -> Mesh:
    """Attenuation of stool in a transverse colon that sags over the spine, on the mesh (x, y)."""
    rng = stream(patient.seed, "stool-over-spine")
    shape = (y.shape[0], x.shape[1])
    out = np.zeros(shape)
    if rng.random() >= 0.55:
        return out
    fine = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(0.9, 1.6))
    bubbles = np.clip(fine / fine.std() - 0.3, 0, 1.8)
    v = _at(rng, patient)
    middle, half = rng.normal(0.0, 30.0), rng.uniform(35.0, 95.0)
    wide, sag = rng.uniform(14.0, 26.0), rng.uniform(-0.1, 0.25)
    level = v.y_mm + sag * np.abs(x - middle)
    envelope = np.clip(1.2 - ((x - middle) / half) ** 2 - ((y - level) / wide) ** 2, 0, 1)
    return np.asarray(envelope * (0.06 - rng.uniform(0.06, 0.36) * bubbles))


def lines(patient: Patient) -> tuple[Layer, ...]:
    """Tubes, leads, staples, buttons and grafts over or beside the spine."""
    rng = stream(patient.seed, "lines")
    spine = {v.level: v for v in patient.vertebrae}
    layers = []
    if rng.random() < 0.09:
        layers.append(_gastric_tube(rng, spine))
    if rng.random() < 0.10:
        layers += [_lead(rng, spine) for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.07:
        # Staples of a midline incision.
        x, first = rng.normal(0.0, 7.0), spine["T12"].y_mm + rng.uniform(0.0, 60.0)
        last = first + rng.uniform(60.0, 190.0)
        staples = tuple(
            Tube(((float(x - 3 + rng.normal(0, 0.6)), float(y)),
                  (float(x + 3), float(y + rng.normal(0, 0.8)))), (0.45, 0.45), 0.9)
            for y in np.arange(first, last, rng.uniform(7.0, 11.0))
        )  # fmt: skip
        layers.append(Layer(staples))
    if rng.random() < 0.08:
        # A row of buttons, or one.
        x, y = rng.normal(0.0, 16.0), _at(rng, patient).y_mm
        radius, step = rng.uniform(5.0, 9.0), rng.uniform(55.0, 90.0)
        buttons = tuple(
            Ellipsoid(float(x + rng.normal(0, 2)), float(y + k * step), radius, radius, 2.5,
                      float(mu), shell_mm=shell)
            for k in range(int(rng.integers(1, 4)))
            for mu, shell in ((0.04, 0.0), (0.05, 1.6))
        )  # fmt: skip
        layers.append(Layer(buttons))
    if rng.random() < 0.03:
        layers.append(_graft(rng, spine))
    if rng.random() < 0.03:
        layers.append(_ureteric_stent(rng, spine))
    return tuple(layers)


def _at(rng: Rng, patient: Patient) -> Vertebra:
    """A vertebra from T11 to L5."""
    return patient.vertebrae[int(rng.integers(4, len(patient.vertebrae)))]


def _across(rng: Rng, v: Vertebra) -> list[tuple[float, float]]:
    """A course of bowel across or along a vertebra."""
    x, y = v.x_mm + rng.normal(0, 18), v.y_mm + rng.normal(0, 12)
    turn, length = rng.uniform(0, np.pi), rng.uniform(12, 75)
    dx, dy = length / 2 * np.cos(turn), length / 2 * np.sin(turn) * 0.7
    return [(x - dx, y - dy), (x + rng.normal(0, 5), y + rng.normal(0, 5)), (x + dx, y + dy)]


def _wire(course: list[tuple[float, float]], radius_mm: float, mu: float) -> Layer:
    points = tuple((float(x), float(y)) for x, y in course)
    return Layer((Tube(points, (radius_mm,) * len(points), mu),), merged=True)


def _gastric_tube(rng: Rng, spine: dict[str, Vertebra]) -> Layer:
    """Down the oesophagus, left into the stomach, its tip back over the spine in some."""
    top, junction = spine["T7"].y_mm - 60, spine["T11"].y_mm + rng.normal(0, 8)
    foot = spine["L2"].y_mm + rng.normal(0, 15)
    reach = rng.uniform(-30, 45)
    course = [
        (4.0, top), (8.0 + rng.normal(0, 3), junction - 30), (16.0, junction),
        (52.0 + rng.normal(0, 8), junction + 35), (58.0, foot - 18), (38.0, foot),
        (reach, foot + rng.normal(0, 6)),
    ]  # fmt: skip
    points = np.array(course)
    fine = np.linspace(0, len(course) - 1, 28)
    at = np.arange(len(course))
    x = ndimage.gaussian_filter1d(np.interp(fine, at, points[:, 0]), 1.3, mode="nearest")
    y = ndimage.gaussian_filter1d(np.interp(fine, at, points[:, 1]), 1.3, mode="nearest")
    return _wire(list(zip(x, y, strict=True)), float(rng.uniform(0.6, 2.0)), 0.14)


def _lead(rng: Rng, spine: dict[str, Vertebra]) -> Layer:
    """A wire that lies anywhere on the patient."""
    y = np.linspace(0, rng.uniform(120, 330), 22)
    x = rng.uniform(-90, 90) + rng.normal(0, 0.5) * y + rng.uniform(4, 26) * np.sin(
        y / rng.uniform(30, 80) + rng.uniform(0, 6)
    )  # fmt: skip
    course = list(zip(x, spine["T9"].y_mm + rng.uniform(-40, 90) + y, strict=True))
    return _wire(course, float(rng.uniform(0.6, 1.2)), 0.35)


def _ureteric_stent(rng: Rng, spine: dict[str, Vertebra]) -> Layer:
    """Beside the spine, curled at its upper end."""
    side = int(rng.choice((-1, 1)))
    top, foot = spine["L2"].y_mm - 12, spine["L5"].y_mm + 130
    curl = [
        (side * (38 + 8 * (np.cos(t) - 1)), top - 8 * np.sin(t)) for t in np.linspace(5.2, 0, 10)
    ]
    down = [(side * (38 + 9 * np.sin((y - top) / 70)), y) for y in np.linspace(top, foot, 20)]
    return _wire([*curl, *down], 1.0, 0.16)


def _graft(rng: Rng, spine: dict[str, Vertebra]) -> Layer:
    """An aortic stent graft: a zigzag of wire in front of L1 to L4."""
    middle, half = spine["L3"].x_mm + rng.uniform(0, 12), rng.uniform(9, 13)
    rings = []
    for y in np.arange(spine["L1"].y_mm, spine["L4"].y_mm, 13.0):
        x = np.linspace(-half, half, 9)
        zigzag = tuple((float(middle + a), float(y + 8 * (k % 2))) for k, a in enumerate(x))
        rings.append(Tube(zigzag, (0.4,) * len(zigzag), 0.6))
    return Layer(tuple(rings))
