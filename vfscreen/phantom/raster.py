"""Grids in millimetres, resampling, and primitives whose line integrals are closed forms.

Every primitive is evaluated only inside its own bounding box. Edges are softened over one grid
step, so that a coarse grid gives the antialiased reduction of a fine one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """A raster of square cells; (x_mm, y_mm) is the centre of cell [0, 0]."""

    x_mm: float
    y_mm: float
    step_mm: float
    shape: tuple[int, int]

    def window(
        self, x0: float, y0: float, x1: float, y1: float
    ) -> tuple[tuple[slice, slice], Image, Image] | None:
        """Return index slices, x as a row and y as a column for a box in mm, or None outside."""
        step = self.step_mm
        left = max(0, int(np.floor((x0 - self.x_mm) / step)))
        right = min(self.shape[1], int(np.ceil((x1 - self.x_mm) / step)) + 1)
        top = max(0, int(np.floor((y0 - self.y_mm) / step)))
        bottom = min(self.shape[0], int(np.ceil((y1 - self.y_mm) / step)) + 1)
        if left >= right or top >= bottom:
            return None
        x = self.x_mm + step * np.arange(left, right, dtype=np.float32)
        y = self.y_mm + step * np.arange(top, bottom, dtype=np.float32)
        return (slice(top, bottom), slice(left, right)), x[None, :], y[:, None]


def resample(image: Image, rows: Image, columns: Image) -> Image:
    """Interpolate with Catmull-Rom splines at fractional row and column indices.

    Parameters
    ----------
    image : float32 (H, W)
        The samples; beyond the border the last one is repeated.
    rows : float32 (M,)
        Fractional row indices.
    columns : float32 (N,)
        Fractional column indices.

    Returns
    -------
    float32 (M, N)
    """
    if columns.size < rows.size:
        half = _along_rows(np.ascontiguousarray(image.T), columns)
        return _along_rows(np.ascontiguousarray(half.T), rows)
    half = _along_rows(image, rows)
    return np.ascontiguousarray(_along_rows(np.ascontiguousarray(half.T), columns).T)


def _along_rows(image: Image, at: Image) -> Image:
    base = np.floor(at)
    t = (at - base).astype(np.float32)
    index = base.astype(np.intp)
    weights = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    out = np.zeros((at.size, image.shape[1]), np.float32)
    last = image.shape[0] - 1
    for tap, weight in enumerate(weights):
        rows = image[np.clip(index + tap - 1, 0, last)]
        rows *= weight[:, None]
        out += rows
    return out


def block_mean(image: Image, factor: int) -> Image:
    """Average blocks of ``factor`` x ``factor`` cells; the last block repeats its edge."""
    if factor == 1:
        return image
    pad_y, pad_x = -image.shape[0] % factor, -image.shape[1] % factor
    if pad_y or pad_x:
        image = np.pad(image, ((0, pad_y), (0, pad_x)), mode="edge")
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    # Strided sums are several times faster than mean() over two axes of a 4-D view.
    wide = np.zeros((rows, image.shape[1]), np.float32)
    for i in range(factor):
        wide += image[i::factor]
    out = np.zeros((rows, columns), np.float32)
    for i in range(factor):
        out += wide[:, i::factor]
    out /= np.float32(factor * factor)
    return out


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A filled ellipsoid, or with ``shell_mm`` > 0 a ring-like shell seen along the beam.

    ``mu`` is the attenuation per mm relative to what it displaces; ``depth_mm`` the full
    thickness along the beam. A diffuse one fades out without an edge.
    """

    x_mm: float
    y_mm: float
    a_mm: float
    b_mm: float
    depth_mm: float
    mu: float
    angle_rad: float = 0.0
    shell_mm: float = 0.0
    diffuse: bool = False

    def box(self) -> tuple[float, float, float, float]:
        """Bounding box in mm."""
        c, s = abs(np.cos(self.angle_rad)), abs(np.sin(self.angle_rad))
        dx, dy = self.a_mm * c + self.b_mm * s + 1, self.a_mm * s + self.b_mm * c + 1
        return self.x_mm - dx, self.y_mm - dy, self.x_mm + dx, self.y_mm + dy

    def chord(self, x: Image, y: Image, step_mm: float) -> Image:
        """Attenuation along the rays through (x, y)."""
        c, s = np.float32(np.cos(self.angle_rad)), np.float32(np.sin(self.angle_rad))
        dx, dy = x - np.float32(self.x_mm), y - np.float32(self.y_mm)
        u, v = (dx * c + dy * s), (dy * c - dx * s)
        outer = _ellipse_chord(u, v, self.a_mm, self.b_mm)
        if self.diffuse:
            outer = outer**4
        elif self.shell_mm > 0:
            inner_a, inner_b = self.a_mm - self.shell_mm, self.b_mm - self.shell_mm
            if inner_a > 0 and inner_b > 0:
                outer = outer - _ellipse_chord(u, v, inner_a, inner_b)
        return outer * np.float32(self.depth_mm * self.mu)


