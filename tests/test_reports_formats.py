"""One set of reports in every format gives the same records and labels; any mix of formats."""

import csv
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import report_files as formats
from conftest import vfscreen

from vfscreen.config import ReportsConfig
from vfscreen.errors import ReportsError
from vfscreen.reports import parquet_reader
from vfscreen.reports.labelling import label
from vfscreen.reports.lexicon import load
from vfscreen.reports.records import BadRecord, NotAReport, ReportRecord
from vfscreen.reports.sources import Item, read_reports

MARK = "Tq7ZmarkedX"


@pytest.fixture(scope="module")
def rows(phantom: Path) -> list[formats.Row]:
    """The phantom's reports."""
    with (phantom / "reports.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _read(path: Path, **config: object) -> list[Item]:
    return list(read_reports(path, ReportsConfig(**config)))  # type: ignore[arg-type]


def _reports(path: Path, **config: object) -> list[ReportRecord]:
    records = _read(path, **config)
    assert all(isinstance(record, ReportRecord) for record in records)
    return [record for record in records if isinstance(record, ReportRecord)]


WRITERS = {
    "reports.tsv": (lambda p, r: formats.write_csv(p, r, "\t"), {}),
    "reports.parquet": (formats.write_parquet, {}),
    "reports.jsonl": (formats.write_jsonl, {"columns": formats.NESTED}),
    "reports.hl7": (formats.write_hl7, {"hl7_accession": ("OBR-18",)}),
    "bundle.json": (formats.write_bundle, {}),
    "reports.ndjson": (formats.write_ndjson, {}),
    "sr": (formats.write_sr, {}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_reports_and_labels(
    name: str, rows: list[formats.Row], phantom: Path, tmp_path: Path
) -> None:
    write, config = WRITERS[name]
    write(tmp_path / name, rows)
    expected = _reports(phantom / "reports.csv")
    found = _reports(tmp_path / name, **config)
    if name == "sr":  # read in the order of names, under their own ids and without a status word
        found.sort(key=lambda record: int(record.report_id.rpartition(".")[2]))
    lexicon = load(None)
    assert len(found) == len(expected) == len(rows)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.text == theirs.text
        assert ours.study_instance_uid == theirs.study_instance_uid
        assert ours.accession_number == theirs.accession_number
        assert (ours.patient_id, ours.report_datetime) == (
            theirs.patient_id,
            theirs.report_datetime,
        )
        if name != "sr":
            assert ours.result_status == theirs.result_status
            assert ours.issuer == theirs.issuer
            assert label(ours.text, lexicon, ours.result_status) == label(
                theirs.text, lexicon, theirs.result_status
            )


def test_a_folder_may_hold_a_mix_and_what_is_no_report_is_counted(
    rows: list[formats.Row], tmp_path: Path
) -> None:
    formats.write_csv(tmp_path / "a.csv", rows[:3])
    formats.write_parquet(tmp_path / "b.pq", rows[3:5])
    formats.write_hl7(tmp_path / "c", rows[5:9])
    formats.write_bundle(tmp_path / "d.json", rows[9:11])
    formats.write_sr(tmp_path / "e", rows[11:13])
    (tmp_path / "e" / "700.txt").write_text("No fracture.")
    (tmp_path / "f.pdf").write_bytes(b"%PDF-1.7 " + bytes(100))
    with gzip.open(tmp_path / "g.csv.gz", "wb") as packed:
        packed.write(bytes(10_000_000))  # 10 kB that would unpack to 10 MB
    records = _read(tmp_path)
    kinds = [type(record) for record in records]
    assert kinds.count(ReportRecord) == 14
    assert kinds.count(NotAReport) == 2
    assert kinds.count(BadRecord) == 0
    found = {record.source_format for record in records if isinstance(record, ReportRecord)}
    assert found == {"csv", "parquet", "hl7", "fhir", "sr", "text"}


def test_a_file_of_a_folder_that_cannot_be_read_is_one_bad_record(
    rows: list[formats.Row], tmp_path: Path
) -> None:
    (tmp_path / f"{MARK}.csv").write_text("a,b\n1,2\n")
    (tmp_path / f"{MARK}.parquet").write_bytes(b"PAR1 and then nothing")
    formats.write_csv(tmp_path / "z.csv", rows[:1])
    first, second, record = _read(tmp_path)
    assert isinstance(record, ReportRecord)
    assert isinstance(first, BadRecord) and isinstance(second, BadRecord)
    assert [first.file_number, second.file_number] == [1, 2]
    assert MARK not in first.message + second.message
    assert str(tmp_path) not in first.message + second.message


def test_a_folder_without_anything_that_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(ReportsError, match="None of its 1 files"):
        _read(tmp_path)
    (tmp_path / "export.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ReportsError, match="lacks the column `text`"):
        _read(tmp_path)


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReportsError, match="neither a file nor a folder"):
        _read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["reports.zip", "reports.xyz"])
def test_a_single_file_of_no_known_format_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04" if name.endswith("zip") else b"\0\1\2")
    with pytest.raises(ReportsError, match=r"reports\.format"):
        _read(tmp_path / name)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "hl7", "ndjson", "txt"])
