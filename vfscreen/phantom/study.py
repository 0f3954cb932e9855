"""One study of the archive: its films, files, reports and truth."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np

from vfscreen.config import EligibilityConfig
from vfscreen.phantom.anatomy import Patient, Variant, sample_patient
from vfscreen.phantom.dicom_habits import StudyHabit, Tree, draw_habit
from vfscreen.phantom.difficulty import Difficulty
from vfscreen.phantom.films import Film, render_film, render_variants
from vfscreen.phantom.headers import (
    Exposure,
    Identity,
    add_pixels,
    build_header,
    for_processing,
    to_bytes,
    uid_of,
)
from vfscreen.phantom.mimics import MimicFinding
from vfscreen.phantom.reporting import NO_REPORTS, report_study
from vfscreen.phantom.shift import Shift
from vfscreen.phantom.stored_values import Modality, Voi, to_stored
from vfscreen.phantom.streams import stream
from vfscreen.phantom.truth import LabelRow, MarkRow, ReportRow

# Hundredths of a pixel: finer than anybody can draw a box.
MARK_DECIMALS = 2
# A folder name in Latin-1, as an old Windows server left it: no valid UTF-8.
LATIN1_FOLDER = os.fsdecode(b"R\xf6ntgen alt")


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What is decided about a study before anything is rendered.

    Attributes
    ----------
    archive_seed, index : int
        Of the archive, and the study's place in it.
    habit_index : int
        Studies of one counterfactual group share it.
    patient_index, patient_seed : int
        Who, and whose anatomy.
    variant : Variant or None
        None: the drawn one.
    alone : bool
        Only the one film, nothing beside it (counterfactual studies).
    view : int
        Which exposure of the anatomy the first film is.
    difficulty, shift : Difficulty, Shift or None
        How hard the films are, and what has become of their display.
    """

    archive_seed: int
    index: int
    habit_index: int
    patient_index: int
    patient_seed: int
    variant: Variant | None
    alone: bool
    view: int
    accession_number: str
    shared_accession: bool
    study_datetime: datetime
    first_study_datetime: datetime
    long_side_px: int
    difficulty: Difficulty
    shift: Shift | None


@dataclass(frozen=True, slots=True)
class WrittenStudy:
    """What came of a study."""

    truth: list[dict[str, object]]
    reports: tuple[ReportRow, ...]
    late_reports: tuple[ReportRow, ...]
    labels: list[LabelRow]
    marks: list[MarkRow]
    file_sizes: list[int]
    transfer_syntax_uid: str


def write_group(root: Path, plans: tuple[StudyPlan, ...], *, reports: bool) -> list[WrittenStudy]:
    """Render and write studies of one anatomy: one study, or its three counterfactuals."""
    first = plans[0]
    patient = sample_patient(first.patient_seed, first.difficulty)
    if len(plans) > 1:
        films = render_variants(
            patient, long_side_px=first.long_side_px, view=first.view, shift=first.shift
        )
    else:
        film = render_film(
            patient, long_side_px=first.long_side_px, view=first.view, shift=first.shift
        )
        films = {film.variant: film}
    return [
        _write_study(root, plan, patient, films[plan.variant or patient.variant], reports)
        for plan in plans
    ]


def _write_study(
    root: Path, plan: StudyPlan, patient: Patient, film: Film, reports: bool
) -> WrittenStudy:
    habit = draw_habit(plan.archive_seed, plan.habit_index, plan.difficulty)
    identity = _identity(plan, patient, habit)
    said = (
        report_study(
            plan.archive_seed,
            plan.index,
            identity,
            fractures=film.fractures,
            mimics=_mimics(patient, film),
            shared_accession=plan.shared_accession,
        )
        if reports
        else NO_REPORTS
    )
    truth: list[dict[str, object]] = []
    labels: list[LabelRow] = []
    marks: list[MarkRow] = []
    sizes: list[int] = []
    for number, (shown, how) in enumerate(_exposures(plan, patient, film, habit), start=1):
        raw = how is not habit
        exposure = Exposure(
            sop_instance_uid=uid_of(identity.study_instance_uid, "film", number),
            series_number=2 if raw else 1,
            instance_number=number,
            pixel_spacing_mm=shown.pixel_spacing_mm,
            for_processing=raw,
        )
        rows_px, columns_px, data = _encode(shown, how, identity, exposure)
        places = [place(how.tree, identity, plan, exposure)]
        if habit.stored_twice and number == 1 and not plan.alone:
            name = f"{exposure.sop_instance_uid[-12:]}.dcm"
            places.append(PurePosixPath(LATIN1_FOLDER, f"{plan.index:06d}", name))
        for relative in places:
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            sizes.append(len(data))
        truth.append(
            {
                **_truth_of_film(patient, shown),
                "sop_instance_uid": str(exposure.sop_instance_uid),
                "study_instance_uid": str(identity.study_instance_uid),
                "patient_id": identity.patient_id,
                "accession_number": identity.accession_number,
                "report_status": said.status,
                "history": said.history,
                "report_status_late": said.status_late,
                "pair": plan.patient_seed,
                "rows": rows_px,
                "columns": columns_px,
                "transfer_syntax_uid": str(how.transfer_syntax),
                "eligible": not raw
                and min(rows_px, columns_px) >= EligibilityConfig().min_short_side_px,
            }
        )
        if not raw:
            uid = str(exposure.sop_instance_uid)
            labels.append(LabelRow(uid, int(bool(shown.fractures))))
            marks += _marks_of_film(uid, shown, rows_px, columns_px)
    return WrittenStudy(
        truth, said.rows, said.late_rows, labels, marks, sizes, str(habit.transfer_syntax)
    )