def _ellipse_chord(u: Image, v: Image, a: float, b: float) -> Image:
    q = (u * np.float32(1 / a)) ** 2 + (v * np.float32(1 / b)) ** 2
    chord: Image = np.sqrt(np.maximum(1 - q, 0))
    return chord


@dataclass(frozen=True, slots=True)
class Tube:
    """A tube swept along a polyline, with a denser wall of ``wall_mm``.

    ``mu`` fills the inside, ``wall_mu`` the wall (both per mm). Radii are one per point.
    """

    points: tuple[tuple[float, float], ...]
    radii_mm: tuple[float, ...]
    mu: float
    wall_mm: float = 0.0
    wall_mu: float = 0.0

    def box(self) -> tuple[float, float, float, float]:
        """Bounding box in mm."""
        r = max(self.radii_mm) + 1
        xs, ys = [p[0] for p in self.points], [p[1] for p in self.points]
        return min(xs) - r, min(ys) - r, max(xs) + r, max(ys) + r

    def paint(self, image: Image, grid: Grid) -> None:
        """Raise ``image`` (that covers ``grid``) to the tube's attenuation."""
        found = grid.window(*self.box())
        if found is None:
            return
        where, x, y = found
        own = Grid(float(x[0, 0]), float(y[0, 0]), grid.step_mm, (y.size, x.size))
        # Outside and inside are united over the segments first: no wall may cross a joint.
        value = self._united(own, 0.0) * np.float32(self.wall_mu if self.wall_mm > 0 else self.mu)
        if self.wall_mm > 0:
            value += self._united(own, self.wall_mm) * np.float32(self.mu - self.wall_mu)
        view = image[where]
        if self.mu + self.wall_mu >= 0:
            np.maximum(view, value, out=view)
        else:
            np.minimum(view, value, out=view)

    def _united(self, grid: Grid, inset_mm: float) -> Image:
        """Chord through the union of the segments, each thinned by ``inset_mm``."""
        out = np.zeros(grid.shape, np.float32)
        pairs = zip(self.points[:-1], self.points[1:], strict=True)
        for i, ((ax, ay), (bx, by)) in enumerate(pairs):
            r0 = max(self.radii_mm[i] - inset_mm, 0.0)
            r1 = max(self.radii_mm[i + 1] - inset_mm, 0.0)
            r = max(r0, r1) + grid.step_mm
            found = grid.window(min(ax, bx) - r, min(ay, by) - r, max(ax, bx) + r, max(ay, by) + r)
            if found is None:
                continue
            where, x, y = found
            ux, uy = np.float32(bx - ax), np.float32(by - ay)
            length2 = max(float(ux * ux + uy * uy), 1e-6)
            dx, dy = x - np.float32(ax), y - np.float32(ay)
            t = np.clip((dx * ux + dy * uy) * np.float32(1 / length2), 0, 1)
            d2 = (dx - t * ux) ** 2 + (dy - t * uy) ** 2
            radius = np.float32(r0) + t * np.float32(r1 - r0)
            chord = 2 * np.sqrt(np.maximum(radius**2 - d2, 0))
            np.maximum(out[where], chord, out=out[where])
        return out


@dataclass(frozen=True, slots=True)
class Region:
    """A flat body with a closed outline whose thickness grows over ``ramp_mm`` from its edge.

    ``attenuation`` is the plateau's, ``rim`` is added along the edge over ``rim_mm`` (cortex).
    """

    outline: tuple[tuple[float, float], ...]
    attenuation: float
    ramp_mm: float
    rim: float = 0.0
    rim_mm: float = 2.0

    def box(self) -> tuple[float, float, float, float]:
        """Bounding box in mm."""
        xs, ys = [p[0] for p in self.outline], [p[1] for p in self.outline]
        return min(xs) - 4, min(ys) - 4, max(xs) + 4, max(ys) + 4

    def paint(self, image: Image, grid: Grid) -> None:
        """Add the region to ``image``, which covers ``grid``."""
        found = grid.window(*self.box())
        if found is None:
            return
        where, x, y = found
        # The distance to the outline is smooth: computed on a coarse mesh, then interpolated.
        coarse = 2.5
        xs = np.arange(float(x[0, 0]) - coarse, float(x[0, -1]) + 2 * coarse, coarse)
        ys = np.arange(float(y[0, 0]) - coarse, float(y[-1, 0]) + 2 * coarse, coarse)
        distance = _signed_distance(xs.astype(np.float32), ys.astype(np.float32), self.outline)
        rows = ((y[:, 0] - ys[0]) / coarse).astype(np.float32)
        columns = ((x[0] - xs[0]) / coarse).astype(np.float32)
        depth = resample(distance, rows, columns)
        s = np.clip(depth * np.float32(1 / self.ramp_mm), 0, 1)
        value = np.sqrt(s * (2 - s)) * np.float32(self.attenuation)
        if self.rim:
            width = max(self.rim_mm, grid.step_mm)
            band = 1 - np.abs(depth - np.float32(width / 2)) * np.float32(1 / width)
            np.maximum(band, 0, out=band)
            value += band * np.float32(self.rim * self.rim_mm / width)
        image[where] += value


