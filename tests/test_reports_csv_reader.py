"""Reports from CSV and TSV: what an export can look like, and what is said when it cannot."""

import csv
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError, FailureReason, ReportsError
from vfscreen.reports.dates import parse_date, parse_datetime
from vfscreen.reports.records import BadRecord, ReportRecord
from vfscreen.reports.sources import Item, read_reports

HEADER = (
    "report_id,accession_number,issuer,study_instance_uid,patient_id,"
    "report_datetime,result_status,text\n"
)


def _read(path: Path, **config: object) -> list[Item]:
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
    assert record.result_status == "final"


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
    assert [r.place for r in bad] == ["line 4", "line 5", "line 6", "line 9"]
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
        ("patient;text\nA;B\n", {"delimiter": ";"}, ["accession_number", "patient_id"]),
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
        "empty", "no columns", "text", "key", "delimiter", "no key", "twice", "utf-16 with mark",
        "utf-16", "latin-1", "not utf-16", "renamed",
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
    with pytest.raises(ConfigError, match=r"reports\.format"):
        _read(path, format="xls")
    with pytest.raises(ConfigError, match="preliminary"):
        _read(_file(tmp_path, "text,accession_number,result_status\nok,A,x\n"), statuses=("x=y",))
    with pytest.raises(ConfigError, match="left=right"):
        _read(path, issuers=("RIS",))


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    _file(tmp_path, "text,accession_number\nsecond,A\nx,\n", "b.csv")
    _file(tmp_path, "text,accession_number\nfirst,A\n", "a.CSV")
    _file(tmp_path, "hidden", ".notes.csv")
    first, second, bad = _read(tmp_path)
    assert isinstance(first, ReportRecord) and first.text == "first"
    assert isinstance(second, ReportRecord) and second.text == "second"
    assert isinstance(bad, BadRecord) and (bad.file_number, bad.place) == (2, "line 3")


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReportsError, match="cannot be read"):
        _read(tmp_path / "missing.csv")
    with pytest.raises(ReportsError, match="holds no file"):
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
        ("2024050110", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024", None),  # no day
        ("202405", None),
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


def test_the_day_of_an_examination_is_that_of_its_own_zone() -> None:
    assert parse_date("2024-05-01T23:30:00-05:00") == date(2024, 5, 1)
    assert parse_date("20240501") == date(2024, 5, 1)
    assert parse_date("2024-05") is None


def test_what_a_report_says_of_the_examination_and_of_other_reports(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "report_id\taccession_number\tpatient_id\tissuer_of_patient_id\tstudy_date\tmodality\t"
        "author_role\treplaces\tstudy_instance_uid\ttext\n"
        "R2\tA1;A2\tP1\tHOSP\t2024-05-01\tdx\tResident\tR0;R1\t1.2;1.3\tNormal.\n",
        "reports.tsv",
    )
    (record,) = _read(path)
    assert isinstance(record, ReportRecord)
    assert (record.accession_number, record.also_accession_numbers) == ("A1", ("A2",))
    assert (record.study_instance_uid, record.also_study_instance_uids) == ("1.2", ("1.3",))
    assert (record.patient_id, record.issuer_of_patient_id) == ("P1", "HOSP")
    assert (record.study_date, record.modality) == (date(2024, 5, 1), "DX")
    assert (record.author_role, record.replaces) == ("resident", ("R0", "R1"))
    assert record.source_format == "csv"


def test_a_patient_alone_is_a_key_for_the_look_back(tmp_path: Path) -> None:
    (record,) = _read(_file(tmp_path, "patient_id,text\nP1,Known wedge fracture.\n"))
    assert isinstance(record, ReportRecord) and record.accession_number is None


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("F", "final"), ("P", "preliminary"), ("C", "corrected"), ("A", "addendum"),
        ("X", "cancelled"), (" Entered-in-Error ", "cancelled"), ("appended", "addendum"),
        ("wet  READ", "preliminary"), ("QA", None), ("", None), ("Befundet", "final"),
    ],
)  # fmt: skip
def test_statuses_become_one_vocabulary(tmp_path: Path, given: str, status: str | None) -> None:
    path = _file(tmp_path, f"accession_number,result_status,text\nA1,{given},Normal.\n")
    (record,) = _read(path, statuses=("befundet=final",))
    assert isinstance(record, ReportRecord)
    assert record.result_status == status
    assert record.unknown_status == (given == "QA")


def test_a_cancelled_report_needs_no_text(tmp_path: Path) -> None:
    path = _file(tmp_path, "report_id,accession_number,result_status,text\nR1,A1,cancelled,\n")
    (record,) = _read(path)
    assert isinstance(record, ReportRecord) and record.text == ""


def test_issuers_are_spelt_as_the_films_spell_them(tmp_path: Path) -> None:
    path = _file(tmp_path, "accession_number,issuer,text\nA1,RIS,x\nA2,OLD,y\nA3,X,z\n")
    records = _read(path, issuers=("RIS=HOSPITAL", "OLD="))
    assert [r.issuer for r in records if isinstance(r, ReportRecord)] == ["HOSPITAL", None, "X"]


def test_an_identifier_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, f"accession_number,text\n{'A' * 2000},Normal.\n")
    (bad,) = _read(path)
    assert isinstance(bad, BadRecord) and "1,024" in bad.message


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
