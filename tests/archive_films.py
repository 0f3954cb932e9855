"""Small DICOM instances for the archive room's tests, built in code."""

import io
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

DX = "1.2.840.10008.5.1.4.1.1.1.1"
ENCAPSULATED = (JPEG2000Lossless,)
SIDE_PX = 16


def code(value: str, meaning: str) -> Sequence:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SRT", meaning
    return Sequence([item])


def film(**changes: Any) -> Dataset:
    """An abdominal DX film of a 70-year-old; None removes an element."""
    ds = Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": DX,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "ImageType": ["DERIVED", "PRIMARY"],
        "Modality": "DX",
        "StudyDate": "20200615",
        "StudyTime": "101500",
        "AccessionNumber": "A1",
        "Manufacturer": "Maker",
        "StudyDescription": "XR ABDOMEN",
        "PatientID": "P1",
        "PatientName": "DOE^JANE",
        "PatientBirthDate": "19500101",
        "PatientSex": "F",
        "PatientAge": "070Y",
        "BodyPartExamined": "ABDOMEN",
        "ViewPosition": "AP",
        "PresentationIntentType": "FOR PRESENTATION",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": SIDE_PX,
        "Columns": SIDE_PX,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        **changes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def encoded(
    ds: Dataset, syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True, pixels: bool = True
) -> bytes:
    """The bytes of a DICOM file."""
    ds = Dataset(ds)
    if pixels:
        data = bytes(range(256)) * (2 * SIDE_PX * SIDE_PX // 256)
        ds.PixelData = encapsulate([data]) if syntax in ENCAPSULATED else data
        ds["PixelData"].VR = "OB" if syntax in ENCAPSULATED else "OW"
        ds["PixelData"].is_undefined_length = syntax in ENCAPSULATED
    out = io.BytesIO()
    if preamble:
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        ds.file_meta.MediaStorageSOPClassUID = DX
        ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or "1.9"
        ds.save_as(out, enforce_file_format=True)
    else:
        ds.save_as(
            out,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
        )
    return out.getvalue()


def written(path: Path, ds: Dataset | bytes | None = None, **changes: Any) -> Path:
    """Write a film (or the bytes given) and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ds if isinstance(ds, bytes) else encoded(ds or film(**changes)))
    return path


def long_header(number: int) -> Dataset:
    """A film of about 105 elements, as a speed test needs."""
    ds = film(SOPInstanceUID=f"1.2.3.{number}", StudyInstanceUID=f"1.2.4.{number}")
    block = ds.private_block(0x0019, "VFSCREEN TEST", create=True)
    for element in range(78):
        block.add_new(element, "LO", f"value {element}")
    return ds


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="drops root's privileges")


def opened(folder: Path) -> list[Path]:
    """The folders above a test's own, as deep as pytest made them: nobody must pass through."""
    return [parent for parent in folder.parents if "pytest-" in str(parent)]


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` returns (as JSON) in a child process without root's right to read everything."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork beside threads
        child = os.fork()
    if child == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)
