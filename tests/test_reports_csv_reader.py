"""Reports from CSV: what a hospital's export can look like, and what is said when it cannot."""

import csv
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, FailureReason, ReportsError
from vfscreen.reports.csv_reader import parse_datetime, read_reports
from vfscreen.reports.records import BadRecord, ReportRecord

HEADER = (
    "report_id,accession_number,issuer,study_instance_uid,patient_id,"
    "report_datetime,result_status,text\n"
)


def _read(path: Path, **config: object) -> list[ReportRecord | BadRecord]:
    return list(read_reports(path, ReportsConfig(**config)))  # type: ignore[arg-type]


def _file(folder: Path, content: str | bytes, name: str = "reports.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_report_with_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = _file(
        tmp_path, HEADER + 'R1,A1,X,1.2,P1,2024-05-01T10:00:00,F,"Bowel ""gas"",\nnormal."\n'
    )
    (record,) = _read(path)
    assert isinstance(record, ReportRecord)
    assert record.text == 'Bowel "gas",\nnormal.'
    assert (record.report_id, record.accession_number, record.issuer) == ("R1", "A1", "X")
    assert record.report_datetime == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert record.result_status == "f"


def test_only_text_and_one_key_are_needed(tmp_path: Path) -> None:
    path = _file(tmp_path, "text,accession_number\nNormal.,A1\nAddendum: fracture.,A1\n")
    first, second = _read(path)
    assert isinstance(first, ReportRecord) and isinstance(second, ReportRecord)
    assert first.report_id != second.report_id
    assert first.patient_id is None


def test_content_hash_ignores_blanks_around_fields_and_sees_every_change(tmp_path: Path) -> None:
    def sha(row: str, name: str) -> str:
        (record,) = _read(_file(tmp_path, HEADER + row, name))
        assert isinstance(record, ReportRecord)
        return record.content_sha256

    plain = sha("R1,A1,,,,,F,Normal.\n", "a.csv")
    assert sha(" R1 , A1 ,,,, ,F,Normal.\n", "b.csv") == plain
    assert sha("R1,A1,,,,,C,Normal.\n", "c.csv") != plain
    assert sha("R1,,A1,1.2,,,F,Normal.\n", "d.csv") != plain


def test_renamed_columns_delimiter_and_encoding(tmp_path: Path) -> None:
    path = _file(tmp_path, "Body;Acc\nFraktur für Röntgen;A1\n".encode("windows-1252"))
    (record,) = _read(
        path,
        columns=("text=body", "accession_number=Acc"),
        delimiter=";",
        encoding="windows-1252",
    )
    assert isinstance(record, ReportRecord)
    assert record.text == "Fraktur für Röntgen"


def test_a_bad_record_has_its_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "accession_number,text\n"
        'A1,"two\nlines"\n'
        "A2,SECRET,ragged\n"
        ",SECRET without key\n"
        "A3,  \n"
        "\n"
        "A4,nul \0 inside\n"
        f"A5,{'x' * 5000}\n"
        "A6,fine\n",
    )
    records = _read(path, max_text_characters=1000)
    bad = [r for r in records if isinstance(r, BadRecord)]
    good = [r for r in records if isinstance(r, ReportRecord)]
    assert [r.accession_number for r in good] == ["A1", "A4", "A6"]
    assert [r.line for r in bad] == [4, 5, 6, 9]
    assert all("SECRET" not in r.message and "A2" not in r.message for r in bad)
    assert {r.reason for r in bad} == {FailureReason.BAD_REPORT_RECORD}


def test_a_quote_that_is_never_closed_costs_its_neighbours_only(tmp_path: Path) -> None:
    rows = "".join(f"A{i},Normal bowel gas pattern.\n" for i in range(500))
    path = _file(tmp_path, f'accession_number,text\nB,"never closed\n{rows}')
    records = _read(path, max_text_characters=1000)
    assert isinstance(records[0], BadRecord)
    assert isinstance(records[-1], ReportRecord)
    assert len(records) > 400