def test_an_empty_file_is_refused_in_every_format(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"reports.{suffix}").touch()
    with pytest.raises(ReportsError, match="is empty"):
        list(read_reports(tmp_path / f"reports.{suffix}", ReportsConfig()))


def test_an_empty_file_of_a_folder_is_a_bad_record_unless_it_marks_something(
    tmp_path: Path,
) -> None:
    (tmp_path / "700000001.txt").write_text("No fracture.")
    (tmp_path / "700000002.hl7").touch()
    (tmp_path / "DONE").touch()
    (tmp_path / "letter.rtf").write_text(r"{\rtf1 No fracture.}")
    kinds = [type(item).__name__ for item in read_reports(tmp_path, ReportsConfig())]
    assert kinds == ["ReportRecord", "BadRecord", "NotAReport", "NotAReport"]


def test_the_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "700").write_text("Text without any suffix.")
    (record,) = _reports(tmp_path, format="text")
    assert (record.accession_number, record.source_format) == ("700", "text")


def test_a_text_file_that_is_a_table_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_text("Acc|Body\nA1|Normal.\n")
    config = {"columns": ("text=Body", "accession_number=acc"), "delimiter": "|"}
    (record,) = _reports(tmp_path / "export.txt", **config)
    assert (record.accession_number, record.text) == ("A1", "Normal.")


def test_text_files_are_named_by_accession_number(tmp_path: Path) -> None:
    (tmp_path / "A1.txt").write_text("Normal.")
    (tmp_path / "A1_add2.txt").write_text("Wedge fracture of L1.")
    (tmp_path / "A2.txt").write_bytes("Größe".encode("latin-1"))
    (tmp_path / "A3.txt").write_text("  \n")
    (tmp_path / "A4.txt").write_text("x" * 2001)
    original, addendum, *bad = _read(tmp_path, max_text_characters=2000)
    assert isinstance(original, ReportRecord) and isinstance(addendum, ReportRecord)
    assert (original.accession_number, original.result_status) == ("A1", None)
    assert (addendum.accession_number, addendum.result_status) == ("A1", "addendum")
    assert [b.file_number for b in bad if isinstance(b, BadRecord)] == [3, 4, 5]
    (tmp_path / "A1.txt").write_text("Normal. Corrected.")
    again = _read(tmp_path)[0]
    assert isinstance(again, ReportRecord) and again.report_id == original.report_id
    assert again.content_sha256 != original.content_sha256


