"""FHIR R4 DiagnosticReport: where servers put text and identifiers, in NDJSON and Bundles."""

import base64
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from report_files import ACSN

from vfscreen.config import ReportsConfig
from vfscreen.reports import fhir_reader
from vfscreen.reports.html_text import html_text
from vfscreen.reports.records import BadRecord, ReportRecord
from vfscreen.reports.sources import Item, read_reports

ACCESSION = {"type": ACSN, "value": "A1", "assigner": {"display": "RIS"}}


def report(**elements: Any) -> dict[str, Any]:
    """A DiagnosticReport with an accession number."""
    body = {"resourceType": "DiagnosticReport", "id": "r1", "status": "final"}
    return body | {"identifier": [ACCESSION]} | elements


def attachment(content: str | bytes, kind: str = "text/plain") -> dict[str, str]:
    """An attachment of the given media type."""
    data = content if isinstance(content, bytes) else content.encode()
    return {"contentType": kind, "data": base64.b64encode(data).decode()}


def _read(folder: Path, *resources: dict[str, Any], **config: object) -> list[Item]:
    path = folder / "r.ndjson"
    path.write_text("".join(json.dumps(r) + "\n" for r in resources))
    return list(read_reports(path, ReportsConfig(**config)))  # type: ignore[arg-type]


def _bundle(folder: Path, *resources: dict[str, Any], indent: int | None = None) -> list[Item]:
    entries = [{"fullUrl": f"urn:uuid:{i}", "resource": r} for i, r in enumerate(resources)]
    path = folder / "b.json"
    path.write_text(json.dumps({"entry": entries, "resourceType": "Bundle"}, indent=indent))
    return list(read_reports(path, ReportsConfig()))


def _one(folder: Path, **elements: Any) -> ReportRecord:
    (record,) = _read(folder, report(**elements))
    assert isinstance(record, ReportRecord), record
    return record


def test_a_report_with_everything(tmp_path: Path) -> None:
    found = _one(
        tmp_path,
        subject={"identifier": {"value": "P1", "assigner": {"display": "HOSP"}}},
        effectiveDateTime="2024-05-01T23:00:00-05:00",
        issued="2024-05-02T10:00:00.123+08:00",
        imagingStudy=[{"identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}}],
        contained=[{"resourceType": "PractitionerRole", "id": "p", "code": [{"text": "Resident"}]}],
        resultsInterpreter=[{"reference": "#p", "display": "Dr Smith"}],
        presentedForm=[attachment("Whole report.")],
        conclusion="Only the impression.",
    )
    assert found.text == "Whole report."
    assert (found.report_id, found.source_format) == ("DiagnosticReport/r1", "fhir")
    assert (found.accession_number, found.issuer) == ("A1", "RIS")
    assert (found.patient_id, found.issuer_of_patient_id) == ("P1", "HOSP")
    assert found.study_instance_uid == "1.2.3"
    assert found.study_date == date(2024, 5, 1)
    assert found.report_datetime == datetime(2024, 5, 2, 2, 0, 0, 123000, tzinfo=UTC)
    assert (found.result_status, found.author_role) == ("final", "resident")
    assert "Smith" not in repr(found)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("registered", "preliminary"), ("partial", "preliminary"), ("preliminary", "preliminary"),
        ("final", "final"), ("amended", "corrected"), ("corrected", "corrected"),
        ("appended", "addendum"), ("unknown", None),
    ],
)  # fmt: skip
def test_statuses(tmp_path: Path, status: str, expected: str | None) -> None:
    assert _one(tmp_path, status=status, conclusion="x").result_status == expected


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_withdrawn_report_needs_no_text(tmp_path: Path, status: str) -> None:
    assert _one(tmp_path, status=status).result_status == "cancelled"


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ({"presentedForm": [attachment("a"), attachment("b")]}, "a\n\nb"),
        ({"presentedForm": [attachment("<b>a</b>", "text/html"), attachment("a")]}, "a"),
        ({"presentedForm": [attachment("<p>a &amp; b</p>", "text/html")]}, "a & b"),
        (
            {"presentedForm": [attachment("Größe".encode("latin-1"), "text/plain;charset=latin1")]},
            "Größe",
        ),
        (
            {"presentedForm": [attachment(b"%PDF", "application/pdf")], "conclusion": "No VF."},
            "No VF.",
        ),
        ({"text": {"div": "<div>Narrative<br/>only</div>"}}, "Narrative\nonly"),
        (
            {
                "contained": [
                    {
                        "resourceType": "Observation", "id": "f", "status": "final",
                        "code": {"coding": [{"display": "Findings"}]}, "valueString": "Normal.",
                    },
                    {
                        "resourceType": "Observation", "id": "w", "status": "entered-in-error",
                        "valueString": "Wrong.",
                    },
                ],
                "result": [{"reference": "#f"}, {"reference": "#w"}],
                "conclusion": "No fracture.",
            },
            "Findings:\nNormal.\nCONCLUSION:\nNo fracture.",
        ),
    ],
    ids=["two", "plain before html", "html", "charset", "pdf", "narrative", "observations"],
)  # fmt: skip
def test_where_the_text_is(tmp_path: Path, elements: dict[str, Any], text: str) -> None:
    assert _one(tmp_path, **elements).text == text


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"presentedForm": [attachment(b"%PDF", "application/pdf")]}, "application/pdf"),
        ({"presentedForm": [{"contentType": "text/plain", "url": "Binary/1"}]}, "text/plain"),
        ({"presentedForm": [{"contentType": "text/plain", "data": "SECRET!"}]}, "not base64"),
        ({"presentedForm": [attachment(b"\xff\xfe\xfd")]}, "another character set"),
        ({"presentedForm": [attachment("x" * 3001)]}, "max_text_characters"),
        ({"conclusion": "SECRET", "identifier": []}, "neither accession_number"),
        ({"conclusion": ["SECRET"], "result": "SECRET", "subject": 3, "imagingStudy": [1]}, "no t"),
    ],
)
def test_reports_that_are_none(tmp_path: Path, elements: dict[str, Any], says: str) -> None:
    (bad,) = _read(tmp_path, report(**elements), max_text_characters=3000)
    assert isinstance(bad, BadRecord) and says in bad.message and bad.place == "line 1"
    assert "SECRET" not in bad.message


