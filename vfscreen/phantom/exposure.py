"""One exposure of a patient: dose, scatter, unsharpness, and the collimated field."""

from dataclasses import dataclass, replace

import numpy as np

from vfscreen.phantom.anatomy import Field, Patient
from vfscreen.phantom.raster import Image
from vfscreen.phantom.streams import stream

SHUTTER_SOFTNESS_MM = 0.8
# Standard deviation of the way of a breathing patient, on the films where it shows.
MOVED_MM = (0.6, 2.0)
# Dose of a noisy film, relative to what the patient's film had.
LOW_DOSE = 0.12


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one exposure has: dose, scatter, unsharpness."""

    photons_per_mm2: float
    scatter_ratio: float
    blur_mm: float
    # Craniocaudal: the patient breathes.
    moved_mm: float

    def at_low_dose(self) -> "Exposure":
        """The same exposure with a fraction of the photons."""
        return replace(self, photons_per_mm2=self.photons_per_mm2 * LOW_DOSE)


def sample_exposure(patient: Patient, view: int) -> Exposure:
    """Sample the exposure of one of a study's two films."""
    study = stream(patient.seed, "exposure")
    film = stream(patient.seed, "exposure", 1 + view)
    rest = stream(patient.seed, "motion", view)
    setting = patient.setting
    thick = patient.body.thickness_mm / 225.0
    return Exposure(
        photons_per_mm2=float(np.exp(study.normal(*setting.photons) + film.normal(0, 0.15))),
        scatter_ratio=float(
            np.clip(
                study.uniform(*setting.scatter) * thick**setting.scatter_power,
                0.2,
                setting.scatter_most,
            )
        ),
        blur_mm=float(study.uniform(*setting.blur_mm)),
        moved_mm=float(rest.uniform(*MOVED_MM)) if rest.random() < setting.moved_share else 0.0,
    )


def open_field(field: Field, pixel_mm: float, shape: tuple[int, int]) -> Image:
    """1 where the collimator is open, falling to 0 over the penumbra."""

    def along(size: int, near_mm: float, far_mm: float) -> Image:
        at = (np.arange(size) + 0.5) * pixel_mm
        soft = max(SHUTTER_SOFTNESS_MM, pixel_mm)
        end = size * pixel_mm
        rise = np.clip((at - near_mm) / soft + 0.5, 0, 1) if near_mm > 0 else np.ones(size)
        fall = np.clip((end - far_mm - at) / soft + 0.5, 0, 1) if far_mm > 0 else np.ones(size)
        return (rise * fall).astype(np.float32)

    rows = along(shape[0], field.margin_top_mm, field.margin_bottom_mm)
    columns = along(shape[1], field.margin_left_mm, field.margin_right_mm)
    return rows[:, None] * columns[None, :]