def test_json_lines_with_hostile_lines(tmp_path: Path) -> None:
    good = {"accession_number": ["A1", "A2"], "text": "ok \ud800 \0 ok", "patient_id": 17}
    lines = [
        json.dumps(good),
        "[" * 100_000,
        '{"accession_number": "SECRET", "text": {"a": 1}}',
        '{"accession_number": "SECRET"',
        '"SECRET"',
        '{"accession_number": "SECRET"}',
        "",
        json.dumps({"accession_number": 5.0, "text": "last"}),
    ]
    path = tmp_path / "x.jsonl"
    path.write_bytes(("\n".join(lines)).encode() + b'\n{"text": "\xff"}\n')
    first, *bad, last, not_utf8 = _read(path)
    assert isinstance(first, ReportRecord) and isinstance(last, ReportRecord)
    assert (first.accession_number, first.also_accession_numbers) == ("A1", ("A2",))
    assert (first.text, first.patient_id) == ("ok ?  ok", "17")
    assert last.accession_number == "5"
    assert [b.place for b in bad if isinstance(b, BadRecord)] == [f"line {n}" for n in range(2, 7)]
    assert isinstance(not_utf8, BadRecord) and not_utf8.message == "not UTF-8"
    assert not any("SECRET" in str(b) for b in bad)


