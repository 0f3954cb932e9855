"""Headers of phantom instances: about eighty elements, as a PACS hands them out.

Names, numbers and UIDs are invented; everything follows from the archive's seed.
"""

import hashlib
import io
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from vfscreen.phantom.dicom_habits import Preamble, StudyHabit
from vfscreen.phantom.encode import LOSSY, LOSSY_METHOD, pixel_data
from vfscreen.phantom.stored_values import StoredFrame

IMPLEMENTATION_CLASS_UID = UID("2.25.302417706204937617403214811362498121")
IMPLEMENTATION_VERSION_NAME = "VFSCREEN_PHANTOM"

SOP_CLASS = {
    ("CR", False): uid.ComputedRadiographyImageStorage,
    ("DX", False): uid.DigitalXRayImageStorageForPresentation,
    ("DX", True): uid.DigitalXRayImageStorageForProcessing,
}


def uid_of(*parts: object) -> UID:
    """Return the UID of what `parts` name: "2.25." and a 128-bit hash (PS3.5 B.2)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()
    return UID(f"2.25.{int.from_bytes(digest, 'big')}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who and when: what ties instances, reports and truth of a study together."""

    patient_id: str
    patient_name: str
    sex: str
    age_years: int
    birth_date: datetime
    accession_number: str
    issuer: str
    study_instance_uid: UID
    study_datetime: datetime


@dataclass(frozen=True, slots=True)
class Exposure:
    """One film of a study."""

    sop_instance_uid: UID
    series_number: int
    instance_number: int
    pixel_spacing_mm: float
    for_processing: bool = False


def build_header(identity: Identity, habit: StudyHabit, film: Exposure) -> Dataset:
    """Return all elements of a film but those of the pixel module."""
    ds = Dataset()
    maker, site = habit.manufacturer, habit.site
    ds.SpecificCharacterSet = maker.character_set
    derived = habit.derived and not film.for_processing
    ds.ImageType = ["DERIVED" if derived else "ORIGINAL", "PRIMARY"]
    _times(ds, identity, film)
    ds.SOPClassUID = SOP_CLASS[maker.modality, film.for_processing]
    ds.SOPInstanceUID = film.sop_instance_uid
    ds.AccessionNumber = identity.accession_number
    ds.Modality = maker.modality
    if maker.modality == "DX":
        intent = "FOR PROCESSING" if film.for_processing else "FOR PRESENTATION"
        ds.PresentationIntentType = intent
    ds.Manufacturer = maker.name
    ds.InstitutionName = site.name
    ds.InstitutionAddress = site.address
    ds.ReferringPhysicianName = "PHANTOM^REFERRER"
    ds.StationName = f"XR{1 + len(habit.model) % 4:02d}"
    ds.StudyDescription = habit.study_description
    ds.SeriesDescription = habit.series_description
    ds.InstitutionalDepartmentName = site.department
    ds.PerformingPhysicianName = ""
    ds.OperatorsName = "PHANTOM^RADIOGRAPHER"
    ds.ManufacturerModelName = habit.model
    ds.IssuerOfAccessionNumberSequence = Sequence([_item(LocalNamespaceEntityID=identity.issuer)])
    _patient(ds, identity, habit)
    _acquisition(ds, habit, film)
    _private(ds, habit)
    ds.StudyInstanceUID = identity.study_instance_uid
    ds.SeriesInstanceUID = uid_of(identity.study_instance_uid, "series", film.series_number)
    ds.StudyID = identity.accession_number[-6:]
    ds.SeriesNumber = film.series_number
    ds.AcquisitionNumber = film.instance_number
    ds.InstanceNumber = film.instance_number
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    _request(ds, identity, habit)
    return ds


