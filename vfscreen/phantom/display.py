"""What the manufacturer's software makes of a raw image: presentation values for a reader.

Locality matters: a filter reaches only as far as its truncated kernel, so that counterfactual
films are identical to the last bit away from what differs.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from vfscreen.phantom.difficulty import Setting
from vfscreen.phantom.raster import Image, block_mean, resample
from vfscreen.phantom.streams import stream


class Curve(StrEnum):
    """Family of the tone curve."""

    SIGMOID = "sigmoid"
    GAMMA = "gamma"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class Processing:
    """One manufacturer's habit at one site, the same for all films of a study."""

    curve: Curve
    steepness: float
    gamma: float
    low_quantile: float
    high_quantile: float
    latitude: float
    spine_headroom: float
    headroom: float
    equalise: float
    equalise_mm: float
    detail: float
    detail_mm: float
    edge: float
    edge_mm: float
    shutter: float


def sample_processing(seed: int, setting: Setting) -> Processing:
    """Sample the processing of a patient's study."""
    rng = stream(seed, "processing")
    curve = tuple(Curve)[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
    return Processing(
        curve=curve,
        steepness=float(rng.uniform(3.6, 6.5)),
        gamma=float(rng.uniform(0.8, 1.3)),
        low_quantile=float(rng.uniform(0.01, 0.06)),
        high_quantile=float(rng.uniform(0.992, 0.999)),
        latitude=float(rng.uniform(*setting.latitude)),
        spine_headroom=float(rng.uniform(*setting.spine_headroom)),
        headroom=float(rng.uniform(0.03, 0.14)),
        equalise=float(rng.uniform(0.25, 0.65)),
        equalise_mm=float(rng.uniform(22.0, 38.0)),
        detail=float(rng.uniform(*setting.detail)),
        detail_mm=float(rng.uniform(4.0, 8.0)),
        edge=float(rng.uniform(0.0, 0.8)),
        edge_mm=float(rng.uniform(0.5, 1.4)),
        # Unexposed borders are white; some systems black them out afterwards.
        shutter=0.0 if rng.random() < 0.2 else 1.0,
    )


def other_processing(seed: int) -> Processing:
    """Sample the processing of a manufacturer whose films look like none of `sample_processing`.

    Structure of many sizes is flattened, edges are hard, the curve is steep, borders are black.
    """
    rng = stream(seed, "other-processing")
    return Processing(
        curve=Curve.SIGMOID,
        steepness=float(rng.uniform(6.0, 7.5)),
        gamma=1.0,
        low_quantile=0.03,
        high_quantile=0.995,
        latitude=float(rng.uniform(1.1, 1.4)),
        spine_headroom=float(rng.uniform(0.25, 0.4)),
        headroom=0.0,
        equalise=float(rng.uniform(0.60, 0.68)),
        equalise_mm=48.0,
        detail=float(rng.uniform(1.8, 2.6)),
        detail_mm=3.0,
        edge=float(rng.uniform(1.5, 2.5)),
        edge_mm=0.45,
        shutter=0.0,
    )


def blurred(image: Image, sigma_px: float) -> Image:
    """Blur with a Gaussian; a wide one on a reduced copy, which cannot be told from the exact."""
    factor = max(1, int(sigma_px / 2.5))
    small = ndimage.gaussian_filter(
        block_mean(image, factor), sigma_px / factor, mode="nearest", truncate=2.5
    )
    if factor == 1:
        return np.asarray(small, np.float32)
    offset = (factor - 1) / 2
    rows = ((np.arange(image.shape[0]) - offset) / factor).astype(np.float32)
    columns = ((np.arange(image.shape[1]) - offset) / factor).astype(np.float32)
    return resample(small, rows, columns)


def present(
    density: Image,
    open_field: Image,
    processing: Processing,
    span: tuple[float, float],
    step_mm: float,
) -> Image:
    """Map logarithmic density to presentation values.

    Parameters
    ----------
    density : float32 (H, W)
        Minus the logarithm of the detector signal; white (bone) is high.
    open_field : float32 (H, W)
        1 where exposed, 0 behind the collimator.
    processing : Processing
        What to do.
    span : (float, float)
        Densities that the anatomy spans, found once per patient and view.
    step_mm : float
        Pixel spacing.

    Returns
    -------
    float32 (H, W)
        0 (black) to 1 (white).
    """
    p = processing
    low, high = span
    image = (density - np.float32(low)) * np.float32(1 / (high - low))
    # Direct exposure and metal are far outside the span and would ring through the filters.
    np.clip(image, -0.5, 1.6, out=image)
    half = np.float32(0.5)
    image = half + (image - half) * open_field
    out = image.copy()
    # Averaged over the exposed field only, or the film would brighten towards its borders.
    sigma = p.equalise_mm / step_mm
    wide = half + blurred(image - half, sigma) / np.maximum(blurred(open_field, sigma), 0.2)
    out -= np.float32(p.equalise) * (wide - half)
    out *= np.float32(1 / (1 - 0.75 * p.equalise))
    out += np.float32(0.5 * (1 - 1 / (1 - 0.75 * p.equalise)))
    # Filters narrower than a pixel leave nothing that this pixel size could show.
    for gain, sigma_mm in ((p.detail, p.detail_mm), (p.edge, p.edge_mm)):
        if gain > 0.02 and sigma_mm / step_mm > 0.6:
            out += np.float32(gain) * (image - blurred(image, sigma_mm / step_mm))
    margin = np.float32(p.headroom)
    out = margin + (1 - 2 * margin) * out
    if p.curve is Curve.SIGMOID:
        k = np.float32(p.steepness)
        edge = np.float32(np.tanh(k / 4))
        out = half + np.tanh((out - half) * (k / 2)) / (2 * edge)
    np.clip(out, 0, 1, out=out)
    if p.curve is Curve.GAMMA:
        np.power(out, np.float32(p.gamma), out=out)
    return out.astype(np.float32, copy=False)