def _marks_of_film(uid: str, film: Film, rows_px: int, columns_px: int) -> Iterator[MarkRow]:
    """Yield the fractured vertebrae, then all that are in view."""
    shown = [("vertebral_fracture", f.level) for f in film.fractures]
    shown += [("vertebra", level) for level in film.visible]
    for finding, level in shown:
        x0, y0, x1, y1 = (float(v) for v in film.boxes[level])
        x, y = film.centres[level]
        box = max(x0, 0.0), max(y0, 0.0), min(x1, columns_px), min(y1, rows_px)
        yield MarkRow(uid, finding, level, *(round(v, MARK_DECIMALS) for v in (*box, x, y)))


def _truth_of_film(patient: Patient, film: Film) -> dict[str, object]:
    return {
        "vertebral_fracture": bool(film.fractures),
        "levels": [f.level for f in film.fractures],
        "grades": [f.grade for f in film.fractures],
        "shapes": [f.shape.value for f in film.fractures],
        "boxes": [_box(film, f.level) for f in film.fractures],
        "vertebra_height_px": film.vertebra_height_px,
        "variant": film.variant.value,
        "mimics": [m.mimic.value for m in _mimics(patient, film)],
        "drawn": film.variant is patient.variant,
    }


def _mimics(patient: Patient, film: Film) -> tuple[MimicFinding, ...]:
    return patient.mimics if film.variant is Variant.MIMIC else ()


def _box(film: Film, level: str) -> dict[str, object]:
    x0, y0, x1, y1 = film.boxes[level]
    return {"level": level, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


def _identity(plan: StudyPlan, patient: Patient, habit: StudyHabit) -> Identity:
    rng = stream(plan.archive_seed, "identity", plan.patient_index)
    age_days = int(patient.age_years * 365.25) + int(rng.integers(2, 360))
    birth = plan.first_study_datetime - timedelta(days=age_days)
    when = plan.study_datetime
    age = when.year - birth.year - ((when.month, when.day) < (birth.month, birth.day))
    return Identity(
        patient_id=f"PH{plan.archive_seed % 1000:03d}{plan.patient_index:06d}",
        patient_name=f"PHANTOM^{plan.patient_index:04d}",
        sex=patient.sex,
        age_years=age,
        birth_date=birth,
        accession_number=plan.accession_number,
        issuer=habit.site.issuer,
        study_instance_uid=uid_of("study", plan.archive_seed, plan.index),
        study_datetime=when,
    )


def _exposures(
    plan: StudyPlan, patient: Patient, film: Film, habit: StudyHabit
) -> list[tuple[Film, StudyHabit]]:
    """The study's films, each with its habit; a raw one has a habit of its own."""
    films = [(film, habit)]
    if plan.alone:
        return films
    if habit.second_film and plan.view == 0:
        second = render_film(
            patient, film.variant, long_side_px=plan.long_side_px, view=1, shift=plan.shift
        )
        films.append((second, habit))
    if habit.for_processing:
        values = replace(
            habit.values, bits_stored=14, modality=Modality.ABSENT, voi=Voi.ABSENT,
            monochrome1=True, lut_shape=None, padded=False,
        )  # fmt: skip
        films.append((film, for_processing(replace(habit, values=values))))
    return films


def _encode(
    film: Film, habit: StudyHabit, identity: Identity, exposure: Exposure
) -> tuple[int, int, bytes]:
    """Return rows, columns and the DICOM file of a film."""
    pixels = film.pixels
    if habit.odd_size:
        # Rows times columns of 8 bits is odd: the native pixel data need a padding byte.
        height, width = pixels.shape
        pixels = pixels[: height - 1 + height % 2, : width - 1 + width % 2]
    if exposure.for_processing:
        # Towards the detector's signal: little contrast, most of the range unused.
        pixels = np.float32(0.35) + np.float32(0.4) * np.sqrt(pixels)
    syntax = habit.transfer_syntax
    frame = to_stored(pixels, habit.values, big_endian=not syntax.is_little_endian)
    ds = build_header(identity, habit, exposure)
    add_pixels(ds, frame, habit)
    return *pixels.shape, to_bytes(ds, syntax, habit.preamble)


def place(tree: Tree, identity: Identity, plan: StudyPlan, exposure: Exposure) -> PurePosixPath:
    """Return where below the archive an instance lies."""
    when, study = identity.study_datetime, identity.study_instance_uid
    series, number = exposure.series_number, exposure.instance_number
    sop = exposure.sop_instance_uid
    if tree is Tree.BY_DATE:
        folder = f"{when:%Y/%m/%d}/{identity.accession_number}_{study[-6:]}"
        return PurePosixPath(folder, f"{series:03d}", f"{number:05d}.dcm")
    if tree is Tree.BY_UID:
        return PurePosixPath("pacs", identity.patient_id, study, f"{series}", sop)
    if tree is Tree.MEDIA:
        folder = f"DICOM/PA{plan.patient_index:06d}/ST{plan.index:06d}/SE{series:06d}"
        return PurePosixPath(folder, f"IM{number:06d}")
    if tree is Tree.HASHED:
        name = f"{int(sop.rpartition('.')[2]):032X}"
        return PurePosixPath("store", name[:2], name[2:4], name[4:12])
    folder = f"Import {when:%Y} (Süd)/{identity.patient_id} Abdomen {plan.index}"
    return PurePosixPath(folder, f"Übersicht {series} {number}.DCM")
