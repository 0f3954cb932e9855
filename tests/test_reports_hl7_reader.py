"""HL7 v2 ORU: what interfaces send, after the standard's examples and against python-hl7."""

import base64
from datetime import UTC, date, datetime
from pathlib import Path

import hl7
import pytest
from report_files import escaped, oru

from vfscreen.config import ReportsConfig
from vfscreen.errors import ConfigError
from vfscreen.reports.hl7_text import delimiters
from vfscreen.reports.records import BadRecord, NotAReport, ReportRecord
from vfscreen.reports.sources import Item, read_reports

PID = "PID|1||P1^^^HOSPITAL^MR||DOE^JANE||19400101|F"


def obr(filler: str, status: str = "F", **fields: str) -> str:
    """An OBR with its filler order number; further fields by number, as in `f18=...`."""
    values = [""] * 45
    values[0], values[3], values[25] = "OBR", filler, status
    for name, value in fields.items():
        values[int(name[1:])] = value
    return "|".join(values).rstrip("|")


def obx(text: str, kind: str = "TX", identifier: str = "X^TEXT^L", status: str = "F") -> str:
    """An OBX with its text."""
    return f"OBX|1|{kind}|{identifier}||{text}||||||{status}"


def _read(folder: Path, content: str | bytes, **config: object) -> list[Item]:
    path = folder / "messages.hl7"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_reports(path, ReportsConfig(**config)))  # type: ignore[arg-type]


def _report(folder: Path, content: str | bytes, **config: object) -> ReportRecord:
    (record,) = _read(folder, content, **config)
    assert isinstance(record, ReportRecord), record
    return record


def test_a_message_with_everything(tmp_path: Path) -> None:
    order = obr(
        "A1^RIS", f2="PL1^HIS", f7="20240501100000+0800", f22="20240501113000+0800", f24="CT",
        f32="1234&SMITH&JOHN",
    )  # fmt: skip
    report = _report(tmp_path, oru(PID, order, obx("Line one."), obx(""), obx("Line three.")))
    assert report.text == "Line one.\n\nLine three."
    assert (report.report_id, report.source_format) == ("A1^RIS", "hl7")
    assert (report.accession_number, report.issuer) == ("A1", "RIS")
    assert (report.patient_id, report.issuer_of_patient_id) == ("P1", "HOSPITAL")
    assert report.study_date == date(2024, 5, 1)
    assert report.report_datetime == datetime(2024, 5, 1, 3, 30, tzinfo=UTC)
    assert (report.result_status, report.modality) == ("final", "CT")
    assert report.author_role == "principal result interpreter"
    assert "SMITH" not in repr(report)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("framed", [False, True])
def test_batches_and_concatenations_by_any_line_end(tmp_path: Path, end: str, framed: bool) -> None:
    messages = [oru(PID, obr(f"A{i}"), obx(f"Text {i}."), end=end) for i in range(3)]
    if framed:
        messages = [f"\x0b{message}\x1c\r" for message in messages]
        content = "".join(messages)
    else:
        content = end.join(("FHS|^~\\&|X", "BHS|^~\\&|X", *messages, "BTS|3", "FTS|1", ""))
    records = _read(tmp_path, content)
    assert [r.text for r in records if isinstance(r, ReportRecord)] == [
        "Text 0.", "Text 1.", "Text 2.",
    ]  # fmt: skip
    assert len(records) == 3


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"one\.br\two\.sp\three\.sp2\four", "one\ntwo\nthree\n\nfour"),
        (r"one~two", "one\ntwo"),
        (r"\X48656C6C6F\ \Xe5a283\ \X0D0A\.", "Hello 境 \n."),
        (r"\H\bold\N\ \.in+4\in \.fi\\.nf\x\Zsite\\C2842\ ", "bold  in x "),
        (r"C:\dir and a lone \ stay", r"C:\dir and a lone \ stay"),
        (r"\.sp999\x", "\n" * 10 + "x"),
        ("forgotten & escaped ^ marks", "forgotten & escaped ^ marks"),
        (escaped(r"|^~\& all five"), r"|^~\& all five"),
    ],
)
def test_escape_sequences(tmp_path: Path, coded: str, text: str) -> None:
    assert _report(tmp_path, oru(PID, obr("A1"), obx(f"x{coded}", "FT"))).text == f"x{text}"


def test_own_delimiters(tmp_path: Path) -> None:
    message = (
        "MSH#*@!%#RIS######ORU*R01#1\rPID#1##P1***HOSP*MR\r"
        "OBR#1##A1*RIS\rOBX#1#TX#X##a!S!b@c | ^ \\ d\r"
    )
    report = _report(tmp_path, message)
    assert report.text == "a*b\nc | ^ \\ d"
    assert (report.accession_number, report.issuer) == ("A1", "RIS")


