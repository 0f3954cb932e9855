"""Scanning night after night: what is read, what is not, and what becomes of every file."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from archive_films import as_nobody, encoded, film, long_header, needs_root, opened, written

from vfscreen.archive import manifest
from vfscreen.archive.eligibility import ExclusionReason
from vfscreen.archive.header import Header
from vfscreen.archive.manifest import BATCH_ROWS, Described, Stamp
from vfscreen.archive.scan import ScanResult, scan
from vfscreen.archive.walk import FoundFile, archive_root
from vfscreen.config import ArchiveConfig, Config, EligibilityConfig
from vfscreen.errors import ArchiveError
from vfscreen.results.schemas import MANIFEST

SMALL = EligibilityConfig(min_short_side_px=8)


def night(
    root: Path,
    known: pa.Table | None = None,
    *,
    eligibility: EligibilityConfig = SMALL,
    threads: int = 2,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda files: None,
) -> ScanResult:
    """One scan; what it says holds together whatever the archive."""
    result = scan(
        root,
        known,
        Config(archive=ArchiveConfig(scan_threads=threads), eligibility=eligibility),
        run_id="run",
        hash_key=lambda text: f"key-{text}",
        progress=progress,
        stop=stop,
    )
    assert result.counts.total() == result.found
    assert result.new_rows.schema == MANIFEST
    result.new_rows.validate(full=True)
    return result


def latest(*tables: pa.Table) -> pa.Table:
    """The latest row of every path, as the results room's view gives it."""
    rows = {row["archive_path"]: row for table in tables for row in table.to_pylist()}
    return pa.Table.from_pylist(list(rows.values()), schema=MANIFEST)


def states(table: pa.Table) -> dict[str, str]:
    return {
        row["archive_path"]: row["failure_reason"] or row["exclusion_reason"] or "eligible"
        for row in table.to_pylist()
    }


def uid(number: int) -> dict[str, str]:
    return {"SOPInstanceUID": f"1.2.3.{number}"}


def test_every_file_gets_its_row_and_its_state(tmp_path: Path) -> None:
    written(tmp_path / "film", **uid(1))
    written(tmp_path / "chest", BodyPartExamined="CHEST", **uid(2))
    written(tmp_path / "cut", encoded(film(**uid(3)))[:-100])
    written(tmp_path / "cut chest", encoded(film(BodyPartExamined="CHEST", **uid(4)))[:-100])
    written(tmp_path / "sr", encoded(film(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None)))
    written(tmp_path / "text", b"hello")
    written(tmp_path / "empty", b"")
    written(tmp_path / "broken", encoded(film())[:300] + b"\xff" * 400)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")

    result = night(tmp_path)

    assert states(result.new_rows) == {
        "film": "eligible",
        "chest": "body_part",
        "cut": "truncated",
        "cut chest": "body_part",
        "sr": "not_an_image",
        "text": "not_dicom",
        "empty": "not_dicom",
        "broken": "bad_header",
        "pipe": "not_dicom",
        "link": "unreadable_file",
    }
    assert result.counts["not_dicom"] == 3
    assert (result.found, result.read, result.complete) == (10, 8, True)


def test_a_row_holds_what_the_header_says(tmp_path: Path) -> None:
    path = written(tmp_path / "2020/film.dcm")

    [row] = night(tmp_path).new_rows.to_pylist()

    assert row["archive_root"] == archive_root(tmp_path)
    assert row["archive_path"] == "2020/film.dcm"
    assert row["size_bytes"] == path.stat().st_size
    assert row["instance_key"] == "key-1.2.3.4"
    assert row["study_date"] == date(2020, 6, 15)
    assert row["image_type"] == ["DERIVED", "PRIMARY"]
    assert (row["rows"], row["columns"], row["patient_age_years"]) == (16, 16, 70)
    assert row["eligible"] is True
    assert len(row["content_fingerprint"]) == 32
    assert row["run_id"] == "run"


def test_headers_and_manifest_have_the_same_columns() -> None:
    names = [field.name for field in fields(Header)]
    start = MANIFEST.names.index(names[0])

    assert MANIFEST.names[start : start + len(names)] == names


def test_a_file_without_uid_is_keyed_by_its_path(tmp_path: Path) -> None:
    written(tmp_path / "text", b"hello")

    [row] = night(tmp_path).new_rows.to_pylist()

    assert row["instance_key"] == "key-text"


def test_the_second_night_opens_nothing_and_writes_nothing(tmp_path: Path) -> None:
    for number in range(5):
        written(tmp_path / f"{number}", **uid(number))
    written(tmp_path / "chest", BodyPartExamined="CHEST", **uid(9))
    first = night(tmp_path)

    second = night(tmp_path, first.new_rows)

    assert (second.found, second.read, second.new_rows.num_rows) == (6, 0, 0)
    assert second.counts == first.counts == {"eligible": 5, "body_part": 1}


