"""Films of a patient: acquisition, display processing, and the counterfactual variants.

Anatomy is projected on a grid of about half a millimetre (a third for full films) whatever the
size asked for, then averaged to pixels or enlarged to them; noise and trabecular texture are
added at the final size. A small film therefore is the large one reduced.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vfscreen.phantom.anatomy import Field, Fracture, Patient, Variant, spine_of
from vfscreen.phantom.display import (
    Processing,
    other_processing,
    present,
    sample_processing,
)
from vfscreen.phantom.exposure import Exposure, open_field, sample_exposure
from vfscreen.phantom.organs import build_parts, side_marker, soft_tissue
from vfscreen.phantom.photograph import photographed
from vfscreen.phantom.projection import (
    COARSE_MM,
    coarse_grid,
    enlarge,
    project_vertebra,
    scattered,
    transmitted,
)
from vfscreen.phantom.raster import Grid, Image, block_mean, paint_layer
from vfscreen.phantom.shift import Shift
from vfscreen.phantom.skeleton import build_skeleton
from vfscreen.phantom.spine import LEVELS, SCREENED_LEVELS, Vertebra, projected_box_mm
from vfscreen.phantom.streams import stream

# Steps of the anatomical grid: for films of pixels larger than this, and for full films.
REDUCED_STEP_MM = 0.62
FULL_STEP_MM = 0.36
# Texture finer than a pixel is not drawn.
TEXTURE_STEP_MM = 0.5
# Well inside the bodies, whatever their width.
SPINE_HALF_WIDTH_MM = 15.0

Box = tuple[float, float, float, float]
Patch = tuple[tuple[slice, slice], Image] | None


@dataclass(frozen=True, slots=True)
class Film:
    """One rendered film.

    Attributes
    ----------
    pixels : float32 (H, W)
        Presentation values, 0 black to 1 white, bone white.
    boxes : dict
        (x0, y0, x1, y1) in pixels per vertebra T10 to L5: the projected body after deformity.
        A box may lie partly or wholly outside the film.
    centres : dict
        (x, y) in pixels per vertebra T10 to L5: the centre of the body's box.
    visible : tuple of str
        The levels whose centre lies in the exposed field, from the top down.
    pixel_spacing_mm : float
        At the detector.
    vertebra_height_px : float
        Median height of the lumbar bodies, undeformed.
    variant : Variant
        What was rendered.
    fractures : tuple of Fracture
        What can be seen: empty unless the variant is FRACTURE.
    """

    pixels: NDArray[np.float32]
    boxes: dict[str, Box]
    centres: dict[str, tuple[float, float]]
    visible: tuple[str, ...]
    pixel_spacing_mm: float
    vertebra_height_px: float
    variant: Variant
    fractures: tuple[Fracture, ...]


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything that the variants of one view share."""

    patient: Patient
    field: Field
    pixel_mm: float
    shape: tuple[int, int]
    grid: Grid
    soft: Image
    bone: Image
    open_field: Image
    noise: Image
    texture: Image | None
    exposure: Exposure
    processing: Processing


def render_film(
    patient: Patient,
    variant: Variant | None = None,
    *,
    long_side_px: int,
    view: int = 0,
    shift: Shift | None = None,
) -> Film:
    """Render one film of a patient.

    Parameters
    ----------
    patient : Patient
        From `sample_patient`.
    variant : Variant or None
        Which counterfactual; None is the drawn one.
    long_side_px : int
        Longer side of the film in pixels; 2000 to 2700 is full size.
    view : int
        0 or 1: the study's other film has another exposure, centring and collimation.
    shift : Shift, optional
        Another display of the same film.

    Returns
    -------
    Film
    """
    wanted = patient.variant if variant is None else variant
    return _render(patient, (wanted,), long_side_px, view, shift)[wanted]


def render_variants(
    patient: Patient, *, long_side_px: int, view: int = 0, shift: Shift | None = None
) -> dict[Variant, Film]:
    """Render all three counterfactual films; each equals what `render_film` gives.

    Away from the finding they are identical to the last bit, noise included (photographs up to
    what JPEG spreads).
    """
    return _render(patient, tuple(Variant), long_side_px, view, shift)


def _render(
    patient: Patient,
    variants: tuple[Variant, ...],
    long_side_px: int,
    view: int,
    shift: Shift | None,
) -> dict[Variant, Film]:
    scene = _shifted(_scene(patient, long_side_px, view), shift)
    cache: dict[Vertebra, Patch] = {}
    plain = _with_spine(scene, patient.vertebrae, cache)
    scatter, mesh, span = _measure(scene, plain)
    films = {}
    for variant in variants:
        vertebrae = spine_of(patient, variant)
        spine = plain if variant is Variant.PLAIN else _with_spine(scene, vertebrae, cache)
        pixels = _expose(scene, spine, scatter, mesh, span)
        boxes = _boxes(scene, vertebrae)
        centres = {k: ((x0 + x1) / 2, (y0 + y1) / 2) for k, (x0, y0, x1, y1) in boxes.items()}
        film = Film(
            pixels=pixels,
            boxes=boxes,
            centres=centres,
            visible=tuple(level for level, place in centres.items() if _exposed(scene, *place)),
            pixel_spacing_mm=scene.pixel_mm,
            vertebra_height_px=_lumbar_height_mm(patient) / scene.pixel_mm,
            variant=variant,
            fractures=patient.fractures if variant is Variant.FRACTURE else (),
        )
        taken = shift is Shift.PHOTOGRAPH
        films[variant] = photographed(film, patient.seed, view) if taken else film
    return films


