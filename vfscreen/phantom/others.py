"""DICOM instances of other kinds: CT slice, structured report, encapsulated PDF, DICOMDIR."""

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from vfscreen.phantom.headers import Identity, uid_of

CT_PX = 128

_PDF = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>> endobj
trailer <</Root 1 0 R>>
%%EOF
"""


def _common(identity: Identity, sop_class: UID, modality: str, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid_of(identity.study_instance_uid, modality, number)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = identity.study_datetime.strftime("%Y%m%d")
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = identity.study_datetime.strftime("%H%M%S")
    ds.AccessionNumber = identity.accession_number
    ds.Modality = modality
    ds.Manufacturer = "SIEMENS"
    ds.ReferringPhysicianName = "PHANTOM^REFERRER"
    ds.StudyDescription = "CT ABDOMEN"
    ds.PatientName = identity.patient_name
    ds.PatientID = identity.patient_id
    ds.PatientBirthDate = identity.birth_date.strftime("%Y%m%d")
    ds.PatientSex = identity.sex
    ds.StudyInstanceUID = identity.study_instance_uid
    ds.SeriesInstanceUID = uid_of(identity.study_instance_uid, modality)
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.InstanceNumber = number + 1
    return ds


def ct_slice(identity: Identity, number: int, rng: np.random.Generator) -> Dataset:
    """A small CT slice of an abdomen: an ellipse of soft tissue in air, signed values."""
    ds = _common(identity, uid.CTImageStorage, "CT", number)
    y, x = np.mgrid[-1 : 1 : CT_PX * 1j, -1 : 1 : CT_PX * 1j]
    inside = (x / 0.85) ** 2 + (y / 0.6) ** 2 < 1
    hounsfield = np.where(inside, 45.0, -1000.0) + rng.normal(0, 12, x.shape)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.BodyPartExamined = "ABDOMEN"
    ds.PatientAge = f"{identity.age_years:03d}Y"
    ds.SliceThickness = "5"
    ds.KVP = "120"
    ds.ImagePositionPatient = ["-180", "-180", str(-5 * number)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = ["2.8", "2.8"]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = CT_PX
    ds.BitsAllocated = 16
    ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    ds.WindowCenter, ds.WindowWidth = "50", "350"
    ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
    ds.add_new("PixelData", "OW", np.rint(hounsfield).astype("<i2").tobytes())
    return ds


def structured_report(identity: Identity) -> Dataset:
    """A basic text SR of one sentence."""
    ds = _common(identity, uid.BasicTextSRStorage, "SR", 0)
    ds.ValueType = "CONTAINER"
    ds.ContinuityOfContent = "SEPARATE"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.ConceptNameCodeSequence = Sequence([_code("11528-7", "LN", "Radiology Report")])
    text = Dataset()
    text.RelationshipType = "CONTAINS"
    text.ValueType = "TEXT"
    text.ConceptNameCodeSequence = Sequence([_code("121071", "DCM", "Finding")])
    text.TextValue = "Dose recorded."
    ds.ContentSequence = Sequence([text])
    return ds


def encapsulated_pdf(identity: Identity) -> Dataset:
    """A letter as an encapsulated PDF."""
    ds = _common(identity, uid.EncapsulatedPDFStorage, "DOC", 0)
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = "Letter"
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = _PDF + b"\0" * (len(_PDF) % 2)
    ds.EncapsulatedDocumentLength = len(_PDF)
    return ds


def dicomdir(identity: Identity) -> Dataset:
    """A DICOMDIR of one patient record, as an exported medium leaves it behind."""
    ds = Dataset()
    # Strictly only the file meta information of a DICOMDIR holds these two.
    ds.SOPClassUID = uid.MediaStorageDirectoryStorage
    ds.SOPInstanceUID = uid_of(identity.study_instance_uid, "DICOMDIR")
    ds.FileSetID = "PHANTOM"
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.FileSetConsistencyFlag = 0
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = 0xFFFF
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.DirectoryRecordType = "PATIENT"
    record.PatientName = identity.patient_name
    record.PatientID = identity.patient_id
    ds.DirectoryRecordSequence = Sequence([record])
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item