def test_parquet_streams_its_columns_and_finds_bad_rows(tmp_path: Path) -> None:
    table = pa.table(
        {
            "report": [{"body": "Normal."}, {"body": None}, None, {"body": "Fracture."}],
            "accession_number": pa.array([7.0, 8.0, 9.0, float("nan")]),
            "study_instance_uid": pa.array([None, None, None, ["1.2", "1.3"]]),
            "report_datetime": pa.array([1, 1, 1, 1_714_557_600_000_000_123], pa.timestamp("ns")),
            "unused": [b"\xff"] * 4,
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    first, *bad, last = _read(tmp_path / "r.parquet", columns=("text=report.body",))
    assert isinstance(first, ReportRecord) and isinstance(last, ReportRecord)
    assert first.accession_number == "7"
    assert last.also_study_instance_uids == ("1.3",)
    assert last.report_datetime is not None and last.report_datetime.year == 2024
    assert [b.place for b in bad if isinstance(b, BadRecord)] == ["row 2", "row 3"]


def test_parquet_that_is_packed_like_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_reader, "_BOMB_BYTES", 1 << 20)
    text = pa.array(["a" * 1_000_000] * 3)
    path = tmp_path / "bomb.parquet"
    pq.write_table(
        pa.table({"accession_number": ["A", "B", "C"], "text": text}),
        path, compression="zstd", use_dictionary=False, write_statistics=False,
    )  # fmt: skip
    assert path.stat().st_size < 10_000
    (bad,) = _read(path)
    assert isinstance(bad, BadRecord) and bad.place == "rows 1 to 3"


@pytest.mark.parametrize("name", ["reports.hl7", "reports.ndjson", "bundle.json", "reports.jsonl"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    write, config = WRITERS[name]
    row = dict.fromkeys(
        ("report_id", "accession_number", "issuer", "study_instance_uid", "patient_id"), "1"
    ) | {"report_datetime": "2024-05-01T10:00:00", "result_status": "F", "text": "Normal. " * 100}
    many = [row | {"report_id": str(i)} for i in range(4000)]
    write(tmp_path / name, many)
    assert (tmp_path / name).stat().st_size > 3_000_000
    tracemalloc.start()
    count = sum(1 for _ in read_reports(tmp_path / name, ReportsConfig(**config)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 1_000_000


def test_import_of_a_mixed_folder_is_idempotent_and_names_nobody(
    rows: list[formats.Row], tmp_path: Path
) -> None:
    source = tmp_path / "source" / MARK
    source.mkdir(parents=True)
    marked = [row | {"text": f"{row['text']} {MARK}", "patient_id": MARK} for row in rows]
    formats.write_hl7(source / f"{MARK}.hl7", marked[:5])
    formats.write_bundle(source / f"{MARK}.json", marked[5:9])
    with (source / f"{MARK}.hl7").open("a", newline="") as stream:
        stream.write(f"MSH|^~\\&|{MARK}||||||ORU^R01|1\rOBR|1||{MARK}\rOBX|1|NM|||7\r")
        stream.write(f"MSH|^~\\&|{MARK}||||||ADT^A08|1\rPID|1||{MARK}\r")
    (source / f"{MARK}.ndjson").write_text(f'{{"resourceType": "{MARK}"\n')
    first = vfscreen("reports", "import", "source", "-r", "results", cwd=tmp_path)
    again = vfscreen("reports", "import", "source", "-r", "results", cwd=tmp_path)
    assert "9 imported" in first.stdout and "2 bad records" in first.stdout
    assert "1 not reports" in first.stdout
    assert "9 already there" in again.stdout and "imported" not in again.stdout
    assert MARK not in first.stdout + first.stderr + again.stdout + again.stderr
    assert "no text; first in file 1, message 6 (line" in first.stderr
    failures = [
        row
        for part in (tmp_path / "results" / "failures").glob("part-*.parquet")
        for row in pq.read_table(part).to_pylist()
    ]
    assert MARK not in json.dumps(failures, default=str)
    assert {failure["stage"] for failure in failures} == {"reports"}


def test_a_feed_that_has_changed_its_format_ends_with_4(tmp_path: Path) -> None:
    fine = '{"accession_number": "A", "text": "No fracture."}\n'
    (tmp_path / "reports.jsonl").write_text(fine + '{"body": "No fracture."}\n' * 20)
    ended = vfscreen("reports", "import", "reports.jsonl", "-r", "r", cwd=tmp_path, check=False)
    assert ended.returncode == 4
    assert "20 of 21 report records are bad" in ended.stderr
    kept = vfscreen(
        "sql", "select count(*) as n from reports", "-r", "r", "--format", "json", cwd=tmp_path
    )
    assert json.loads(kept.stdout) == [{"n": 1}]
    # The next night the same lines are no news, but further ones are.
    known = vfscreen("reports", "import", "reports.jsonl", "-r", "r", cwd=tmp_path)
    assert "20 bad records known" in known.stdout
    failures = vfscreen(
        "sql",
        "select count(*) as n from parts.failures",
        "-r",
        "r",
        "--format",
        "json",
        cwd=tmp_path,
    )
    assert json.loads(failures.stdout) == [{"n": 20}]
    (tmp_path / "reports.jsonl").write_text(fine + '{"body": "No fracture."}\n' * 39)
    vfscreen("reports", "import", "reports.jsonl", "-r", "r", cwd=tmp_path)
    (tmp_path / "reports.jsonl").write_text(fine + '{"body": "No fracture."}\n' * 60)
    ended = vfscreen("reports", "import", "reports.jsonl", "-r", "r", cwd=tmp_path, check=False)
    assert ended.returncode == 4


def test_a_later_version_replaces_an_earlier_one_and_both_are_kept(tmp_path: Path) -> None:
    body = {"report_id": "R1", "accession_number": "A1", "result_status": "preliminary"}
    versions = [
        body | {"report_datetime": "2024-05-01T10:00:00", "text": "Preliminary."},
        body | {"report_datetime": "2024-05-01T12:00:00", "text": "Final.", "result_status": "F"},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(v) + "\n" for v in versions))
    vfscreen("reports", "import", "r.jsonl", "-r", "results", cwd=tmp_path)
    kept = vfscreen("sql", "select count(*) as n from parts.reports", "-r", "results", cwd=tmp_path)
    now = vfscreen("sql", "select text from reports", "-r", "results", cwd=tmp_path)
    assert "2" in kept.stdout
    assert "Final." in now.stdout and "Preliminary." not in now.stdout


def test_records_fit_the_schema_of_the_results_folder() -> None:
    from vfscreen.results.schemas import REPORTS

    ours = set(ReportRecord.__slots__) - {"unknown_status"}
    assert ours == set(REPORTS.names) - {"run_id", "imported_at"}