def _scene(patient: Patient, long_side_px: int, view: int) -> _Scene:
    field = patient.fields[view]
    pixel_mm = max(field.width_mm, field.height_mm) / long_side_px
    shape = (round(field.height_mm / pixel_mm), round(field.width_mm / pixel_mm))
    grid = _grid(field, pixel_mm, shape)
    trunk, mesh = soft_tissue(patient)
    soft = enlarge(trunk, mesh, grid)
    parts = build_parts(patient)
    for layer in parts.soft:
        paint_layer(soft, grid, layer)
    # Gas cannot displace more than there is; nothing is thinner than air.
    np.maximum(soft, 0.02, out=soft)
    for layer in (*parts.metal, side_marker(patient, field, view)):
        paint_layer(soft, grid, layer)
    bone = np.zeros(grid.shape, np.float32)
    for layer in build_skeleton(patient):
        paint_layer(bone, grid, layer)
    rng = stream(patient.seed, "noise", view)
    noise = rng.standard_normal(shape, np.float32)
    texture = None
    if pixel_mm < TEXTURE_STEP_MM:
        texture = _trabeculae(stream(patient.seed, "texture"), shape, pixel_mm)
        noise = ndimage.gaussian_filter(noise, 0.45)
    return _Scene(
        patient=patient,
        field=field,
        pixel_mm=pixel_mm,
        shape=shape,
        grid=grid,
        soft=soft,
        bone=bone,
        open_field=open_field(field, pixel_mm, shape),
        noise=noise,
        texture=texture,
        exposure=sample_exposure(patient, view),
        processing=sample_processing(patient.seed, patient.setting),
    )


def _shifted(scene: _Scene, shift: Shift | None) -> _Scene:
    """The same anatomy with another dose or another maker's processing."""
    if shift is Shift.NOISE:
        return replace(scene, exposure=scene.exposure.at_low_dose())
    if shift is Shift.CURVE:
        return replace(scene, processing=other_processing(scene.patient.seed))
    return scene