@pytest.mark.parametrize(
    ("declared", "codec", "text", "config"),
    [
        ("UNICODE UTF-8", "utf-8", "壓迫性骨折", {}),
        ("8859/1", "latin-1", "Größe", {}),
        ("", "utf-8", "Größe", {}),
        ("", "windows-1252", "Größe – ok", {"encoding": "windows-1252"}),
        ("ASCII", "windows-1252", "Größe", {"encoding": "windows-1252"}),
        ("BIG-5", "big5", "功能許蓋椎體", {}),  # bytes 5C and 7C, a backslash and a bar, in it
        ("GB 18030-2000", "gb18030", "椎体压缩", {}),
        ("ISO IR87", "iso2022_jp", "圧迫骨折", {}),
        ("8859/1~ISO IR87", "latin-1", "é", {}),
        ("UNICODE UTF-16", "utf-16", "骨折", {}),
    ],
)
def test_character_sets(
    tmp_path: Path, declared: str, codec: str, text: str, config: dict[str, str]
) -> None:
    message = oru(PID, obr("A1"), obx(text), character_set=declared)
    assert _report(tmp_path, message.encode(codec), **config).text == text


def test_text_in_another_encoding_than_said_is_a_bad_record(tmp_path: Path) -> None:
    good = oru(PID, obr("A1"), obx("ok"))
    bad, unknown, report = _read(
        tmp_path,
        oru(PID, obr("A1"), obx("SECRETö")).encode("latin-1")
        + oru(PID, obr("A1"), obx("x"), character_set="EBCDIC").encode()
        + good.encode(),
    )
    assert isinstance(bad, BadRecord) and "MSH-18" in bad.message
    assert "SECRET" not in bad.message and bad.place == "message 1 (line 1)"
    assert isinstance(unknown, BadRecord) and "MSH-18" in unknown.message
    assert isinstance(report, ReportRecord)


def test_one_report_over_several_studies(tmp_path: Path) -> None:
    report = _report(
        tmp_path,
        oru(
            PID, obr("A1"), "ZDS|1.2.1^^Application^DICOM", obr("A2"), "ZDS|1.2.2", obr("A3"),
            "ZDS|1.2.3", obx("One text for three."),
        ),
    )  # fmt: skip
    assert report.accession_number == "A3"
    assert report.also_accession_numbers == ("A1", "A2")
    assert report.study_instance_uid == "1.2.3"
    assert report.also_study_instance_uids == ("1.2.1", "1.2.2")


def test_orders_behind_the_text_belong_to_it(tmp_path: Path) -> None:
    report = _report(tmp_path, oru(PID, obr("A1"), obx("Text."), obr("A2"), obr("A3")))
    assert report.also_accession_numbers == ("A2", "A3")


def test_several_reports_in_one_message(tmp_path: Path) -> None:
    first, second = _read(
        tmp_path, oru(PID, obr("A1"), obx("First."), obr("A2", "P"), obx("Second."))
    )
    assert isinstance(first, ReportRecord) and isinstance(second, ReportRecord)
    assert (first.text, first.accession_number, first.result_status) == ("First.", "A1", "final")
    assert (second.text, second.result_status) == ("Second.", "preliminary")


def test_several_patients_in_one_message(tmp_path: Path) -> None:
    first, second = _read(
        tmp_path, oru(PID, obr("A1"), obx("First."), "PID|2||P2", obr("A2"), obx("Second."))
    )
    assert isinstance(first, ReportRecord) and isinstance(second, ReportRecord)
    assert (first.patient_id, second.patient_id) == ("P1", "P2")


def test_sections_of_one_report_get_their_headings(tmp_path: Path) -> None:
    report = _report(
        tmp_path,
        oru(
            PID,
            obr("A1"),
            obx("Loss of height of L1.", identifier="71020&GDT^TEXT"),
            obx("Degenerative.", identifier="71020&GDT^TEXT"),
            obx("Wedge fracture of L1.", identifier="71020&IMP^TEXT"),
            obx("Addendum: DXA advised.", identifier="&ADT"),
        ),
    )
    assert report.text == (
        "Loss of height of L1.\nDegenerative.\nIMPRESSION:\nWedge fracture of L1.\n"
        "Addendum: DXA advised."
    )


