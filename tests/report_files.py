"""Reports in every format, built in code: HL7 v2, FHIR, DICOM SR and tables, for tests."""

import base64
import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

Row = dict[str, str]
BASIC_TEXT, ENHANCED, COMPREHENSIVE = (f"1.2.840.10008.5.1.4.1.1.88.{n}" for n in (11, 22, 33))
ACSN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}


def escaped(text: str) -> str:
    """Text as HL7 v2 escapes it."""
    text = text.replace("\\", "\\E\\")
    for mark, letter in zip("|^&~", "FSTR", strict=True):
        text = text.replace(mark, f"\\{letter}\\")
    return text


def oru(*segments: str, character_set: str = "UNICODE UTF-8", end: str = "\r") -> str:
    """An ORU^R01 message of the given segments behind its MSH."""
    header = (
        "MSH|^~\\&|RIS|HOSPITAL|VFSCREEN|HOSPITAL|20240501113000||ORU^R01^ORU_R01|M1|P|2.5.1"
        f"||||||{character_set}"
    )
    return end.join((header, *segments)) + end


def write_csv(path: Path, rows: Sequence[Row], delimiter: str = ",") -> None:
    """The default columns."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Accession numbers as integers, as other tools like to store them."""
    table = pa.Table.from_pylist([{k: v or None for k, v in row.items()} for row in rows])
    at = table.schema.get_field_index("accession_number")
    numbers = table["accession_number"].cast(pa.int64())
    pq.write_table(table.set_column(at, "accession_number", numbers), path, row_group_size=50)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Nested: what identifies the report below `report`, as `NESTED` maps it."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            keys = {k: v for k, v in row.items() if k != "text"}
            stream.write(json.dumps({"report": keys, "body": row["text"]}) + "\n")


NESTED = (
    "text=body",
    *(
        f"{name}=report.{name}"
        for name in (
            "report_id", "accession_number", "issuer", "study_instance_uid", "patient_id",
            "report_datetime", "result_status",
        )
    ),
)  # fmt: skip


def write_hl7(path: Path, rows: Iterable[Row]) -> None:
    """A batch file, an OBX a line of text."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write("FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r")
        for row in rows:
            entity = f"{row['accession_number']}^{row['issuer']}"
            when = row["report_datetime"].translate(str.maketrans("", "", "-:T"))
            order = [""] * 26
            order[0], order[1], order[3] = "OBR", "1", row["report_id"]
            order[18], order[22], order[25] = entity, when, row["result_status"]
            lines = enumerate(row["text"].split("\n"), start=1)
            stream.write(
                oru(
                    f"PID|1||{row['patient_id']}^^^HOSPITAL^MR",
                    "|".join(order),
                    *(f"OBX|{n}|TX|X^TEXT^L||{escaped(line)}||||||F" for n, line in lines),
                    f"ZDS|{row['study_instance_uid']}^^Application^DICOM",
                )
            )
        stream.write("BTS|1\rFTS|1\r")


def diagnostic_report(row: Row) -> dict[str, Any]:
    """A DiagnosticReport with its text attached."""
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": row["report_id"],
        "status": {"addendum": "appended"}.get(row["result_status"], row["result_status"]),
        "code": {"text": "XR abdomen"},
        "subject": {"identifier": {"value": row["patient_id"]}},
        "issued": f"{row['report_datetime']}Z",
        "presentedForm": [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": base64.b64encode(row["text"].encode()).decode(),
            }
        ],
    }
    if row["accession_number"]:
        accession = {"type": ACSN, "value": row["accession_number"]}
        if row["issuer"]:
            accession["assigner"] = {"display": row["issuer"]}
        report["identifier"] = [accession]
    if row["study_instance_uid"]:
        uid = f"urn:oid:{row['study_instance_uid']}"
        report["imagingStudy"] = [{"identifier": {"system": "urn:dicom:uid", "value": uid}}]
    return report


def write_bundle(path: Path, rows: Iterable[Row]) -> None:
    """A Bundle, pretty-printed."""
    entries = [{"resource": diagnostic_report(row)} for row in rows]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    path.write_text(json.dumps(bundle, indent=1), encoding="utf-8")


def write_ndjson(path: Path, rows: Iterable[Row]) -> None:
    """A resource a line."""
    lines = (json.dumps(diagnostic_report(row)) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def code(meaning: str, value: str = "1", scheme: str = "99TEST") -> Items:
    """A code sequence with one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Items([item])


def content(kind: str, concept: str, value: Any = None, *children: Dataset) -> Dataset:
    """A content item: CONTAINER, TEXT, CODE or NUM."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    item.ConceptNameCodeSequence = code(concept)
    if kind == "TEXT":
        item.TextValue = value
    elif kind == "CODE":
        item.ConceptCodeSequence = code(value)
    elif kind == "NUM":
        measured = Dataset()
        measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, code("mm", "mm")
        item.MeasuredValueSequence = Items([measured])
    if children:
        item.ContentSequence = Items(children)
    return item


def structured_report(
    uid: str, *children: Dataset, sop_class: str = BASIC_TEXT, **attributes: Any
) -> Dataset:
    """An SR document with the given content; keyword arguments are further attributes."""
    document = content("CONTAINER", "Radiology Report", None, *children)
    del document.RelationshipType
    document.file_meta = FileMetaDataset()
    document.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    document.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    document.SpecificCharacterSet = "ISO_IR 192"
    document.SOPClassUID, document.SOPInstanceUID = sop_class, uid
    document.StudyInstanceUID, document.SeriesInstanceUID = "1.2.3", f"{uid}.1"
    document.Modality = "SR"
    document.CompletionFlag, document.VerificationFlag = "COMPLETE", "VERIFIED"
    for keyword, value in attributes.items():
        setattr(document, keyword, value)
    return document


def write_sr(folder: Path, rows: Iterable[Row]) -> None:
    """A file a report, the whole text in one TEXT item."""
    folder.mkdir(exist_ok=True)
    for number, row in enumerate(rows, start=1):
        document = structured_report(
            f"1.2.826.0.1.3680043.8.498.7.{number}",
            content("TEXT", "Text", row["text"]),
            AccessionNumber=row["accession_number"],
            StudyInstanceUID=row["study_instance_uid"],
            PatientID=row["patient_id"],
            ContentDate=row["report_datetime"][:10].replace("-", ""),
            ContentTime=row["report_datetime"][11:19].replace(":", ""),
        )
        document.save_as(folder / f"sr{number}.dcm", enforce_file_format=True)


def items(*datasets: Dataset) -> Items:
    """A sequence."""
    return Items(datasets)


def dataset(**attributes: Any) -> Dataset:
    """A data set of attributes by keyword."""
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found