def test_new_and_changed_files_are_read_and_no_others(tmp_path: Path) -> None:
    for name in "abc":
        written(tmp_path / name, **uid(ord(name)))
    first = night(tmp_path)
    written(tmp_path / "b", BodyPartExamined="CHEST", **uid(ord("b")))
    written(tmp_path / "d", **uid(ord("d")))

    second = night(tmp_path, first.new_rows)

    assert second.read == 2
    assert states(second.new_rows) == {"b": "body_part", "d": "eligible"}


def test_a_vanished_file_is_no_longer_eligible_and_is_new_when_back(tmp_path: Path) -> None:
    film_path = written(tmp_path / "film", **uid(1))
    written(tmp_path / "other", **uid(2))
    first = night(tmp_path).new_rows
    film_path.rename(tmp_path.parent / "aside")

    second = night(tmp_path, first)
    third = night(tmp_path, latest(first, second.new_rows))
    (tmp_path.parent / "aside").rename(film_path)
    fourth = night(tmp_path, latest(first, second.new_rows))

    assert (second.vanished, states(second.new_rows)) == (1, {"film": "vanished"})
    assert second.new_rows["eligible"].to_pylist() == [False]
    assert (third.vanished, third.new_rows.num_rows) == (0, 0)
    assert (fourth.read, states(fourth.new_rows)) == (1, {"film": "eligible"})


def test_an_empty_archive_where_films_are_known_is_an_outage(tmp_path: Path) -> None:
    path = written(tmp_path / "archive/film")
    known = night(tmp_path / "archive").new_rows
    path.unlink()

    with pytest.raises(ArchiveError, match="is it mounted"):
        night(tmp_path / "archive", known)


def test_an_archive_that_was_always_empty_is_none(tmp_path: Path) -> None:
    assert night(tmp_path).found == 0


@needs_root
def test_films_below_a_folder_without_permission_are_kept(tmp_path: Path) -> None:
    written(tmp_path / "archive/closed/film", **uid(1))
    written(tmp_path / "archive/open/copy", **uid(1))
    written(tmp_path / "archive/open/unreadable", **uid(2))
    known = night(tmp_path / "archive").new_rows
    for folder in (*opened(tmp_path), tmp_path, *(tmp_path / "archive").rglob("*/")):
        folder.chmod(0o755)
    (tmp_path / "archive/closed").chmod(0)
    (tmp_path / "archive/open/unreadable").chmod(0)
    os.utime(tmp_path / "archive/open/unreadable")

    def closed_night() -> dict[str, Any]:
        result = night(tmp_path / "archive", known)
        folders = [folder.archive_path for folder in result.unreadable_folders]
        return {"states": states(result.new_rows), "v": result.vanished, "folders": folders}

    assert as_nobody(closed_night) == {
        "states": {"open/unreadable": "unreadable_file"},
        "v": 0,
        "folders": ["closed"],
    }


def test_a_transient_failure_is_tried_again(tmp_path: Path) -> None:
    link = tmp_path / "archive/film"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "aside")
    first = night(tmp_path / "archive")
    assert first.counts == {"unreadable_file": 1}
    again = night(tmp_path / "archive", first.new_rows)
    assert again.counts == {"unreadable_file": 1}

    written(tmp_path / "aside")

    assert night(tmp_path / "archive", first.new_rows).counts == {"eligible": 1}


def test_a_permanent_failure_is_not_read_again(tmp_path: Path) -> None:
    written(tmp_path / "film", encoded(film())[:-1])
    first = night(tmp_path)

    second = night(tmp_path, first.new_rows)

    assert (second.read, second.counts) == (0, {"truncated": 1})