@pytest.mark.parametrize(
    ("order", "lines", "status"),
    [
        ("F", "F", "final"), ("P", "P", "preliminary"), ("C", "C", "corrected"),
        ("F", "C", "corrected"), ("F", "A", "addendum"), ("A", "F", "addendum"),
        ("", "P", "preliminary"), ("", "C", "corrected"), ("Q", "F", None), ("F", "W", "cancelled"),
        ("X", "F", "cancelled"),
    ],
)  # fmt: skip
def test_statuses_of_order_and_lines(
    tmp_path: Path, order: str, lines: str, status: str | None
) -> None:
    report = _report(tmp_path, oru(PID, obr("A1", order), obx("Text.", status=lines)))
    assert report.result_status == status


def test_a_line_that_was_withdrawn_is_left_out(tmp_path: Path) -> None:
    message = oru(PID, obr("A1"), obx("Wrong patient.", status="W"), obx("Right."))
    assert _report(tmp_path, message).text == "Right."


def test_a_cancelled_report_without_text_withdraws_its_earlier_version(tmp_path: Path) -> None:
    first, gone = _read(
        tmp_path, oru(PID, obr("A1"), obx("Text.")) + oru(PID, obr("A1", "X"))
    )  # fmt: skip
    assert isinstance(first, ReportRecord) and isinstance(gone, ReportRecord)
    assert (gone.report_id, gone.result_status, gone.text) == (first.report_id, "cancelled", "")


def test_a_correction_keeps_the_id_and_an_addendum_gets_its_own(tmp_path: Path) -> None:
    messages = [
        oru(PID, obr("A1", status, f22=f"2024050112{minute}"), obx(f"Version {minute}."))
        for status, minute in (("F", "00"), ("C", "10"), ("A", "20"), ("A", "20"), ("A", "30"))
    ]
    ids = [r.report_id for r in _read(tmp_path, "".join(messages)) if isinstance(r, ReportRecord)]
    assert ids[0] == ids[1] == "A1"
    assert len(set(ids)) == 3 and ids[2] == ids[3]


@pytest.mark.parametrize(
    ("fields", "config", "accession", "issuer"),
    [
        ({"f2": "P7^HIS"}, {}, "A1", "RIS"),
        ({"f18": "ACC9"}, {"hl7_accession": ("OBR-18", "OBR-3")}, "ACC9", None),
        ({}, {"hl7_accession": ("OBR-18", "OBR-3")}, "A1", "RIS"),
        ({"f20": "X^ACC7"}, {"hl7_accession": ("OBR-20.2",)}, "ACC7", None),
        ({}, {"hl7_accession": ("ORC-2",)}, "ORDER5", "HIS"),
        ({}, {"hl7_accession": ("IPC-1",)}, "I3", "MOD"),
    ],
)
def test_the_field_of_the_accession_number_is_the_sites_choice(
    tmp_path: Path,
    fields: dict[str, str],
    config: dict[str, tuple[str, ...]],
    accession: str,
    issuer: str | None,
) -> None:
    message = oru(
        PID, "ORC|RE|ORDER5^HIS", obr("A1^RIS", **fields), "IPC|I3^MOD|RP|1.2.9^MOD", obx("x")
    )
    report = _report(tmp_path, message, **config)
    assert (report.accession_number, report.issuer) == (accession, issuer)
    assert report.study_instance_uid == "1.2.9"


def test_a_field_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="OBR-18"):
        _read(tmp_path, oru(PID, obr("A1"), obx("x")), hl7_accession=("OBR18",))


def test_the_study_uid_as_an_observation(tmp_path: Path) -> None:
    message = oru(PID, obr("A1"), obx("1.2.840.7", "HD", "113014^DICOM Study^DCM"), obx("Text."))
    report = _report(tmp_path, message)
    assert (report.study_instance_uid, report.text) == ("1.2.840.7", "Text.")


@pytest.mark.parametrize(
    ("pid", "patient", "issuer"),
    [
        ("PID|1||NAT9^^^NHS^NI~P1^^^HOSP&1.2.3&ISO^MR", "P1", "HOSP"),
        ("PID|1||NAT9^^^NHS^NH~X1^^^LAB^XX", "NAT9", "NHS"),
        ("PID|1||P1^^^&1.2.3&ISO^PI", "P1", "1.2.3"),
        ("PID|1|OLD7", "OLD7", None),
        ('PID|1||""', None, None),
    ],
)
def test_patient_ids(tmp_path: Path, pid: str, patient: str | None, issuer: str | None) -> None:
    report = _report(tmp_path, oru(pid, obr("A1"), obx("x")))
    assert (report.patient_id, report.issuer_of_patient_id) == (patient, issuer)


