"""Usual films and shifts of display: harder and different, of the same patients, marks in place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from phantom_reader import read
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from typer.testing import CliRunner

from vfscreen.cli.main import app
from vfscreen.imaging.decode import decode_film
from vfscreen.phantom.anatomy import FRACTURE_SHARE, Patient, Variant, sample_patient
from vfscreen.phantom.archive import plan_groups, write_phantom
from vfscreen.phantom.dicom_habits import draw_habit
from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty
from vfscreen.phantom.films import Film, render_film, render_variants
from vfscreen.phantom.photograph import homography, photographed, project
from vfscreen.phantom.shift import Shift
from vfscreen.phantom.stored_values import Modality
from vfscreen.phantom.study import StudyPlan, write_group

SMALL_PX = 224
EASY, USUAL = Difficulty.EASY, Difficulty.USUAL
# Brightness (0 to 255) of sixteenths of three default films, as the shipped demonstration
# checkpoint was trained on them.
KNOWN = {
    1: [69, 143, 104, 53, 90, 179, 153, 50, 90, 186, 167, 51, 118, 171, 147, 75],
    2: [74, 170, 150, 133, 91, 199, 203, 164, 85, 203, 207, 155, 118, 188, 187, 175],
    3: [35, 96, 103, 42, 53, 159, 171, 91, 62, 185, 198, 111, 105, 204, 209, 139],
}  # fmt: skip


@pytest.fixture(scope="module")
def usual() -> list[Patient]:
    return [sample_patient(seed, USUAL) for seed in range(1500)]


def sixteenths(pixels: NDArray[np.float32]) -> list[int]:
    rows = np.array_split(pixels, 4, axis=0)
    parts = (part for row in rows for part in np.array_split(row, 4, axis=1))
    return [round(float(part.mean()) * 255) for part in parts]


def test_default_films_stay_those_of_the_shipped_checkpoint() -> None:
    assert DEFAULT_DIFFICULTY is EASY
    for seed, known in KNOWN.items():
        film = render_film(sample_patient(seed), long_side_px=SMALL_PX)
        assert sixteenths(film.pixels) == pytest.approx(known, abs=1)


def test_the_mix_does_not_depend_on_the_difficulty(usual: list[Patient]) -> None:
    for hard in usual[:300]:
        easy = sample_patient(hard.seed)
        assert (hard.age_years, hard.sex, hard.variant) == (easy.age_years, easy.sex, easy.variant)
        assert max(f.grade for f in hard.fractures) == max(f.grade for f in easy.fractures)
    share = np.mean([p.variant is Variant.FRACTURE for p in usual])
    assert share == pytest.approx(FRACTURE_SHARE, abs=0.04)


def test_what_is_looked_for_is_in_view_on_every_usual_film(usual: list[Patient]) -> None:
    for patient in usual[::100]:
        for view in (0, 1):
            film = render_film(patient, Variant.FRACTURE, long_side_px=96, view=view)
            assert {f.level for f in patient.fractures} <= set(film.visible)
            assert len(film.visible) >= 3
    assert all(patient.fractures and patient.mimics for patient in usual)


def bone_contrast(film: Film, level: str) -> float:
    """Brightness of a body over that of what is beside it."""
    x0, y0, x1, y1 = (round(v) for v in film.boxes[level])
    half = (x1 - x0) // 2
    rows = film.pixels[max(0, y0) : y1]
    beside = np.hstack([rows[:, max(0, x0 - half) : max(1, x0 - 2)], rows[:, x1 + 2 : x1 + half]])
    return float(rows[:, max(0, x0) : x1].mean() - beside.mean())


def change(films: dict[Variant, Film], patient: Patient) -> dict[int, list[float]]:
    """How much each fracture changes the film where it is, by grade."""
    found: dict[int, list[float]] = {1: [], 2: [], 3: []}
    plain, broken = films[Variant.PLAIN], films[Variant.FRACTURE]
    for f in patient.fractures:
        x0, y0, x1, y1 = (max(0, round(v)) for v in plain.boxes[f.level])
        there = (broken.pixels - plain.pixels)[y0:y1, x0:x1]
        found[f.grade].append(float(np.sqrt((there**2).mean())))
    return found


def test_usual_films_show_bones_and_fractures_less() -> None:
    contrast: dict[Difficulty, list[float]] = {EASY: [], USUAL: []}
    changes: dict[Difficulty, dict[int, list[float]]] = {}
    for difficulty in Difficulty:
        changes[difficulty] = {1: [], 2: [], 3: []}
        for seed in range(900, 914):
            patient = sample_patient(seed, difficulty)
            films = render_variants(patient, long_side_px=SMALL_PX)
            contrast[difficulty] += [
                bone_contrast(films[Variant.PLAIN], level) for level in ("L1", "L2", "L3")
            ]
            for grade, values in change(films, patient).items():
                changes[difficulty][grade] += values
    assert np.median(contrast[USUAL]) < 0.75 * np.median(contrast[EASY])
    middle = {d: {g: np.median(v) for g, v in by.items()} for d, by in changes.items()}
    for grade in (1, 2, 3):
        assert middle[USUAL][grade] < 0.7 * middle[EASY][grade]


def test_some_usual_films_have_values_below_zero() -> None:
    hard = [draw_habit(4, i, USUAL) for i in range(400)]
    below = sum(h.values.modality is Modality.BELOW_ZERO for h in hard)
    assert 10 < below < 45
    for i, habit in enumerate(hard):
        if habit.values.modality is not Modality.BELOW_ZERO:
            assert habit == draw_habit(4, i)


def below_zero() -> list[StudyPlan]:
    """Studies of usual archives whose VOI LUT begins below zero, one a transfer syntax."""
    found: dict[str, StudyPlan] = {}
    for seed in range(1, 7):
        groups = plan_groups(100, seed, (128, 128), counterfactuals=False, difficulty=USUAL)
        for plan in (p for group in groups for p in group):
            habit = draw_habit(seed, plan.habit_index, USUAL)
            if habit.values.modality is Modality.BELOW_ZERO:
                found.setdefault(str(habit.transfer_syntax), plan)
    return list(found.values())


def test_a_lookup_table_that_begins_below_zero_is_read_as_it_was_rendered(tmp_path: Path) -> None:
    """In every encoding: implicit VR and big endian store its beginning differently."""
    plans, begins = below_zero(), []
    syntaxes = {str(draw_habit(p.archive_seed, p.habit_index).transfer_syntax) for p in plans}
    assert {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian} <= syntaxes
    for number, plan in enumerate(plans):
        root = tmp_path / f"{number}"
        write_group(root, (plan,), reports=False)
        (path, *_) = sorted(p for p in root.rglob("*") if p.is_file())
        begins.append(read(path).VOILUTSequence[0].LUTDescriptor[1])
        patient = sample_patient(plan.patient_seed, USUAL)
        view = 0 if read(path).InstanceNumber == 1 else 1
        rendered = render_film(patient, long_side_px=plan.long_side_px, view=plan.view or view)
        inner = (slice(4, -4), slice(4, -4))  # padding surrounds some films
        expected = rendered.pixels[inner]
        shown = decode_film(str(path)).display[: rendered.pixels.shape[0]] / 65535
        assert (
            np.abs(
                shown[inner][: expected.shape[0], : expected.shape[1]]
                - expected[: shown[inner].shape[0], : shown[inner].shape[1]]
            ).mean()
            < 0.01
        )
    # Unsigned in implicit VR, where the table's beginning is taken modulo 65536.
    assert all(first < 0 or first > 32767 for first in begins)
    assert min(begins) < 0


def test_shifts_change_the_display_only(tmp_path: Path) -> None:
    tables = {}
    for shift in (None, *Shift):
        out = tmp_path / (shift or "none")
        write_phantom(
            out, studies=3, seed=5, workers=1, long_side_px=(200, 230), difficulty=USUAL,
            shift=shift,
        )  # fmt: skip
        tables[shift] = pq.read_table(out / "truth.parquet").to_pylist()
        assert (out / "labels.csv").read_bytes() == (tmp_path / "none/labels.csv").read_bytes()
        assert (out / "reports.csv").read_bytes() == (tmp_path / "none/reports.csv").read_bytes()
    same = {"rows", "columns", "boxes", "vertebra_height_px"}
    for shift, rows in tables.items():
        for row, usual_row in zip(rows, tables[None], strict=True):
            moved = same if shift is Shift.PHOTOGRAPH else set()
            assert {k: v for k, v in row.items() if k not in moved} == {
                k: v for k, v in usual_row.items() if k not in moved
            }


def test_the_command_passes_films_and_shift_on(tmp_path: Path) -> None:
    out, same = tmp_path / "command", tmp_path / "same"
    arguments = ["phantom", str(out), "--studies", "1", "--seed", "8", "--long-side-px", "90"]
    done = CliRunner().invoke(app, [*arguments, "--films", "usual", "--shift", "noise"])
    assert done.exit_code == 0, done.output
    write_phantom(
        same, studies=1, seed=8, workers=1, long_side_px=(90, 90), difficulty=USUAL,
        shift=Shift.NOISE,
    )  # fmt: skip
    found, wanted = (
        {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.is_file()}
        for folder in (out, same)
    )
    assert found == wanted


def test_shifted_films_differ_as_their_names_say() -> None:
    patient = sample_patient(12, USUAL)
    plain, curve, noise, photograph = (
        render_film(patient, long_side_px=SMALL_PX, shift=shift) for shift in (None, *Shift)
    )
    assert plain.boxes == curve.boxes == noise.boxes
    assert np.abs(curve.pixels - plain.pixels).mean() > 0.05

    def rough(film: Film) -> float:
        return float(np.abs(np.diff(film.pixels, axis=0)).mean())

    assert np.abs(noise.pixels - plain.pixels).mean() < 0.05
    assert rough(noise) > 1.15 * rough(plain)
    assert photograph.pixels.shape < plain.pixels.shape
    assert photograph.visible == plain.visible


@pytest.mark.parametrize("seed", range(8))
def test_a_photograph_keeps_boxes_on_what_they_mark(seed: int) -> None:
    film = render_film(sample_patient(seed), long_side_px=SMALL_PX)
    # In place of the patient: one white rectangle where a vertebra is.
    level = film.visible[len(film.visible) // 2]
    x0, y0, x1, y1 = (round(v) for v in film.boxes[level])
    pixels = np.zeros_like(film.pixels)
    pixels[y0:y1, x0:x1] = 1.0
    shown = photographed(replace(film, pixels=pixels), seed, 0)
    box, (x, y) = shown.boxes[level], shown.centres[level]
    inner = shown.pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].mean()
    bright = np.argwhere(shown.pixels > (inner + np.median(shown.pixels)) / 2)
    near = bright[(np.abs(bright - (y, x)) < 30).all(axis=1)]
    assert near.mean(axis=0) + 0.5 == pytest.approx([y, x], abs=0.8)
    low, high = near.min(axis=0), near.max(axis=0) + 1
    assert (*low[::-1], *high[::-1]) == pytest.approx(box, abs=2.5)


def test_no_visible_vertebra_is_cropped_off_a_photograph() -> None:
    for seed in range(12):
        film = render_film(
            sample_patient(seed, USUAL), long_side_px=128, shift=Shift.PHOTOGRAPH
        )  # fmt: skip
        height, width = film.pixels.shape
        for level in film.visible:
            x, y = film.centres[level]
            assert 0 <= x <= width and 0 <= y <= height


def test_a_projection_takes_its_four_points_where_they_belong() -> None:
    source = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 8.0), (0.0, 8.0)])
    target = np.array([(1.0, 0.5), (9.0, 0.0), (10.5, 8.0), (-0.5, 7.0)])
    there, back = homography(source, target), homography(target, source)
    assert project(there, source) == pytest.approx(target)
    inside = np.array([(3.0, 2.0), (7.0, 6.5)])
    assert project(back, project(there, inside)) == pytest.approx(inside)