@pytest.mark.parametrize("indent", [None, 2])
def test_references_within_a_bundle_whatever_the_order(tmp_path: Path, indent: int | None) -> None:
    patient = {
        "resourceType": "Patient", "id": "p",
        "identifier": [
            {"value": "national"},
            {"value": "P1", "type": {"coding": [{"code": "MR"}]}},
        ],
    }  # fmt: skip
    study = {
        "resourceType": "ImagingStudy", "id": "s", "modality": [{"code": "DX"}],
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.9"}],
    }  # fmt: skip
    order = {
        "resourceType": "ServiceRequest", "id": "o",
        "identifier": [{"type": ACSN, "value": "A9"}],
    }  # fmt: skip
    text = {"resourceType": "Observation", "id": "t", "valueString": "Old fracture."}
    bare = {
        "resourceType": "DiagnosticReport", "status": "final", "id": "r",
        "subject": {"reference": "https://server/fhir/Patient/p/_history/3"},
        "imagingStudy": [{"reference": "ImagingStudy/s"}],
        "basedOn": [{"reference": "ServiceRequest/o"}],
        "result": [{"reference": "urn:uuid:4"}],
    }  # fmt: skip
    (found,) = _bundle(tmp_path, bare, patient, study, order, text, indent=indent)
    assert isinstance(found, ReportRecord)
    assert (found.patient_id, found.study_instance_uid) == ("P1", "1.2.9")
    assert (found.accession_number, found.modality) == ("A9", "DX")
    assert found.text == "Old fracture."


def test_reports_wait_in_windows_for_what_they_refer_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fhir_reader, "WINDOW", 3)
    reports = [
        report(id=f"r{i}", result=[{"reference": f"Observation/{i}"}], subject={"reference": "P/1"})
        for i in range(8)
    ]
    texts = [
        {"resourceType": "Observation", "id": str(i), "valueString": f"T{i}"} for i in range(8)
    ]
    found = _bundle(tmp_path, *reports, *texts)
    assert sorted(r.text for r in found if isinstance(r, ReportRecord)) == [
        f"T{i}" for i in range(8)
    ]