def _grid(field: Field, pixel_mm: float, shape: tuple[int, int]) -> Grid:
    """Choose the anatomical grid: whole cells per pixel, or whole pixels per cell."""
    if pixel_mm > REDUCED_STEP_MM / 2:
        cells = max(1, int(np.ceil(pixel_mm / REDUCED_STEP_MM)))
        step = pixel_mm / cells
        size = (shape[0] * cells, shape[1] * cells)
    else:
        pixels = max(1, int(FULL_STEP_MM / pixel_mm))
        step = pixel_mm * pixels
        size = (-(-shape[0] // pixels) + 1, -(-shape[1] // pixels) + 1)
    return Grid(field.x0_mm + step / 2, field.y0_mm + step / 2, step, size)


def _trabeculae(rng: np.random.Generator, shape: tuple[int, int], pixel_mm: float) -> Image:
    """Fine texture of cancellous bone: mostly vertical striations, about a millimetre apart."""
    white = rng.standard_normal(shape, np.float32)
    vertical = ndimage.gaussian_filter(white, (0.9 / pixel_mm, 0.22 / pixel_mm), truncate=2.5)
    isotropic = ndimage.gaussian_filter(white, 0.3 / pixel_mm, truncate=2.5)
    texture = vertical / vertical.std() + 0.6 * isotropic / isotropic.std()
    return np.asarray(texture, np.float32)


def _with_spine(
    scene: _Scene, vertebrae: tuple[Vertebra, ...], cache: dict[Vertebra, Patch]
) -> Image:
    """Return all bone: the shared skeleton plus this spine."""
    bone = scene.bone.copy()
    for v in vertebrae:
        if v not in cache:
            cache[v] = project_vertebra(scene.grid, v)
        patch = cache[v]
        if patch is not None:
            where, value = patch
            bone[where] += value
    return bone


def _measure(scene: _Scene, bone: Image) -> tuple[Image, Grid, tuple[float, float]]:
    """Return scatter, its mesh and the span of densities, from the film without findings.

    Measuring the plain film keeps the finding out of the exposure of everything else.
    """
    attenuation = scene.soft + bone
    mesh, factor = coarse_grid(scene.grid)
    field = scene.field
    x = mesh.x_mm + mesh.step_mm * np.arange(mesh.shape[1]) - field.x0_mm
    y = mesh.y_mm + mesh.step_mm * np.arange(mesh.shape[0]) - field.y0_mm
    # The mesh reaches a little beyond the film; without a collimator the beam does, too.
    left, top, right, bottom = (
        margin if margin > 0 else -COARSE_MM * 2
        for margin in (
            field.margin_left_mm,
            field.margin_top_mm,
            field.margin_right_mm,
            field.margin_bottom_mm,
        )
    )
    inside_x = (x > left) & (x < field.width_mm - right)
    inside_y = (y > top) & (y < field.height_mm - bottom)
    exposed = (inside_y[:, None] & inside_x[None, :]).astype(np.float32)
    scatter, mesh = scattered(attenuation, scene.grid, exposed, scene.exposure.scatter_ratio)
    signal = np.exp(-block_mean(attenuation, factor)) + scatter
    density = -np.log(signal)
    # Recognition of the exposed patient: not the collimator, not the air beside the trunk.
    values = density[(exposed > 0) & (density > 1.2)]
    low, high = np.quantile(values, (scene.processing.low_quantile, scene.processing.high_quantile))
    # Lung bases and skin folds are far darker than the abdomen: they must not set the window.
    low = max(low, float(np.median(values)) - scene.processing.latitude)
    # The spine is what is asked for: its dense parts stay below white.
    centre = np.interp(
        y + field.y0_mm,
        [v.y_mm for v in scene.patient.vertebrae],
        [v.x_mm for v in scene.patient.vertebrae],
    )
    first = scene.patient.vertebrae[LEVELS.index("T11")].y_mm - field.y0_mm
    last = scene.patient.vertebrae[-1].y_mm - field.y0_mm
    column = np.abs(x[None, :] + field.x0_mm - centre[:, None]) < SPINE_HALF_WIDTH_MM
    column &= ((y > first) & (y < last))[:, None] & (exposed > 0)
    if column.any():
        bright = float(np.quantile(density[column], 0.96))
        high = max(high, bright + scene.processing.spine_headroom * (bright - low))
    return scatter, mesh, (float(low), float(high))


def _expose(
    scene: _Scene, bone: Image, scatter: Image, mesh: Grid, span: tuple[float, float]
) -> NDArray[np.float32]:
    grid, pixel_mm, shape = scene.grid, scene.pixel_mm, scene.shape
    height, width = shape
    pixels = Grid(
        scene.field.x0_mm + pixel_mm / 2, scene.field.y0_mm + pixel_mm / 2, pixel_mm, shape
    )
    if grid.step_mm <= pixel_mm:
        cells = round(pixel_mm / grid.step_mm)
        signal = block_mean(np.exp(-(scene.soft + bone)), cells)[:height, :width]
        signal += enlarge(scatter, mesh, pixels)
    else:
        attenuation = enlarge(scene.soft + bone, grid, pixels)
        if scene.texture is not None:
            weight = np.minimum(bone, np.float32(0.8)) * np.float32(0.05)
            attenuation += enlarge(weight, grid, pixels) * scene.texture
        signal = transmitted(attenuation, enlarge(scatter, mesh, pixels))
    sigma = scene.exposure.blur_mm / pixel_mm
    if sigma > 0.4:
        signal = ndimage.gaussian_filter(signal, sigma, truncate=3.0)
    moved = scene.exposure.moved_mm / pixel_mm
    if moved > 0.3:
        signal = ndimage.gaussian_filter1d(signal, moved, axis=0, truncate=3.0)
    # Photons per pixel where the film is typically exposed: automatic exposure control.
    reference = np.float32(np.exp(-(span[0] + span[1]) / 2))
    photons = np.float32(scene.exposure.photons_per_mm2 * pixel_mm**2) / reference
    np.maximum(signal, reference * np.float32(1e-3), out=signal)
    signal += scene.noise * np.sqrt(signal / photons)
    np.maximum(signal, reference * np.float32(1e-3), out=signal)
    density = -np.log(signal)
    image = present(density, scene.open_field, scene.processing, span, pixel_mm)
    shutter = np.float32(scene.processing.shutter)
    image = shutter + (image - shutter) * scene.open_field
    return np.ascontiguousarray(np.clip(image, 0, 1), np.float32)


def _boxes(scene: _Scene, vertebrae: tuple[Vertebra, ...]) -> dict[str, Box]:
    field, pixel_mm = scene.field, scene.pixel_mm
    boxes = {}
    for v in vertebrae:
        if v.level in SCREENED_LEVELS:
            x0, y0, x1, y1 = projected_box_mm(v)
            boxes[v.level] = (
                (x0 - field.x0_mm) / pixel_mm,
                (y0 - field.y0_mm) / pixel_mm,
                (x1 - field.x0_mm) / pixel_mm,
                (y1 - field.y0_mm) / pixel_mm,
            )
    return boxes


def _exposed(scene: _Scene, x: float, y: float) -> bool:
    """Whether a place lies where the collimator is open."""
    row, column = int(y // 1), int(x // 1)
    height, width = scene.shape
    inside = 0 <= row < height and 0 <= column < width
    return inside and bool(scene.open_field[row, column] > 0.5)


def _lumbar_height_mm(patient: Patient) -> float:
    return float(np.median([v.height_mm for v in patient.vertebrae if v.level[0] == "L"]))
