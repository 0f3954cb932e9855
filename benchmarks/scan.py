"""How fast an archive is scanned, how that grows, and in how much memory.

`python -m benchmarks.scan FOLDER --files 10000 100000 1000000` makes archives of header-only films
(a DX header of over 100 elements, 512 bytes of pixels; 250 files a folder) and scans each in
processes of their own: for the first time, again unchanged, again after one file in 1,000 has
changed, appeared or vanished, and again with other eligibility settings. Everything is read from
the page cache, where making the files has left it. `--out DIR` keeps the figures as JSON.
"""

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks import machine
from vfscreen.config import Config
from vfscreen.jobs.scan import run_scan

FILES_A_FOLDER = 250
STEPS = ("first", "unchanged", "changed", "judged again")
PREFIX = "1.2.826.0.1.3680043.8.498."


def header() -> Dataset:
    """A DX film with the elements that makers write, 16 x 16 pixels."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "T-D4000", "SRT"
    code.CodeMeaning = "Abdomen"
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "SOPInstanceUID": _uid(1, 0),
        "StudyInstanceUID": _uid(2, 0), "SeriesInstanceUID": _uid(3, 0),
        "ImageType": ["ORIGINAL", "PRIMARY"], "InstanceCreationDate": "20200615",
        "InstanceCreationTime": "101530", "StudyDate": "20200615", "SeriesDate": "20200615",
        "AcquisitionDate": "20200615", "ContentDate": "20200615", "StudyTime": "101500",
        "SeriesTime": "101510", "AcquisitionTime": "101520", "ContentTime": "101530",
        "AccessionNumber": "A000000000", "Modality": "DX", "SpecificCharacterSet": "ISO_IR 100",
        "PresentationIntentType": "FOR PRESENTATION", "Manufacturer": "Maker",
        "InstitutionName": "General Hospital", "InstitutionAddress": "High Street 1",
        "ReferringPhysicianName": "A^B", "StationName": "ROOM3",
        "StudyDescription": "XR ABDOMEN", "SeriesDescription": "Abdomen AP",
        "InstitutionalDepartmentName": "Radiology", "OperatorsName": "C^D",
        "ManufacturerModelName": "Model 1", "PatientName": "DOE^JANE", "PatientID": "P000000000",
        "IssuerOfPatientID": "HOSPITAL", "PatientBirthDate": "19500101", "PatientSex": "F",
        "PatientAge": "070Y", "PatientSize": "1.65", "PatientWeight": "70",
        "AdditionalPatientHistory": "Abdominal pain", "BodyPartExamined": "ABDOMEN",
        "KVP": "75", "DeviceSerialNumber": "12345", "SoftwareVersions": ["1.0", "2.0"],
        "ProtocolName": "Abdomen supine AP", "DistanceSourceToDetector": "1150",
        "DistanceSourceToPatient": "1100", "ExposureTime": "20", "XRayTubeCurrent": "400",
        "Exposure": "8", "ExposureInuAs": "8000", "ImageAndFluoroscopyAreaDoseProduct": "12.5",
        "FilterType": "NONE", "ImagerPixelSpacing": ["0.148", "0.148"], "Grid": "IN",
        "GeneratorPower": "50", "FocalSpots": "1.2", "DateOfLastCalibration": "20200101",
        "TimeOfLastCalibration": "080000", "ViewPosition": "AP", "Sensitivity": "400",
        "DetectorTemperature": "30", "DetectorType": "SCINTILLATOR",
        "DetectorConfiguration": "AREA", "DetectorDescription": "Flat panel",
        "DetectorID": "D1", "DateOfLastDetectorCalibration": "20200101",
        "TimeOfLastDetectorCalibration": "080000", "DetectorBinning": ["1", "1"],
        "DetectorElementPhysicalSize": ["0.148", "0.148"],
        "DetectorElementSpacing": ["0.148", "0.148"], "DetectorActiveShape": "RECTANGLE",
        "DetectorActiveDimensions": ["430", "430"], "FieldOfViewShape": "RECTANGLE",
        "FieldOfViewDimensions": ["430", "430"], "FieldOfViewOrigin": ["0", "0"],
        "FieldOfViewRotation": "0", "FieldOfViewHorizontalFlip": "NO",
        "ExposureControlMode": "AUTOMATIC", "ExposureStatus": "NORMAL",
        "RelativeXRayExposure": 400, "PositionerType": "NONE", "StudyID": "1",
        "SeriesNumber": "1", "AcquisitionNumber": "1", "InstanceNumber": "1",
        "PatientOrientation": ["L", "F"], "ImageLaterality": "U", "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": 2544, "Columns": 3056,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "QualityControlImage": "NO", "BurnedInAnnotation": "NO",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1, "WindowCenter": "2048", "WindowWidth": "4096",
        "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US",
        "WindowCenterWidthExplanation": "NORMAL", "LossyImageCompression": "00",
        "AnatomicRegionSequence": Sequence([code]), "PresentationLUTShape": "IDENTITY",
        "PerformedProcedureStepStartDate": "20200615",
        "PerformedProcedureStepStartTime": "101500", "PerformedProcedureStepID": "1",
        "PerformedProcedureStepDescription": "XR ABDOMEN", "ExposureIndex": "400",
        "TargetExposureIndex": "400", "DeviationIndex": "0",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.add_new(0x7FE00010, "OW", bytes(ds.Rows * ds.Columns * 2)[:512])
    return ds


def _uid(kind: int, number: int) -> str:
    return f"{PREFIX}{kind}{number:012}"


def make(folder: Path, files: int) -> int:
    """Write the archive; the number of elements in each header."""
    dataset = header()
    dataset.Rows = dataset.Columns = 16
    target = io.BytesIO()
    dcmwrite(target, dataset, enforce_file_format=True)
    # No film is that small, and the default settings exclude it: but a header says what it likes.
    template = target.getvalue()
    marks = {
        _uid(1, 0).encode(): lambda n: _uid(1, n).encode(),
        _uid(2, 0).encode(): lambda n: _uid(2, n // 2).encode(),
        _uid(3, 0).encode(): lambda n: _uid(3, n).encode(),
        b"A000000000": lambda n: f"A{n // 2:09}".encode(),
        b"P000000000": lambda n: f"P{n // 3:09}".encode(),
    }
    for number in range(files):
        if number % FILES_A_FOLDER == 0:
            inside = folder / f"{number // 100_000:04}" / f"{number // FILES_A_FOLDER:06}"
            inside.mkdir(parents=True)
        data = template
        for mark, value in marks.items():
            data = data.replace(mark, value(number))
        handle = os.open(inside / f"{number:09}.dcm", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, data)
        os.close(handle)
    return len(dataset) + len(dataset.file_meta)


def change(folder: Path, files: int) -> None:
    """One file in 1,000 changes, one is new, one vanishes."""
    for number in range(0, files, 1000):
        inside = folder / f"{number // 100_000:04}" / f"{number // FILES_A_FOLDER:06}"
        path = inside / f"{number:09}.dcm"
        with path.open("ab") as file:
            file.write(b"\0\0")
        new = _uid(1, number + files).encode()
        data = path.read_bytes().replace(_uid(1, number).encode(), new)
        (inside / f"new-{number:09}.dcm").write_bytes(data)
        (inside / f"{number + 1:09}.dcm").unlink()


def step(folder: Path, name: str) -> dict[str, Any]:
    """`vfscreen scan` of the archive in this process; the results folder lies beside it."""
    config = Config()
    config = replace(
        config,
        eligibility=replace(config.eligibility, min_short_side_px=1),
        run=replace(config.run, pseudonym_key=str(folder.with_name("key"))),
    )
    if name == "judged again":
        config = replace(config, eligibility=replace(config.eligibility, min_age_years=51))
    began, cpu = time.monotonic(), time.process_time()
    ledger = run_scan(folder, folder.with_name(f"{folder.name}-results"), config)
    cpu_seconds = time.process_time() - cpu
    scan_s = ledger.stages["scan"].seconds
    return {
        "step": name,
        "files": ledger.found,
        "headers_read": ledger.headers_read,
        "scan_seconds": round(scan_s, 3),
        "run_seconds": round(time.monotonic() - began, 3),
        "run_cpu_seconds": round(cpu_seconds, 3),
        "files_a_second": round(ledger.found / scan_s),
        "files_a_core_second": round(ledger.found / cpu_seconds),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
    }


def system_calls(folder: Path, name: str, files: int) -> dict[str, float] | None:
    """System calls a file, by name, where strace is installed; those above one in 100 files."""
    if shutil.which("strace") is None:
        return None
    log = folder.with_name("strace.txt")
    traced = ["strace", "-f", "-c", "-o", str(log)]
    subprocess.run(
        [*traced, sys.executable, "-m", "benchmarks.scan", str(folder), "--one", name],
        capture_output=True, check=True,
    )  # fmt: skip
    calls: dict[str, float] = {}
    for line in log.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] = round(int(words[3]) / files, 3)
    return {call: number for call, number in calls.items() if number >= 0.01}


def measure(folder: Path, files: int) -> dict[str, Any]:
    """All steps on one archive, which is removed afterwards."""
    archive = folder / str(files)
    elements = make(archive, files)
    steps = []
    for name in STEPS:
        if name == "changed":
            change(archive, files)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scan", str(archive), "--one", name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        steps.append(json.loads(done.stdout.splitlines()[-1]))
        print(steps[-1], flush=True)
        if files <= 10_000 and name == "unchanged":
            steps[-1]["system_calls_a_file"] = system_calls(archive, name, files)
            print(steps[-1]["system_calls_a_file"], flush=True)
    shutil.rmtree(archive)
    shutil.rmtree(archive.with_name(f"{files}-results"))
    return {"files": files, "header_elements": elements, "steps": steps}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000])
    parser.add_argument("--one", choices=STEPS, help="one step, on an archive that is there")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(step(given.folder, given.one)))
        return
    figures = [measure(given.folder, files) for files in given.files]
    if given.out:
        files = " ".join(str(number) for number in given.files)
        command = f"python -m benchmarks.scan FOLDER --files {files}"
        print(machine.keep(given.out, "scan", command, {"archives": figures}))


if __name__ == "__main__":
    main()
