"""The synthetic films: the documented mix, physics that can be checked, counterfactual pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vfscreen.phantom.anatomy import (
    FRACTURE_SHARE,
    GRADE_HEIGHT_LOSS,
    MIMIC_SHARE,
    Patient,
    Shape,
    Variant,
    sample_patient,
)
from vfscreen.phantom.films import Film, render_film, render_variants
from vfscreen.phantom.raster import Ellipsoid, Grid, Layer, block_mean, paint_layer, resample
from vfscreen.phantom.spine import SCREENED_LEVELS

SMALL_PX = 256


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [sample_patient(seed) for seed in range(3000)]


@pytest.fixture(scope="module")
def counterfactuals() -> list[tuple[Patient, dict[Variant, Film]]]:
    found = [sample_patient(seed) for seed in range(100, 112)]
    return [(p, render_variants(p, long_side_px=SMALL_PX)) for p in found]


def close(count: int, total: int, share: float) -> bool:
    """Within 3.5 standard errors of the binomial."""
    return bool(abs(count / total - share) < 3.5 * (share * (1 - share) / total) ** 0.5)


def test_mix_is_the_documented_one(patients: list[Patient]) -> None:
    total = len(patients)
    drawn = [p.variant for p in patients]
    assert close(drawn.count(Variant.FRACTURE), total, FRACTURE_SHARE)
    assert close(drawn.count(Variant.MIMIC), total, MIMIC_SHARE)
    fractured = [p for p in patients if p.variant is Variant.FRACTURE]
    worst = [max(f.grade for f in p.fractures) for p in fractured]
    for grade in (1, 2, 3):
        assert close(worst.count(grade), len(worst), 1 / 3)
    single = sum(len(p.fractures) == 1 for p in patients)
    assert close(single, total, 0.72)


def test_every_patient_carries_findings_of_both_variants(patients: list[Patient]) -> None:
    for p in patients:
        assert p.fractures
        assert p.mimics
        assert p.sex in ("F", "M")
        assert 50 <= p.age_years <= 97
        assert len({f.level for f in p.fractures}) == len(p.fractures)
        for f in p.fractures:
            low, high = GRADE_HEIGHT_LOSS[f.grade]
            assert low <= f.height_loss <= high
            assert f.level in SCREENED_LEVELS


def test_findings_do_not_depend_on_the_drawn_variant(patients: list[Patient]) -> None:
    ages = [[p.age_years for p in patients if p.variant is v] for v in Variant]
    means = [float(np.mean(a)) for a in ages]
    assert max(means) - min(means) < 2.5


def test_same_seed_gives_the_same_bytes() -> None:
    first = render_film(sample_patient(7), long_side_px=SMALL_PX)
    second = render_film(sample_patient(7), long_side_px=SMALL_PX)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.boxes == second.boxes


def test_single_film_equals_its_counterfactual() -> None:
    patient = sample_patient(11)
    films = render_variants(patient, long_side_px=SMALL_PX)
    for variant in Variant:
        alone = render_film(patient, variant, long_side_px=SMALL_PX)
        assert np.array_equal(alone.pixels, films[variant].pixels)
        assert alone.boxes == films[variant].boxes


def test_second_view_is_another_exposure_of_the_same_patient() -> None:
    patient = sample_patient(3)
    first = render_film(patient, long_side_px=SMALL_PX)
    second = render_film(patient, long_side_px=SMALL_PX, view=1)
    assert first.pixels.shape == second.pixels.shape
    assert not np.array_equal(first.pixels, second.pixels)
    height = {k: b[3] - b[1] for k, b in first.boxes.items()}
    assert all(abs(b[3] - b[1] - height[k]) < 1e-6 for k, b in second.boxes.items())


def test_pixels_are_presentation_values(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        for variant, film in films.items():
            assert film.pixels.dtype == np.float32
            assert film.pixels.flags.c_contiguous
            assert max(film.pixels.shape) == SMALL_PX
            assert 0 <= film.pixels.min() < film.pixels.max() <= 1
            assert film.pixels.std() > 0.08
            assert film.variant is variant
            assert film.fractures == (patient.fractures if variant is Variant.FRACTURE else ())
            assert set(film.boxes) == set(SCREENED_LEVELS)
            assert 12 < film.vertebra_height_px < 26


def test_box_of_a_fractured_body_shows_its_loss(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        for f in patient.fractures:
            plain, broken = (films[v].boxes[f.level] for v in (Variant.PLAIN, Variant.FRACTURE))
            lost = 1 - (broken[3] - broken[1]) / (plain[3] - plain[1])
            # The rim of a wedge or a biconcave body loses part of what front or middle lose,
            # and a body that slopes against the beam has its depth in its box as well.
            least = 0.55 * f.height_loss if f.shape is Shape.CRUSH else 0.20 * f.height_loss
            assert least < lost < 1.1 * f.height_loss, (patient.seed, f)


def test_unfractured_bodies_keep_their_height(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        hurt = {f.level for f in patient.fractures}
        for level, box in films[Variant.FRACTURE].boxes.items():
            plain = films[Variant.PLAIN].boxes[level]
            if level not in hurt:
                assert box[3] - box[1] == pytest.approx(plain[3] - plain[1], abs=1e-3)


def test_counterfactuals_differ_only_around_the_spine(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        plain = films[Variant.PLAIN]
        # Transverse processes, and the reach of the widest display filter.
        reach = (34.0 + 2.5 * 38.0 + 12.0) / plain.pixel_spacing_mm
        left = min(b[0] for f in films.values() for b in f.boxes.values()) - reach
        right = max(b[2] for f in films.values() for b in f.boxes.values()) + reach
        for variant in (Variant.FRACTURE, Variant.MIMIC):
            changed = np.abs(films[variant].pixels - plain.pixels)
            assert not changed[:, : max(0, int(left))].any(), patient.seed
            assert not changed[:, int(right) + 1 :].any(), patient.seed
            near = (34.0 + 14.0) / plain.pixel_spacing_mm - reach
            sides = [changed[:, : max(0, int(left - near))], changed[:, int(right + near) :]]
            assert all(s.max(initial=0) < 0.02 for s in sides), patient.seed


def test_fracture_changes_the_film_at_its_level(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        plain, broken = films[Variant.PLAIN], films[Variant.FRACTURE]
        changed = np.abs(broken.pixels - plain.pixels)
        for f in patient.fractures:
            x0, y0, x1, y1 = (round(v) for v in plain.boxes[f.level])
            here = changed[max(0, y0 - 2) : y1 + 2, x0:x1]
            assert here.mean() > 4 * changed.mean(), (patient.seed, f)
        # Nothing moves below the lowest fractured body and its disc.
        lowest = max(plain.boxes[f.level][3] for f in patient.fractures)
        below = changed[int(lowest + 1.5 * plain.vertebra_height_px) :]
        assert below.max(initial=0) < 0.04, patient.seed


def test_fractured_bodies_are_in_view(
    counterfactuals: list[tuple[Patient, dict[Variant, Film]]],
) -> None:
    for patient, films in counterfactuals:
        film = films[Variant.FRACTURE]
        height, width = film.pixels.shape
        for f in patient.fractures:
            x0, y0, x1, y1 = film.boxes[f.level]
            assert x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height, patient.seed


def reduced(pixels: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    image = Image.fromarray(pixels)
    small = image.resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


@pytest.mark.parametrize("seed", [2, 5])
def test_small_film_is_the_full_film_reduced(seed: int) -> None:
    patient = sample_patient(seed)
    full = render_film(patient, long_side_px=2304)
    small = render_film(patient, long_side_px=SMALL_PX)
    difference = np.abs(reduced(full.pixels, small.pixels.shape) - small.pixels)
    assert difference.mean() < 0.02
    ratio = full.pixel_spacing_mm / small.pixel_spacing_mm
    for level, box in small.boxes.items():
        assert np.allclose(np.array(full.boxes[level]) * ratio, box, atol=0.02)


def test_bone_is_brighter_than_its_surroundings() -> None:
    brighter = []
    for seed in range(20, 32):
        film = render_film(sample_patient(seed), Variant.PLAIN, long_side_px=SMALL_PX)
        for level in ("L1", "L2", "L3"):
            x0, y0, x1, y1 = (round(v) for v in film.boxes[level])
            wide = x1 - x0
            body = film.pixels[y0:y1, x0:x1].mean()
            beside = [
                film.pixels[y0:y1, x0 - wide : x0 - 4].mean(),
                film.pixels[y0:y1, x1 + 4 : x1 + wide].mean(),
            ]
            brighter.append(body > np.mean(beside) + 0.03)
    assert np.mean(brighter) > 0.9


def test_gas_is_darker_than_soft_tissue() -> None:
    grid = Grid(-20.0, -20.0, 0.5, (80, 80))
    image = np.full(grid.shape, 5.0, np.float32)
    paint_layer(image, grid, Layer((Ellipsoid(0.0, 0.0, 10.0, 8.0, 30.0, -0.0215),), merged=True))
    assert image[40, 40] == pytest.approx(5.0 - 30 * 0.0215, abs=1e-3)
    assert image[0, 0] == 5.0


def test_resampling_reproduces_a_ramp_and_blocks_keep_the_mean() -> None:
    ramp = np.add.outer(np.arange(12.0), 2 * np.arange(9.0)).astype(np.float32)
    rows, columns = np.array([2.25, 5.5, 8.0]), np.array([1.5, 6.75])
    at = resample(ramp, rows.astype(np.float32), columns.astype(np.float32))
    assert np.allclose(at, np.add.outer(rows, 2 * columns), atol=1e-5)
    assert block_mean(ramp, 3).mean() == pytest.approx(ramp.mean(), rel=1e-6)
    assert block_mean(ramp, 5).shape == (3, 2)