def test_of_one_instance_twice_the_first_path_stands(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        written(tmp_path / name, **uid(1))

    assert states(night(tmp_path).new_rows) == {"a": "eligible", "b": "duplicate", "c": "duplicate"}


def test_a_copy_that_comes_later_is_the_duplicate_whatever_its_path(tmp_path: Path) -> None:
    written(tmp_path / "b", **uid(1))
    first = night(tmp_path)
    written(tmp_path / "a", **uid(1))

    second = night(tmp_path, first.new_rows)

    assert states(second.new_rows) == {"a": "duplicate"}
    assert second.counts == {"eligible": 1, "duplicate": 1}


def test_a_duplicate_steps_in_when_its_original_vanishes(tmp_path: Path) -> None:
    written(tmp_path / "a", **uid(1))
    written(tmp_path / "b", **uid(1))
    first = night(tmp_path)
    (tmp_path / "a").unlink()

    second = night(tmp_path, first.new_rows)

    assert states(second.new_rows) == {"a": "vanished", "b": "eligible"}
    assert second.read == 0


def test_an_ineligible_copy_does_not_make_a_duplicate(tmp_path: Path) -> None:
    written(tmp_path / "a", PresentationIntentType="FOR PROCESSING", **uid(1))
    written(tmp_path / "b", **uid(1))

    assert states(night(tmp_path).new_rows) == {"a": "for_processing", "b": "eligible"}


def test_another_configuration_judges_again_without_opening(tmp_path: Path) -> None:
    written(tmp_path / "young", PatientAge="045Y", **uid(1))
    written(tmp_path / "old", **uid(2))
    written(tmp_path / "copy", **uid(2))
    written(tmp_path / "text", b"hello")
    first = night(tmp_path)
    younger = EligibilityConfig(min_short_side_px=8, min_age_years=40)

    second = night(tmp_path, first.new_rows, eligibility=younger)
    third = night(tmp_path, latest(first.new_rows, second.new_rows), eligibility=younger)

    assert states(first.new_rows)["young"] == "under_age"
    assert second.read == 0
    assert states(second.new_rows) == {
        "young": "eligible", "copy": "eligible", "old": "duplicate", "text": "not_dicom",
    }  # fmt: skip
    assert third.new_rows.num_rows == 0


def test_known_rows_from_another_reader_are_understood(tmp_path: Path) -> None:
    """An older manifest lacks a column, and a query may give it in another order and type."""
    written(tmp_path / "film")
    known = night(tmp_path).new_rows.drop_columns(["view_code"])
    known = known.select(known.column_names[::-1])
    known = known.set_column(
        0, "scanned_at", pc.cast(known["scanned_at"], pa.timestamp("ns", "UTC"))
    )

    assert night(tmp_path, known).read == 0


def test_a_stopped_scan_keeps_what_it_has_and_loses_nothing(tmp_path: Path) -> None:
    for number in range(300):
        written(tmp_path / f"{number:03d}", **uid(number))
    asked = iter([False, False])

    first = night(tmp_path, stop=lambda: next(asked, True))
    second = night(tmp_path, first.new_rows)

    assert first.counts == {"eligible": 128, "not_reached": 172}
    assert (first.complete, first.vanished) == (False, 0)
    assert (second.read, second.counts) == (172, {"eligible": 300})


def test_progress_adds_up_to_what_was_found(tmp_path: Path) -> None:
    for number in range(100):
        written(tmp_path / f"{number}", **uid(number))
    known = night(tmp_path).new_rows.slice(0, 40)
    steps: list[int] = []

    assert night(tmp_path, known, progress=steps.append).found == sum(steps) == 100


def test_the_same_rows_whatever_the_number_of_threads(tmp_path: Path) -> None:
    seeded = random.Random(1)
    for number in range(200):
        written(tmp_path / f"{seeded.random()}", **uid(number // 2))

    one, many = (night(tmp_path, threads=n).new_rows.drop_columns("scanned_at") for n in (1, 8))

    assert one == many


def test_names_and_values_with_quotes_html_and_sql_are_only_data(tmp_path: Path) -> None:
    nasty = "'; DROP TABLE x; --\"<b>\n"
    written(tmp_path / nasty, StudyDescription=f"ABDOMEN {nasty}x", PatientID="<script>")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(encoded(film(**uid(8))))

    rows = night(tmp_path).new_rows

    assert rows["archive_path"].to_pylist() == [nasty, "\\xff"]
    assert rows["patient_id"].to_pylist() == ["<script>", "P1"]
    assert night(tmp_path, rows).read == 0


def test_two_thousand_unchanged_films_take_well_under_a_second(tmp_path: Path) -> None:
    one = encoded(long_header(1))
    for number in range(2000):
        written(
            tmp_path / f"{number // 100}/{number}", one.replace(b"1.2.3.1\0", b"1.2.%04d" % number)
        )
    known = night(tmp_path).new_rows
    begin = time.perf_counter()

    second = night(tmp_path, known)

    assert (second.read, second.counts) == (0, {"eligible": 2000})
    assert time.perf_counter() - begin < 1.0


def test_what_all_rows_share_is_held_once() -> None:
    """Of a million new files, 250 MB: in every batch, and again when all are decided."""
    found = [FoundFile(f"{number}.txt", 10, 20) for number in range(3 * BATCH_ROWS)]
    stamp = Stamp("/archive", "e" * 64, "run", lambda text: text)
    described = [Described(file, True, exclusion_reason=ExclusionReason.VIEW) for file in found]
    batches = [
        manifest.table(described[at : at + BATCH_ROWS], stamp)
        for at in range(0, len(described), BATCH_ROWS)
    ]
    rows = pa.concat_tables(batches)
    shared = ("archive_root", "eligibility_sha256", "run_id", "scanned_at", "modality")
    for table in (rows, manifest.decided(rows, manifest.objects(["view"] * len(found)), stamp)):
        for name in shared:
            assert table[name].nbytes > 2.9 * table[name].get_total_buffer_size()
        assert table["eligibility_sha256"].unique().to_pylist() == ["e" * 64]
        assert table["modality"].null_count == len(found)
    assert rows["archive_path"].to_pylist() == [file.archive_path for file in found]