def test_text_as_an_attachment_and_a_pdf_beside_it(tmp_path: Path) -> None:
    data = base64.b64encode("Größe\r\nzwei".encode()).decode()
    html = base64.b64encode(b"<p>Wedge&nbsp;fracture</p><script>x</script>").decode()
    pdf = "^application^pdf^Base64^JVBERi0="
    text, marked_up, alone = _read(
        tmp_path,
        oru(PID, obr("A1"), obx(pdf, "ED"), obx(f"RIS^TEXT^PLAIN^Base64^{data}", "ED"))
        + oru(PID, obr("A2"), obx(f"RIS^text^html^Base64^{html}", "ED"))
        + oru(PID, obr("A3"), obx(pdf, "ED")),
    )
    assert isinstance(text, ReportRecord) and text.text == "Größe\nzwei"
    assert isinstance(marked_up, ReportRecord) and marked_up.text == "Wedge fracture"
    assert isinstance(alone, BadRecord) and "attachment" in alone.message


def test_line_breaks_within_a_field_go_on_with_it(tmp_path: Path) -> None:
    message = oru(PID, obr("A1"), "OBX|1|TX|X||First line\nsecond line\n\nIVC normal||||||F")
    report = _report(tmp_path, message.replace("\r", "\n"))
    assert report.text == "First line\nsecond line\nIVC normal"


def test_bad_messages_have_their_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    content = "\r".join(
        (
            "SECRET garbage", "more SECRET",
            oru(PID, obr("A1"), obx("First.")),
            "MSH|", "PID|SECRET",
            "MSHX^~", "OBR|SECRET",
            oru(PID, obr("A2"), "OBX|1|NM|X||17||||||F"),
            oru(PID),
            oru("PID|1", obr(""), obx("SECRET without key")),
            oru(PID).replace("ORU^R01", "ADT^A08"),
            oru(PID, obr("A3"), obx("\0Last.\0")),
        )
    )  # fmt: skip
    records = _read(tmp_path, content)
    good = [r.text for r in records if isinstance(r, ReportRecord)]
    bad = [r for r in records if isinstance(r, BadRecord)]
    assert good == ["First.", "Last."]
    assert sum(isinstance(r, NotAReport) for r in records) == 1
    assert [b.place for b in bad] == [
        "line 1", "message 2 (line 8)", "message 3 (line 10)", "message 4 (line 12)",
        "message 5 (line 17)", "message 6 (line 20)",
    ]  # fmt: skip
    assert not any("SECRET" in b.message for b in bad)


@pytest.mark.parametrize(
    "header", ["MSH", "MSH|^^^^|", "MSH|^~", "MSH ^~ &", "MSH|^~\\&|||||||ADT"]
)
def test_a_header_without_its_delimiters_or_kind(tmp_path: Path, header: str) -> None:
    first, second = _read(tmp_path, f"{header}\rPID|1\r{oru(PID, obr('A1'), obx('ok'))}")
    assert isinstance(first, BadRecord | NotAReport) and isinstance(second, ReportRecord)


@pytest.mark.parametrize("encoding", ["klingon", "rot13"])
def test_an_encoding_that_is_none_of_text_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.hl7").write_text("MSH|^~\\&|RIS||||||ORU^R01|1|P|2.5\r")
    with pytest.raises(ConfigError, match="no encoding"):
        list(read_reports(tmp_path / "a.hl7", ReportsConfig(encoding=encoding)))


def test_a_message_that_is_too_long_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfscreen.reports.hl7_stream.MAX_MESSAGE_CHARACTERS", 5000)
    long_line = oru(PID, obr("A1"), obx("x" * 20_000), obx("y"))
    many_lines = oru(PID, obr("A1"), *[obx("z" * 80)] * 100)
    records = _read(tmp_path, long_line + many_lines + oru(PID, obr("A2"), obx("ok")))
    assert [type(r) for r in records] == [BadRecord, BadRecord, ReportRecord]
    assert [r.place for r in records if isinstance(r, BadRecord)] == [
        "message 1 (line 1)", "message 2 (line 6)",
    ]  # fmt: skip


def test_fields_and_escapes_are_those_of_python_hl7(tmp_path: Path) -> None:
    """The plain reference, on what it reads without loss."""
    values = [r"a\F\b\T\c", r"x\S\y\R\z\E\w", r"\X48656C6C6F\ ", "plain text", r"\.br\after"]
    message = oru(PID, obr("A1^RIS^1.2^ISO", f18="X^Y"), *(obx(v, "FT") for v in values))
    reference = hl7.parse(message)
    expected = [
        reference.unescape(str(segment[5])).replace("\r", "\n")
        for segment in reference.segments("OBX")
    ]
    report = _report(tmp_path, message)
    assert report.text == "\n".join(expected)
    assert report.accession_number == str(reference.segment("OBR")[3][0][0])
    assert report.patient_id == str(reference.segment("PID")[3][0][0])
    marks = delimiters(message.split("\r")[0], "utf-8")
    assert (marks.component, marks.escape) == (reference.separators[3], reference.esc)