def _signed_distance(xs: Image, ys: Image, outline: Sequence[tuple[float, float]]) -> Image:
    """Distance to a closed polygon, positive inside."""
    a = np.array(outline, np.float32)
    b = np.roll(a, -1, axis=0)
    best = np.full((ys.size, xs.size), np.inf, np.float32)
    inside = np.zeros(best.shape, bool)
    x, y = xs[None, :], ys[:, None]
    for (ax, ay), (bx, by) in zip(a, b, strict=True):
        ux, uy = bx - ax, by - ay
        dx, dy = x - ax, y - ay
        t = np.clip((dx * ux + dy * uy) / max(float(ux * ux + uy * uy), 1e-6), 0, 1)
        np.minimum(best, (dx - t * ux) ** 2 + (dy - t * uy) ** 2, out=best)
        if ay != by:
            crosses = (ay > y) != (by > y)
            inside ^= crosses & (x < ax + (y - ay) * (ux / uy))
    distance = np.sqrt(best)
    return np.where(inside, distance, -distance).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Layer:
    """Primitives that belong together; a merged layer takes the extreme where they overlap."""

    parts: tuple[Ellipsoid | Tube | Region, ...]
    merged: bool = False
    # Amplitude (mm) and phases of a smooth warp of a merged layer's ellipsoids: bowel is not round.
    warp: tuple[float, float, float] | None = None


def paint_layer(image: Image, grid: Grid, layer: Layer) -> None:
    """Add the attenuation of a layer to ``image``, which covers ``grid``."""
    if not layer.parts:
        return
    if not layer.merged:
        for part in layer.parts:
            _paint_part(image, grid, part)
        return
    boxes = np.array([part.box() for part in layer.parts])
    reach = 1.5 * layer.warp[0] if layer.warp else 0.0
    low, high = boxes[:, :2].min(axis=0) - reach, boxes[:, 2:].max(axis=0) + reach
    found = grid.window(low[0], low[1], high[0], high[1])
    if found is None:
        return
    where, x, y = found
    own = np.zeros((y.size, x.size), np.float32)
    own_grid = Grid(float(x[0, 0]), float(y[0, 0]), grid.step_mm, own.shape)
    for part in layer.parts:
        if isinstance(part, Ellipsoid):
            x0, y0, x1, y1 = part.box()
            inner = own_grid.window(x0 - reach, y0 - reach, x1 + reach, y1 + reach)
            if inner is not None:
                place, px, py = inner
                if layer.warp is not None:
                    px, py = _warped(px, py, *layer.warp)
                view = own[place]
                extreme = np.maximum if part.mu >= 0 else np.minimum
                extreme(view, part.chord(px, py, grid.step_mm), out=view)
        else:
            part.paint(own, own_grid)
    image[where] += own


def _warped(
    x: Image, y: Image, reach_mm: float, phase_x: float, phase_y: float
) -> tuple[Image, Image]:
    r = np.float32(reach_mm)
    px, py = np.float32(phase_x), np.float32(phase_y)
    slow_x, fast_x = np.float32(0.075), np.float32(0.17)
    slow_y, fast_y = np.float32(0.083), np.float32(0.16)
    across = np.sin(y * slow_x + px) + np.float32(0.4) * np.sin(y * fast_x + py)
    along = np.sin(x * slow_y + py) + np.float32(0.4) * np.sin(x * fast_y + px)
    return x + r * across, y + r * along


def _paint_part(image: Image, grid: Grid, part: Ellipsoid | Tube | Region) -> None:
    found = grid.window(*part.box())
    if found is None:
        return
    where, x, y = found
    if isinstance(part, Ellipsoid):
        image[where] += part.chord(x, y, grid.step_mm)
    elif isinstance(part, Region):
        part.paint(image, grid)
    else:
        own = np.zeros((y.size, x.size), np.float32)
        part.paint(own, Grid(float(x[0, 0]), float(y[0, 0]), grid.step_mm, own.shape))
        image[where] += own