def test_identifiers_by_the_sites_own_system(tmp_path: Path) -> None:
    own = [{"system": "urn:site:accession", "value": "S7"}, {"system": "urn:other", "value": "X"}]
    (found,) = _read(
        tmp_path, report(identifier=own, conclusion="x"), fhir_accession_system="urn:site:accession"
    )
    assert isinstance(found, ReportRecord) and found.accession_number == "S7"


def test_one_report_over_several_studies_and_one_that_replaces_another(tmp_path: Path) -> None:
    found = _one(
        tmp_path,
        conclusion="x",
        identifier=[ACCESSION, {"type": ACSN, "value": "A2"}],
        imagingStudy=[{"reference": "ImagingStudy/1.2.840.1"}, {"reference": "ImagingStudy/abc"}],
        extension=[
            {
                "url": "http://hl7.org/fhir/StructureDefinition/diagnosticReport-replaces",
                "valueReference": {"reference": "DiagnosticReport/r0"},
            }
        ],
    )
    assert found.also_accession_numbers == ("A2",)
    assert found.study_instance_uid == "1.2.840.1"
    assert found.replaces == ("DiagnosticReport/r0",)


def test_a_bundle_on_a_line_and_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.ndjson"
    bundle = {"resourceType": "Bundle", "entry": [{"resource": report(conclusion="a")}, {}, 7]}
    lines = ['{"resourceType": "SECRET', json.dumps(report(conclusion="b")), json.dumps(bundle)]
    lines += ['{"resourceType": "DiagnosticReport", "x": ' + "[" * 100_000, '["SECRET"]']
    path.write_text("\n".join(lines))
    records = list(read_reports(path, ReportsConfig()))
    assert [r.text for r in records if isinstance(r, ReportRecord)] == ["b", "a"]
    bad = [r for r in records if isinstance(r, BadRecord)]
    assert [b.place for b in bad] == [
        "line 1", "line 3, entry 2", "line 3, entry 3", "line 4", "line 5",
    ]  # fmt: skip
    assert not any("SECRET" in b.message for b in bad)


def test_a_bundle_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    whole = json.dumps(
        {"resourceType": "Bundle", "entry": [{"resource": report(conclusion="a")}] * 2}
    )
    path.write_text(whole[:-40])
    first, bad = read_reports(path, ReportsConfig())
    assert isinstance(first, ReportRecord)
    assert isinstance(bad, BadRecord) and bad.place == "entry 2"


def test_an_entry_without_end_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfscreen.reports.fhir_stream.MAX_RESOURCE_BYTES", 200_000)
    path = tmp_path / "b.json"
    path.write_text('{"resourceType": "Bundle", "entry": [{"resource": {"id": "' + "x" * 900_000)
    (bad,) = read_reports(path, ReportsConfig())
    assert isinstance(bad, BadRecord) and "too large" in bad.message


def test_a_single_resource_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(report(conclusion="a"), indent=2))
    (found,) = read_reports(path, ReportsConfig())
    assert isinstance(found, ReportRecord)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One</p><p>two <b>bold</b></p>", "One\ntwo bold"),
        ("<table><tr><td>L1</td><td>normal</td></tr></table>", "L1 normal"),
        ("a &lt; b &eacute; &#x9aa8; &bogus;", "a < b é 骨 &bogus;"),
        ("<style>p{}</style><script>alert(1)</script>ok", "ok"),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><!-- no <b> --><?php no ?>&x;", "]>&x;"),
        ("height < 20 % and", "height < 20 % and"),
    ],
)
def test_html_becomes_lines_of_text(markup: str, text: str) -> None:
    assert html_text(markup) == text


@pytest.mark.parametrize("piece", ["<!--", "<a ", "<a href='", "<", "&", "</", "<![CDATA["])
def test_hostile_html_takes_linear_time(piece: str) -> None:
    html_text(piece * 60_000)
    html_text(piece * 60_000 + ">")
