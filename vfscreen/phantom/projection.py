"""From anatomy to what reaches the detector: line integrals, Beer-Lambert, scatter.

Attenuation is relative, per millimetre, at an effective energy of about 50 keV (75 kVp behind a
patient). Soft tissue 0.0215, fat 0.0190 (NIST XCOM, rounded); bone values are what remains
after subtracting the soft tissue that the bone displaces.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vfscreen.phantom.raster import (
    Ellipsoid,
    Grid,
    Image,
    Layer,
    Tube,
    block_mean,
    paint_layer,
    resample,
)
from vfscreen.phantom.spine import Vertebra, end_plates

MU_SOFT = 0.0215
MU_FAT = 0.0190
MU_TRABECULAR = 0.0062
MU_CORTEX = 0.030
MU_PLATE = 0.020
# Width over which scattered radiation spreads behind an abdomen.
SCATTER_SIGMA_MM = 32.0
# Mesh on which everything that only varies slowly is computed.
COARSE_MM = 3.4

# Exponent of the superellipse that a body is in the axial plane: rounder than a rectangle.
_BODY_POWER = 2.6
_SLABS = 9


def project_vertebra(grid: Grid, v: Vertebra) -> tuple[tuple[slice, slice], Image] | None:
    """Return where a vertebra lies on the grid and its attenuation there, or None outside.

    The body is summed over slabs along the beam, each between its own end plates, so that a
    slope, a wedge or a bowl shows as the double contour it is on a film.
    """
    reach_x, reach_y = v.width_mm * 0.5 + 34.0, v.height_mm * 0.5 + v.disc_below_mm + 22.0
    found = grid.window(v.x_mm - reach_x, v.y_mm - reach_y, v.x_mm + reach_x, v.y_mm + reach_y)
    if found is None:
        return None
    where, x, y = found
    out = np.zeros((y.size, x.size), np.float32)
    own = Grid(float(x[0, 0]), float(y[0, 0]), grid.step_mm, out.shape)
    _add_body(out, own, v)
    for part in _processes(v):
        paint_layer(out, own, Layer((part,)))
    return where, out


def _add_body(image: Image, grid: Grid, v: Vertebra) -> None:
    half_w, half_h = v.width_mm / 2, v.height_mm / 2
    tall = half_h + abs(v.slope) * v.depth_mm / 2 + 4
    reach_x, reach_y = half_w + 6 + tall * abs(v.roll_rad), tall + half_w * abs(v.roll_rad)
    found = grid.window(v.x_mm - reach_x, v.y_mm - reach_y, v.x_mm + reach_x, v.y_mm + reach_y)
    if found is None:
        return
    where, x, y = found
    cos, sin = np.float32(np.cos(v.roll_rad)), np.float32(np.sin(v.roll_rad))
    dx, dy = x - np.float32(v.x_mm), y - np.float32(v.y_mm)
    lateral = dx * cos + dy * sin
    down = dy * cos - dx * sin

    edges = np.linspace(-1, 1, _SLABS + 1)
    w = ((edges[:-1] + edges[1:]) / 2).astype(np.float32)[:, None, None]
    reach = np.clip(1 - np.abs(edges) ** _BODY_POWER, 0, 1) ** (1 / _BODY_POWER)
    reach_mm = (half_w * np.clip(reach, 0.02, 1)).astype(np.float32)
    middle = ((reach_mm[:-1] + reach_mm[1:]) / 2)[:, None, None]
    step = max(grid.step_mm, 0.35)
    soft = np.maximum(np.abs(np.diff(reach_mm)), np.float32(step))[:, None, None]

    u = lateral * np.float32(1 / half_w)
    upper, lower = end_plates(v, u[None], w)
    shape_y = down * np.float32(1 / half_h)
    waist = 1 - np.float32(v.waist) * np.clip(1 - shape_y**2, 0, 1)
    extra = np.zeros_like(down)
    if v.collapse is not None:
        # The rim buckles outwards where the end plate was pushed in: a step in the side wall.
        c = v.collapse
        shares = (c.upper_share, 1 - c.upper_share)
        for share, edge in zip(shares, (upper.mean(axis=0), lower.mean(axis=0)), strict=True):
            away = (down - edge) * np.float32(1 / 4.0)
            extra += np.float32(c.step_mm * min(1.0, 1.4 * share)) * np.exp(-(away**2))
    inside = middle * waist + extra - np.abs(lateral)
    side = np.clip(inside / soft + 0.5, 0, 1)
    from_upper, from_lower = down - upper, lower - down
    # Neighbouring slabs of a sloping plate are blended over their distance, against banding.
    falls_mm = v.height_mm * v.wedge / 2
    if v.collapse is not None:
        c = v.collapse
        falls_mm += v.height_mm * max(0.0, max(c.anterior, c.middle) - 2 * c.posterior)
    spread = np.float32(max(step, (abs(v.slope) * v.depth_mm + falls_mm) / _SLABS))
    between = np.clip(from_upper / spread + 0.5, 0, 1) * np.clip(from_lower / spread + 0.5, 0, 1)
    body = side * between

    height = np.maximum(lower - upper, 4)
    packed = np.ones(1, np.float32)
    if v.collapse is not None:
        # Part of the bone mass stays: what lost half its height is clearly denser.
        packed = (v.height_mm / height) ** np.float32(v.collapse.packing)
    slab_mm = np.float32(v.depth_mm / _SLABS)
    density = (body * packed).sum(axis=0) * (slab_mm * np.float32(MU_TRABECULAR * v.bone))

    thick = np.float32(0.9)
    wide = max(float(thick), float(spread))
    plates = np.zeros_like(density)
    rim = 1 + 1.1 * w**2
    for away, sclerosis, share in (
        (from_upper, v.sclerosis_upper, v.collapse.upper_share if v.collapse else 0.0),
        (from_lower, v.sclerosis_lower, 1 - v.collapse.upper_share if v.collapse else 0.0),
    ):
        line = np.maximum(1 - np.abs(away) * np.float32(1 / wide), 0) * np.float32(thick / wide)
        strength = MU_PLATE * v.plate * (1 + 0.35 * sclerosis)
        if v.collapse is not None and share > 0.2:
            strength *= v.collapse.plate_gain
        plates += (line * side * rim).sum(axis=0) * (slab_mm * np.float32(strength))
        band_mu = 0.0016 * sclerosis
        if v.collapse is not None:
            band_mu += (
                0.0052
                * v.collapse.impaction
                * min(1.0, 1.3 * share)
                * min(1.0, 2.6 * v.collapse.middle)
            )
        if band_mu > 1e-5:
            band = np.maximum(1 - np.abs(away - np.float32(3.0)) * np.float32(1 / 3.6), 0)
            density += (band * body).sum(axis=0) * (slab_mm * np.float32(band_mu))
    wall_mm = np.float32(1.1)
    wall_wide = np.maximum(soft, wall_mm)
    wall = np.maximum(1 - np.abs(inside - wall_mm / 2) / wall_wide, 0) * (wall_mm / wall_wide)
    cortex = (wall * between).sum(axis=0) * (slab_mm * np.float32(MU_CORTEX * 0.62 * v.plate))
    image[where] += density + plates + cortex


def _processes(v: Vertebra) -> list[Ellipsoid | Tube]:
    """Pedicles, laminae, facets, spinous and transverse processes, spurs, vacuum."""
    cos, sin = float(np.cos(v.roll_rad)), float(np.sin(v.roll_rad))
    collapse_mm = 0.0
    if v.collapse is not None:
        c = v.collapse
        collapse_mm = c.posterior * v.height_mm * (c.upper_share - 0.5)

    def at(x: float, y: float, z: float = 0.0) -> tuple[float, float]:
        x, y = x + z * v.axial_rad, y + z * v.slope + collapse_mm
        return v.x_mm + x * cos - y * sin, v.y_mm + x * sin + y * cos

    h, width, depth = v.height_mm, v.width_mm, v.depth_mm
    lumbar = v.level.startswith("L")
    mu = MU_CORTEX * 0.55 * (0.5 + 0.5 * v.bone)
    parts: list[Ellipsoid | Tube] = []
    squeeze = 1 - 0.5 * (v.collapse.posterior if v.collapse else 0.0)
    for side in (-1, 1):
        apart = (0.30 if lumbar else 0.29) * width
        x, y = at(side * apart, -0.16 * h, depth * 0.62)
        a, b = (0.088 if lumbar else 0.075) * width, 0.25 * h * squeeze
        parts.append(Ellipsoid(x, y, a, b, 15.0, mu * 0.9, v.roll_rad, shell_mm=1.5))
        parts.append(Ellipsoid(x, y, a, b, 12.0, mu * 0.45, v.roll_rad))
        out_x = 0.5 * width + (26.0 if lumbar else 15.0)
        rise = -2.0 if lumbar else -6.0
        root, tip = at(side * apart * 1.2, -0.1 * h, depth), at(side * out_x, rise - 0.1 * h, depth)
        slim = 3.4 if lumbar else 3.9
        parts.append(Tube((root, tip), (4.6, slim), mu * 0.28, 1.0, mu * 0.9))
        # Articular processes and lamina: soft shadows that cross the disc below.
        top = at(side * 0.27 * width, -0.30 * h, depth * 1.1)
        foot = at(side * 0.22 * width, 0.5 * h + v.disc_below_mm * 0.9, depth * 1.2)
        parts.append(Tube((top, foot), (5.2, 4.4), mu * 0.20, 1.0, mu * 0.62))
        inner = at(side * 0.05 * width, 0.18 * h, depth * 1.5)
        parts.append(Tube((top, inner), (5.0, 4.0), mu * 0.16, 0.8, mu * 0.4))
    x, y = at(0.0, 0.36 * h + (0.0 if lumbar else 0.35 * h), depth * 1.7)
    a, b = (3.4, 0.33 * h) if lumbar else (2.8, 0.30 * h)
    parts.append(Ellipsoid(x, y, a, b, 17.0, mu * 0.75, v.roll_rad, shell_mm=1.3))
    parts.append(Ellipsoid(x, y, a, b, 13.0, mu * 0.35, v.roll_rad))
    parts.extend(_spurs(v, cos, sin))
    if v.vacuum_below > 0:
        y = h / 2 + v.disc_below_mm / 2
        where = v.x_mm - y * sin, v.y_mm + y * cos
        parts.append(
            Ellipsoid(*where, width * 0.3, max(v.disc_below_mm * 0.22, 0.9), 9.0, -MU_SOFT)
        )
    return parts


def _spurs(v: Vertebra, cos: float, sin: float) -> list[Tube]:
    found = []
    u, w = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    for spur in v.spurs:
        upper, lower = end_plates(v, u * spur.side, w)
        y = float((upper if spur.end < 0 else lower)[0, 0])
        x = spur.side * v.width_mm / 2
        inward = -spur.end
        local = (
            (x - spur.side * 3.0, y + inward * 3.0),
            (x + spur.side * spur.length_mm * 0.45, y + inward * 1.0),
            (x + spur.side * spur.length_mm, y - inward * spur.length_mm * 0.25),
        )
        points = tuple((v.x_mm + a * cos - b * sin, v.y_mm + a * sin + b * cos) for a, b in local)
        found.append(Tube(points, (2.8, 2.0, 0.7), MU_CORTEX * 0.9 * v.plate))
    return found


def coarse_grid(grid: Grid) -> tuple[Grid, int]:
    """Return the coarse mesh whose cells are blocks of ``grid``, and the block size."""
    factor = max(1, round(COARSE_MM / grid.step_mm))
    offset = (factor - 1) / 2 * grid.step_mm
    shape = (-(-grid.shape[0] // factor), -(-grid.shape[1] // factor))
    step = grid.step_mm * factor
    return Grid(grid.x_mm + offset, grid.y_mm + offset, step, shape), factor


def enlarge(image: Image, source: Grid, target: Grid) -> Image:
    """Resample an image from one grid to another that covers about the same place."""
    ratio = target.step_mm / source.step_mm
    rows = (target.y_mm - source.y_mm) / source.step_mm + ratio * np.arange(target.shape[0])
    columns = (target.x_mm - source.x_mm) / source.step_mm + ratio * np.arange(target.shape[1])
    return resample(image, rows.astype(np.float32), columns.astype(np.float32))


def scattered(attenuation: Image, grid: Grid, exposed: Image, ratio: float) -> tuple[Image, Grid]:
    """Return scattered radiation, relative to the unattenuated beam, on the coarse mesh.

    Parameters
    ----------
    attenuation : float32 (H, W)
        Line integrals.
    grid : Grid
        Where they lie.
    exposed : float32, shape of the coarse mesh
        1 inside the collimated field.
    ratio : float
        Scatter to primary behind the grid.
    """
    mesh, factor = coarse_grid(grid)
    # The mean of the logarithm is close enough for what is blurred over 30 mm, and cheap.
    primary = np.exp(-block_mean(attenuation, factor)) * exposed
    # Air beside the patient does not scatter.
    np.minimum(primary, 0.05, out=primary)
    sigma = SCATTER_SIGMA_MM / mesh.step_mm
    blurred = ndimage.gaussian_filter(primary, sigma, mode="nearest", truncate=2.5)
    return (np.float32(ratio) * blurred).astype(np.float32), mesh


def transmitted(attenuation: Image, scatter: Image) -> NDArray[np.float32]:
    """Beer-Lambert: primary plus scatter, relative to the unattenuated beam."""
    out = np.exp(-attenuation)
    out += scatter
    return out
