"""The phantom archive: what is written is what the truth says, for every encoding, every time."""

import csv
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from phantom_reader import displayed, read, stored_values

from vfscreen.errors import UsageError
from vfscreen.phantom import clutter
from vfscreen.phantom.anatomy import Variant, sample_patient
from vfscreen.phantom.archive import PhantomSummary, plan_groups, write_phantom
from vfscreen.phantom.dicom_habits import ROTA, draw_habit
from vfscreen.phantom.encode import TRANSFER_SYNTAXES
from vfscreen.phantom.films import render_film
from vfscreen.phantom.stored_values import Voi

SEED = 3
STUDIES = len(ROTA)
LONG_SIDE_PX = 760


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PhantomSummary]:
    out = tmp_path_factory.mktemp("phantom")
    size = (LONG_SIDE_PX, LONG_SIDE_PX)
    return out, write_phantom(out, studies=STUDIES, seed=SEED, workers=1, long_side_px=size)


def truth_of(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "truth.parquet").to_pylist()


def reports_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def instances(root: Path) -> dict[str, list[Path]]:
    """Files by SOP instance UID."""
    found: dict[str, list[Path]] = {}
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.stat().st_size > 200 and path.suffix != ".TXT":
                ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
                found.setdefault(str(ds.get("SOPInstanceUID")), []).append(path)
    return found


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that an archive is: names, kinds, times, bytes."""
    seen: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder, name) for name in [*folders, *names]):
            stat = path.lstat()
            content = (
                str(path.readlink()) if path.is_symlink()
                else path.read_bytes() if path.is_file() else None
            )  # fmt: skip
            seen[str(path.relative_to(root))] = (stat.st_mode, stat.st_mtime_ns, content)
    return seen


def test_every_transfer_syntax_is_there(written: tuple[Path, PhantomSummary]) -> None:
    out, summary = written
    assert set(summary.transfer_syntaxes) == set(TRANSFER_SYNTAXES)
    assert sum(summary.transfer_syntaxes.values()) == STUDIES
    assert summary.films == len(truth_of(out))


def test_a_reader_sees_the_rendered_films_of_the_truth(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, _ = written
    files = instances(out / "archive")
    later = {p.index for g in plan_groups(STUDIES, SEED, (1, 1), counterfactuals=False) for p in g
             if p.view == 1}  # fmt: skip
    films: dict[str, int] = {}
    looked_at = 0
    for row in truth_of(out):
        number = films.setdefault(row["study_instance_uid"], len(films))
        ds = read(files[row["sop_instance_uid"]][0])
        assert (ds.Rows, ds.Columns) == (row["rows"], row["columns"])
        assert ds.file_meta.TransferSyntaxUID == row["transfer_syntax_uid"]
        assert ds.PatientID == row["patient_id"]
        assert ds.StudyInstanceUID == row["study_instance_uid"]
        assert ds.AccessionNumber == row["accession_number"]
        if ds.InstanceNumber != 1 or number in later:
            continue
        patient = sample_patient(row["pair"])
        film = render_film(patient, Variant(row["variant"]), long_side_px=LONG_SIDE_PX)
        assert row["vertebral_fracture"] == bool(film.fractures)
        assert row["levels"] == [f.level for f in film.fractures]
        shown = displayed(ds, stored_values(ds))
        expected = film.pixels[: shown.shape[0], : shown.shape[1]]
        inner = (slice(15, -15), slice(15, -15))  # padding surrounds some films
        if draw_habit(SEED, number).values.voi is Voi.ABSENT:
            assert np.corrcoef(shown[inner].ravel(), expected[inner].ravel())[0, 1] > 0.98
        else:
            assert np.abs(shown[inner] - expected[inner]).mean() < 0.012
            assert np.quantile(np.abs(shown[inner] - expected[inner]), 0.99) < 0.04
        looked_at += 1
    assert looked_at > STUDIES * 0.7


def test_boxes_lie_on_the_film_around_what_is_fractured(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, _ = written
    rows = truth_of(out)
    assert any(r["vertebral_fracture"] for r in rows)
    for row in rows:
        assert [b["level"] for b in row["boxes"]] == row["levels"]
        assert len(row["grades"]) == len(row["shapes"]) == len(row["levels"])
        for box in row["boxes"]:
            assert -1 < box["x0"] < box["x1"] < row["columns"] + 1
            assert -1 < box["y0"] < box["y1"] < row["rows"] + 1


def test_labels_say_of_every_film_for_presentation_what_the_truth_says(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, _ = written
    labels = {
        r["sop_instance_uid"]: r["vertebral_fracture"] for r in reports_of(out / "labels.csv")
    }
    truth = {r["sop_instance_uid"]: r for r in truth_of(out) if r["eligible"]}
    assert labels == {uid: f"{row['vertebral_fracture']:d}" for uid, row in truth.items()}
    assert set(labels.values()) == {"0", "1"}


def test_marks_hold_the_fractured_and_all_visible_vertebrae(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, _ = written
    truth = {r["sop_instance_uid"]: r for r in truth_of(out)}
    marks = reports_of(out / "marks.csv")
    fractured = [m for m in marks if m["finding"] == "vertebral_fracture"]
    assert Counter(m["sop_instance_uid"] for m in fractured) == {
        uid: len(r["levels"]) for uid, r in truth.items() if r["levels"] and r["eligible"]
    }
    assert all(m["level"] in truth[m["sop_instance_uid"]]["levels"] for m in fractured)
    whole = [m for m in marks if m["finding"] == "vertebra"]
    assert {m["sop_instance_uid"] for m in whole} == {u for u, r in truth.items() if r["eligible"]}
    named = {(m["sop_instance_uid"], m["level"]) for m in whole}
    assert len(named) == len(whole) > 6 * len(truth)
    assert {(m["sop_instance_uid"], m["level"]) for m in fractured} <= named
    for mark in marks:
        film = truth[mark["sop_instance_uid"]]
        x0, y0, x1, y1, x, y = (float(mark[k]) for k in ("x0", "y0", "x1", "y1", "x", "y"))
        assert 0 <= x0 < x < x1 <= film["columns"]
        assert 0 <= y0 < y < y1 <= film["rows"]


def test_raw_films_are_not_eligible_and_the_others_are(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, _ = written
    files = instances(out / "archive")
    for row in truth_of(out):
        ds = read(files[row["sop_instance_uid"]][0])
        assert row["eligible"] == (ds.get("PresentationIntentType") != "FOR PROCESSING")


def test_reports_can_be_matched_and_late_ones_lie_apart(
    written: tuple[Path, PhantomSummary],
) -> None:
    out, summary = written
    rows, late = reports_of(out / "reports.csv"), reports_of(out / "reports_late.csv")
    assert (len(rows), len(late)) == (summary.reports, summary.late_reports)
    truth = truth_of(out)
    by_study = {r["study_instance_uid"]: r for r in truth}
    by_accession = {r["accession_number"]: r for r in truth}
    with_report, late_only = set(), set()
    for found, kept in ((rows, with_report), (late, late_only)):
        for report in found:
            assert report["accession_number"] or report["study_instance_uid"]
            assert report["text"].strip()
            study = (
                by_study.get(report["study_instance_uid"])
                or by_accession[report["accession_number"]]
            )
            assert study["patient_id"] == report["patient_id"]
            kept.add(study["study_instance_uid"])
    assert not with_report & late_only
    for row in truth:
        assert (row["report_status"] != "no_report") == (row["study_instance_uid"] in with_report)
        has_any = row["study_instance_uid"] in with_report | late_only
        assert (row["report_status_late"] != "no_report") == has_any


def test_clutter_is_all_there(written: tuple[Path, PhantomSummary]) -> None:
    out, summary = written
    root = out / "archive"
    table = re.findall(r"^(\w+) +(\d+) ", str(clutter.__doc__), flags=re.MULTILINE)
    assert summary.clutter == {kind: int(pieces) for kind, pieces in table}
    assert (root / clutter.FORBIDDEN).stat().st_mode & 0o777 == 0
    assert (root / "misc/previous/link").resolve() == root.resolve()
    (bomb,) = (root / "misc" / "bomb").iterdir()
    assert pydicom.dcmread(bomb, stop_before_pixels=True).Rows == 60_000
    assert bomb.stat().st_size < 2_000_000
    assert summary.files == sum(len(names) for _, _, names in os.walk(root))


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        write_phantom(tmp_path / name, studies=5, seed=5, workers=workers, long_side_px=(200, 260))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    write_phantom(tmp_path / "other", studies=5, seed=6, workers=1, long_side_px=(200, 260))
    assert tree(tmp_path / "one").keys() != tree(tmp_path / "other").keys()


def test_counterfactual_studies_differ_by_their_finding_only(tmp_path: Path) -> None:
    write_phantom(
        tmp_path, studies=2, seed=9, workers=1, long_side_px=(300, 300), counterfactuals=True
    )
    rows = truth_of(tmp_path)
    files = instances(tmp_path / "archive")
    marks = [m for m in reports_of(tmp_path / "marks.csv") if m["finding"] != "vertebra"]
    assert len(rows) == 6
    assert len({r["patient_id"] for r in rows}) == len({r["study_instance_uid"] for r in rows}) == 6
    for pair in {r["pair"] for r in rows}:
        films = {r["variant"]: r for r in rows if r["pair"] == pair}
        assert films.keys() == {"fracture", "mimic", "plain"}
        assert [f["vertebral_fracture"] for f in films.values()] == [True, False, False]
        (drawn,) = [f["variant"] for f in films.values() if f["drawn"]]
        assert drawn == sample_patient(pair).variant
        plain, fracture = (read(files[films[v]["sop_instance_uid"]][0]) for v in
                           ("plain", "fracture"))  # fmt: skip
        for keyword in ("BitsStored", "PhotometricInterpretation", "Manufacturer", "ViewPosition"):
            assert plain.get(keyword) == fracture.get(keyword)
        difference = np.abs(
            displayed(plain, stored_values(plain)) - displayed(fracture, stored_values(fracture))
        )
        # The marks are in pixels of the stored film: there it is that the film has changed.
        for mark in marks:
            if mark["sop_instance_uid"] == films["fracture"]["sop_instance_uid"]:
                x0, y0, x1, y1 = (round(float(mark[k])) for k in ("x0", "y0", "x1", "y1"))
                assert difference[y0:y1, x0:x1].mean() > 4 * difference.mean()
        # Lossy codecs and percentiles spread a local difference thinly over the film.
        assert np.median(difference) < 0.01
        assert difference.max() > 0.1


def test_an_archive_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(UsageError, match="new folder"):
        write_phantom(tmp_path, studies=1, seed=1, workers=1, long_side_px=(100, 100))


def test_the_mix_of_headers_is_the_documented_one() -> None:
    habits = [draw_habit(1, i) for i in range(1000)]

    def share(count: int) -> float:
        return count / len(habits)

    syntaxes = Counter(h.transfer_syntax for h in habits)
    assert min(syntaxes[s] for s in TRANSFER_SYNTAXES) == 50
    assert share(sum(h.values.monochrome1 for h in habits)) == pytest.approx(0.48, abs=0.05)
    assert share(sum(h.values.lut_shape == "INVERSE" for h in habits)) == pytest.approx(
        0.08, abs=0.03
    )
    assert share(sum(h.body_part is None for h in habits)) == pytest.approx(0.34, abs=0.05)
    assert share(sum(h.view_position is None for h in habits)) == pytest.approx(0.35, abs=0.05)
    assert share(sum(h.values.bits_stored == 15 for h in habits)) == pytest.approx(0.20, abs=0.05)
    assert {h.values.bits_stored for h in habits} == {8, 10, 12, 14, 15, 16}
    assert any(h.stored_twice for h in habits)


def test_sites_may_give_the_same_accession_number() -> None:
    plans = [p for g in plan_groups(300, 1, (1, 1), counterfactuals=False) for p in g]
    numbers = Counter(p.accession_number for p in plans)
    assert set(numbers.values()) == {1, 2}
    for number, count in numbers.items():
        same = [p for p in plans if p.accession_number == number]
        assert all(p.shared_accession == (count == 2) for p in same)
        assert len({draw_habit(1, p.habit_index).site.issuer for p in same}) == count


def test_later_studies_are_of_the_same_anatomy() -> None:
    plans = [p for g in plan_groups(500, 2, (1, 1), counterfactuals=False) for p in g]
    patients = Counter(p.patient_index for p in plans)
    assert 10 <= sum(n == 2 for n in patients.values()) <= 60
    assert max(patients.values()) == 2
    for later in (p for p in plans if p.view == 1):
        first = plans[later.index - 1]
        assert later.patient_seed == first.patient_seed
        assert later.study_datetime > first.study_datetime