def _item(**elements: object) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _times(ds: Dataset, identity: Identity, film: Exposure) -> None:
    start = identity.study_datetime
    shot = start + timedelta(seconds=40 + 75 * film.instance_number)
    for name, when in (
        ("Study", start), ("Series", shot), ("Acquisition", shot), ("Content", shot),
        ("InstanceCreation", shot + timedelta(seconds=9)),
    ):  # fmt: skip
        setattr(ds, f"{name}Date", when.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", when.strftime("%H%M%S.%f")[:10])


def _patient(ds: Dataset, identity: Identity, habit: StudyHabit) -> None:
    ds.PatientName = identity.patient_name
    ds.PatientID = identity.patient_id
    ds.IssuerOfPatientID = "PHANTOM"
    known = habit.has_birth_date
    ds.PatientBirthDate = identity.birth_date.strftime("%Y%m%d") if known else ""
    ds.PatientSex = identity.sex
    if habit.has_age:
        ds.PatientAge = f"{identity.age_years:03d}Y"
    ds.PatientComments = "synthetic phantom, not a person"


def _acquisition(ds: Dataset, habit: StudyHabit, film: Exposure) -> None:
    maker = habit.manufacturer
    if habit.body_part is not None:
        ds.BodyPartExamined = habit.body_part
    if habit.view_position is not None:
        ds.ViewPosition = habit.view_position
    spacing = f"{film.pixel_spacing_mm:.6f}"
    ds.KVP = "80"
    ds.DistanceSourceToDetector = "1150"
    ds.DeviceSerialNumber = f"900{len(maker.software) * 7:03d}"
    ds.SoftwareVersions = maker.software
    ds.ProtocolName = habit.series_description
    ds.ExposureTime = "63"
    ds.XRayTubeCurrent = "320"
    ds.Exposure = "20"
    ds.Grid = "FOCUSED"
    ds.FilterType = "NONE"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.RelativeXRayExposure = "412"
    ds.PixelAspectRatio = ["1", "1"]
    if maker.modality == "CR":
        ds.PlateID = "PL00417"
        ds.CassetteOrientation = "PORTRAIT"
        ds.CassetteSize = "35CMX43CM"
        ds.Sensitivity = "225"
        ds.AcquisitionDeviceProcessingDescription = "ABDOMEN, GENERAL"
    else:
        ds.DetectorType = "SCINTILLATOR"
        ds.DetectorConfiguration = "AREA"
        ds.DetectorID = "DET0091"
        ds.DetectorTemperature = "31"
        ds.FieldOfViewShape = "RECTANGLE"
        ds.PositionerType = "COLUMN"
        ds.PixelIntensityRelationship = "LOG"
        ds.PixelIntensityRelationshipSign = -1
        ds.ExposureIndex = "402.5"
        ds.TargetExposureIndex = "400.0"
        ds.DeviationIndex = "0.0"
    if maker.anatomic_code is not None:
        region = Sequence([_code(*maker.anatomic_code)])
        ds.AnatomicRegionSequence = region
        ds.ViewCodeSequence = Sequence([_code("399348003", "SCT", "antero-posterior")])
    ds.BurnedInAnnotation = "NO"


def _private(ds: Dataset, habit: StudyHabit) -> None:
    """A private block, with a binary element, as every manufacturer writes one."""
    block = ds.private_block(0x0009, habit.manufacturer.private_creator, create=True)
    block.add_new(0x05, "LO", habit.model)
    block.add_new(0x06, "DS", ["1.20", "0.35", "2.0"])
    block.add_new(0x10, "OB", bytes(range(64)))
    block.add_new(0x20, "SQ", Sequence([_item(CodeMeaning="GENERAL")]))
    block = ds.private_block(0x0019, habit.manufacturer.private_creator, create=True)
    for number, value in enumerate(("S", "1.9", "0.4", "R3", "0.6", "T")):
        block.add_new(0x70 + number, "SH", value)


def _request(ds: Dataset, identity: Identity, habit: StudyHabit) -> None:
    when = identity.study_datetime
    ds.RequestedProcedureDescription = habit.study_description
    ds.PerformedStationAETitle = "PHANTOM_XR"
    ds.PerformedProcedureStepStartDate = when.strftime("%Y%m%d")
    ds.PerformedProcedureStepStartTime = when.strftime("%H%M%S")
    ds.PerformedProcedureStepID = f"PPS{identity.accession_number[-5:]}"
    ds.PerformedProcedureStepDescription = habit.study_description
    ds.RequestAttributesSequence = Sequence(
        [
            _item(
                RequestedProcedureID=f"RP{identity.accession_number[-5:]}",
                ScheduledProcedureStepDescription=habit.study_description,
                ScheduledProcedureStepID=f"SPS{identity.accession_number[-5:]}",
            )
        ]
    )


def add_pixels(ds: Dataset, frame: StoredFrame, habit: StudyHabit) -> None:
    """Add the pixel module and the encoded film to a header."""
    syntax = habit.transfer_syntax
    ds.update(frame.tags)
    bits = int(frame.tags.BitsStored)
    data = pixel_data(
        frame.values, syntax, bits, fragments=habit.fragments, offset_table=habit.offset_table
    )
    if syntax in LOSSY:
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio = f"{frame.values.nbytes / len(data):.2f}"
        ds.LossyImageCompressionMethod = LOSSY_METHOD[syntax]
    else:
        ds.LossyImageCompression = "00"
    native_bytes = bits <= 8 and syntax != uid.ImplicitVRLittleEndian
    # Encapsulated data are OB (PS3.5 A.4); native 8-bit data may be.
    ds.add_new("PixelData", "OB" if syntax.is_encapsulated or native_bytes else "OW", data)


def to_bytes(ds: Dataset, transfer_syntax: UID, preamble: Preamble = Preamble.FULL) -> bytes:
    """Return the DICOM file of a data set, the same bytes each time."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    out = Dataset(ds)
    buffer = io.BytesIO()
    out.file_meta = meta
    pydicom.dcmwrite(buffer, out, enforce_file_format=True)
    data = buffer.getvalue()
    if preamble is Preamble.META_ONLY:
        return data[132:]
    if preamble is Preamble.NONE:
        # Preamble, DICM, and the group length element (12 bytes) that counts what follows it.
        return data[144 + int.from_bytes(data[140:144], "little") :]
    return data


def for_processing(habit: StudyHabit) -> StudyHabit:
    """Return the habit of the raw instance beside a processed one: 14 bits, native, plain."""
    return replace(
        habit,
        transfer_syntax=uid.ExplicitVRLittleEndian,
        preamble=Preamble.FULL,
        odd_size=False,
    )