@pytest.mark.parametrize(
    ("content", "config", "words"),
    [
        (b"", {}, ["empty"]),
        ("a,b\n", {}, ["`text`", "reports.columns"]),
        ("accession_number,txt\nA,B\n", {}, ["`text`", "`txt`"]),
        ("text,acession_number\nA,B\n", {}, ["`accession_number`", "`acession_number`"]),
        ("text;accession_number\nA;B\n", {}, ["';'", "reports.delimiter"]),
        ("text,text,accession_number\n", {}, ["more than once"]),
        ("text,accession_number\nok,A\n".encode("utf-16"), {}, ["line 1", "utf-16"]),
        ("text,accession_number\nok,A\n".encode("utf-16-le"), {}, ["UTF-16", "reports.encoding"]),
        (
            "text,accession_number\nok,A\nfür,B\n".encode("latin-1"),
            {},
            ["line 3", "utf-8-sig", "latin-1"],
        ),
        ("text,accession_number\nok,A\n", {"encoding": "utf-16"}, ["utf-16", "reports.encoding"]),
        ("text,accession_number\n", {"columns": ("issuer=org",)}, ["`org`"]),
    ],
    ids=[
        "empty", "no columns", "text", "key", "delimiter", "twice", "utf-16 with mark", "utf-16",
        "latin-1", "not utf-16", "renamed",
    ],
)  # fmt: skip
def test_an_unusable_file_is_one_clear_sentence(
    tmp_path: Path, content: str | bytes, config: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ReportsError) as error:
        _read(_file(tmp_path, content), **config)
    for word in words:
        assert word in str(error.value)


def test_configuration_that_cannot_be(tmp_path: Path) -> None:
    path = _file(tmp_path, "text,accession_number\nok,A\n")
    with pytest.raises(ConfigError, match="`accession_number`"):
        _read(path, columns=("accession_nmber=acc",))
    with pytest.raises(ConfigError, match="no encoding"):
        _read(path, encoding="latin-99")
    with pytest.raises(ConfigError, match="one character"):
        _read(path, delimiter="||")


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    _file(tmp_path, "text,accession_number\nsecond,A\nx,\n", "b.csv")
    _file(tmp_path, "text,accession_number\nfirst,A\n", "a.CSV")
    _file(tmp_path, "no csv", "notes.txt")
    first, second, bad = _read(tmp_path)
    assert isinstance(first, ReportRecord) and first.text == "first"
    assert isinstance(second, ReportRecord) and second.text == "second"
    assert isinstance(bad, BadRecord) and (bad.file_number, bad.line) == (2, 3)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReportsError, match="cannot be read"):
        _read(tmp_path / "missing.csv")
    with pytest.raises(ReportsError, match=r"no \.csv"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01 10:20:30", datetime(2024, 5, 1, 10, 20, 30, tzinfo=UTC)),
        ("2024-05-01T10:20:30+02:00", datetime(2024, 5, 1, 8, 20, 30, tzinfo=UTC)),
        ("2024-05-01T10:20:30Z", datetime(2024, 5, 1, 10, 20, 30, tzinfo=UTC)),
        ("20240501102030", datetime(2024, 5, 1, 10, 20, 30, tzinfo=UTC)),
        ("20240501102030+0800", datetime(2024, 5, 1, 2, 20, 30, tzinfo=UTC)),
        ("202405011020", datetime(2024, 5, 1, 10, 20, tzinfo=UTC)),
        ("20240501", datetime(2024, 5, 1, tzinfo=UTC)),
        ("31/05/2024 10:20", datetime(2024, 5, 31, 10, 20, tzinfo=UTC)),
        ("05/31/2024", datetime(2024, 5, 31, tzinfo=UTC)),
        ("01.05.2024 10:20", datetime(2024, 5, 1, 10, 20, tzinfo=UTC)),
        ("1-May-2024", datetime(2024, 5, 1, tzinfo=UTC)),
        ("01/02/2024", None),  # January or February
        ("yesterday", None),
        ("32/13/2024", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_dates(value: str, expected: datetime | None) -> None:
    assert parse_datetime(value) == expected
    assert expected is None or parse_datetime(value).utcoffset() == timedelta(0)  # type: ignore[union-attr]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["accession_number", "text"])
        for i in range(4000):
            writer.writerow([f"A{i}", "Normal bowel gas pattern. " * 20])
    tracemalloc.start()
    count = sum(1 for _ in read_reports(path, ReportsConfig()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 4000
    assert peak < 400_000  # the file is 2 MB
