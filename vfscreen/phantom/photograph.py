"""A film photographed from a screen: perspective, moire, glare, haze, another gamma, JPEG.

After what people send to each other, and what Kuo et al. 2021 (npj Digit Med 4:25) photographed to
see what it does to a network. Boxes and centres go through the same projection as the pixels.
"""

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from vfscreen.phantom.raster import Image
from vfscreen.phantom.streams import stream

if TYPE_CHECKING:
    from vfscreen.phantom.films import Film

# How far a corner of the film may be from its corner of the photograph, in parts of the side:
# outside (cropped) to inside (the screen around it is on the photograph).
CORNER = (-0.015, 0.06)
TURN_RAD = 0.035
# Grey of the viewer around the film.
SURROUND = 0.10

Points = NDArray[np.float64]


def photographed(film: "Film", seed: int, view: int) -> "Film":
    """Return a film as a photograph of a screen shows it.

    Parameters
    ----------
    film : Film
        As rendered.
    seed, view : int
        Of patient and film: all variants of a patient are photographed from the same place.

    Returns
    -------
    Film
        A little smaller, with boxes and centres where the photograph has them. No vertebra that
        was visible is cropped.
    """
    rng = stream(seed, "photograph", view)
    height, width = film.pixels.shape
    scale = rng.uniform(0.82, 1.0)
    shape = (round(height * scale), round(width * scale))
    corners = np.array([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)])
    quad = _placed(rng, shape)
    kept = np.array([_corners(film.boxes[level]) for level in film.visible]).reshape(-1, 2)
    kept = np.clip(kept, 0.0, (width, height))
    middle = np.array(shape[::-1]) / 2
    while not _inside(project(homography(corners, quad), kept), shape):
        quad = middle + 0.98 * (quad - middle)
    there = homography(corners, quad)
    boxes = {}
    for level, box in film.boxes.items():
        points = project(there, _corners(box))
        low, high = points.min(axis=0), points.max(axis=0)
        boxes[level] = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    centres = {}
    for level, centre in film.centres.items():
        ((x, y),) = project(there, np.array([centre]))
        centres[level] = (float(x), float(y))
    enlarged = float(np.sqrt(_area(quad) / _area(corners)))
    return replace(
        film,
        pixels=_taken(rng, _warped(film.pixels, homography(quad, corners), shape)),
        boxes=boxes,
        centres=centres,
        pixel_spacing_mm=film.pixel_spacing_mm / enlarged,
        vertebra_height_px=film.vertebra_height_px * enlarged,
    )


def homography(source: Points, target: Points) -> Points:
    """Return the projection (3, 3) that takes four points to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


def project(matrix: Points, points: Points) -> Points:
    """Return where a projection takes points (N, 2)."""
    ahead = np.c_[points, np.ones(len(points))] @ matrix.T
    return np.asarray(ahead[:, :2] / ahead[:, 2:])


def _placed(rng: np.random.Generator, shape: tuple[int, int]) -> Points:
    """Where the four corners of the film lie on the photograph."""
    size = np.array(shape[::-1], np.float64)
    inset = rng.uniform(*CORNER, (4, 2)) * ((1, 1), (-1, 1), (-1, -1), (1, -1))
    corners = (np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) + inset) * size
    turn = rng.uniform(-TURN_RAD, TURN_RAD)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(size / 2 + (corners - size / 2) @ np.array([[cos, sin], [-sin, cos]]))


def _corners(box: tuple[float, float, float, float]) -> Points:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _inside(points: Points, shape: tuple[int, int]) -> bool:
    return bool((points >= 0).all() and (points <= shape[::-1]).all())


def _area(quad: Points) -> float:
    """Area of a quadrilateral, by the shoelace formula."""
    x, y = quad[:, 0], quad[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _warped(pixels: Image, back: Points, shape: tuple[int, int]) -> Image:
    """Resample the film where the photograph's pixels come from; around it is the viewer."""
    size, how = shape[::-1], Pillow.Transform.PERSPECTIVE
    coefficients = tuple(float(v) for v in back.ravel()[:8])
    raised = Pillow.fromarray(pixels - np.float32(SURROUND))
    warped = raised.transform(size, how, coefficients, Pillow.Resampling.BICUBIC)
    return np.asarray(warped, np.float32) + np.float32(SURROUND)


def _taken(rng: np.random.Generator, shown: Image) -> Image:
    """What the camera makes of what the screen shows."""
    height, width = shown.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light = ndimage.gaussian_filter(shown, 0.0003 * max(shown.shape), truncate=3.0)
    np.clip(light, 0, 1, out=light)
    np.power(light, np.float32(rng.uniform(0.7, 1.45)), out=light)
    # Rows and columns of the screen against those of the sensor.
    for _ in range(2):
        waves, turn = rng.uniform(18.0, 90.0), rng.uniform(0, np.pi)
        phase = rng.uniform(0, 2 * np.pi)
        along = np.float32(waves * np.cos(turn)) * x + np.float32(waves * np.sin(turn)) * y
        light *= 1 + np.float32(rng.uniform(0.005, 0.03)) * np.sin(along + np.float32(phase))
    light *= 1 - np.float32(rng.uniform(0.05, 0.30)) * (x**2 + y**2) / 2
    black, white = rng.uniform(0.03, 0.16), rng.uniform(0.75, 0.97)
    light = np.float32(black) + np.float32(white - black) * light
    for _ in range(int(rng.integers(0, 3))):
        # A lamp or a window in the screen's glass.
        at_x, at_y, wide = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.15, 0.5)
        across = np.exp(-(((x - np.float32(at_x)) / np.float32(wide)) ** 2))
        down = np.exp(-(((y - np.float32(at_y)) / np.float32(1.4 * wide)) ** 2))
        light += np.float32(rng.uniform(0.05, 0.30)) * (down * across)
    light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(0.004, 0.012))
    grey = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
    with io.BytesIO() as file:
        Pillow.fromarray(grey).save(file, "JPEG", quality=int(rng.integers(55, 86)))
        seen = np.asarray(Pillow.open(file), np.float32)
    return np.ascontiguousarray(seen / np.float32(255))
