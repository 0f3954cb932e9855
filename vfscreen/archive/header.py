"""What the header of one instance says, as one row of the manifest.

Only the bytes before the pixel data are read, and the file's last 4 KiB. Every value is data: text
is decoded, trimmed and bounded, an age or date that makes no sense is None, and nothing that a
file holds raises out of here.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from vfscreen.archive import values
from vfscreen.archive.elements import Elements, read_elements
from vfscreen.archive.heads import FileHead, HeaderProblemError
from vfscreen.errors import FailureReason

FINGERPRINT_HEAD_BYTES = 64 << 10
FINGERPRINT_TAIL_BYTES = 4 << 10


@dataclass(frozen=True, slots=True)
class Header:
    """The DICOM columns of the manifest: each attribute is the DICOM keyword in snake_case.

    `patient_age_years` is PatientAge, else StudyDate minus PatientBirthDate, in completed years.
    `anatomic_region` and `view_code` are code value and meaning of the first item of
    AnatomicRegionSequence and ViewCodeSequence. What the header does not say is None.
    """

    sop_instance_uid: str | None = None
    sop_class_uid: str | None = None
    series_instance_uid: str | None = None
    study_instance_uid: str | None = None
    patient_id: str | None = None
    issuer_of_patient_id: str | None = None
    accession_number: str | None = None
    issuer_of_accession_number: str | None = None
    study_date: date | None = None
    study_time: str | None = None
    patient_age_years: int | None = None
    patient_birth_date: date | None = None
    patient_sex: str | None = None
    modality: str | None = None
    body_part_examined: str | None = None
    anatomic_region: str | None = None
    view_position: str | None = None
    view_code: str | None = None
    study_description: str | None = None
    series_description: str | None = None
    protocol_name: str | None = None
    image_type: tuple[str, ...] | None = None
    presentation_intent_type: str | None = None
    manufacturer: str | None = None
    manufacturer_model_name: str | None = None
    station_name: str | None = None
    institution_name: str | None = None
    transfer_syntax_uid: str | None = None
    photometric_interpretation: str | None = None
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int | None = None
    bits_allocated: int | None = None
    bits_stored: int | None = None


@dataclass(frozen=True, slots=True)
class HeaderFailure:
    """An instance that cannot be screened as it lies there.

    `header` and `content_fingerprint` are what could still be read, so that a truncated film of
    the chest is known to be one.
    """

    reason: FailureReason
    message: str
    header: Header | None = None
    content_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class NotDicom:
    """A file that is not DICOM: empty, text, anything else."""


_CHARACTER_SET = 0x00080005
_TEXTS = {
    "sop_class_uid": 0x00080016,
    "sop_instance_uid": 0x00080018,
    "study_time": 0x00080030,
    "accession_number": 0x00080050,
    "modality": 0x00080060,
    "presentation_intent_type": 0x00080068,
    "manufacturer": 0x00080070,
    "institution_name": 0x00080080,
    "station_name": 0x00081010,
    "study_description": 0x00081030,
    "series_description": 0x0008103E,
    "manufacturer_model_name": 0x00081090,
    "patient_id": 0x00100020,
    "issuer_of_patient_id": 0x00100021,
    "patient_sex": 0x00100040,
    "body_part_examined": 0x00180015,
    "protocol_name": 0x00181030,
    "view_position": 0x00185101,
    "study_instance_uid": 0x0020000D,
    "series_instance_uid": 0x0020000E,
    "photometric_interpretation": 0x00280004,
}
_INTEGERS = {
    "rows": 0x00280010,
    "columns": 0x00280011,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
}
_IMAGE_TYPE = 0x00080008
_STUDY_DATE = 0x00080020
_BIRTH_DATE = 0x00100030
_AGE = 0x00101010
_NUMBER_OF_FRAMES = 0x00280008
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
_ISSUER_OF_ACCESSION_NUMBER_SEQUENCE = 0x00080051
_ANATOMIC_REGION_SEQUENCE = 0x00082218
_VIEW_CODE_SEQUENCE = 0x00540220
# CR and, below it, DX for presentation and for processing (PS3.4 B.5): never without pixels.
_FILM_CLASSES = "1.2.840.10008.5.1.4.1.1.1."
_CODE_VALUES = (0x00080100, 0x00080119, 0x00080104)  # short or long code value, meaning
_LOCAL_NAMESPACE, _UNIVERSAL_ENTITY = 0x00400031, 0x00400032

_WANTED = frozenset(
    {*_TEXTS.values(), *_INTEGERS.values()}
    | {_CHARACTER_SET, _IMAGE_TYPE, _STUDY_DATE, _BIRTH_DATE, _AGE, _NUMBER_OF_FRAMES}
)
_SEQUENCES = frozenset(
    {_ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, _ANATOMIC_REGION_SEQUENCE, _VIEW_CODE_SEQUENCE}
)


def read_header(path: str | Path) -> tuple[Header, str] | HeaderFailure | NotDicom:
    """Read the header of one file.

    Returns
    -------
    (Header, str)
        The header and the content fingerprint: 32 hex digits, BLAKE2b of (1) the file's size and
        the length of (2), 8 bytes each, little endian, (2) the bytes before the value of the pixel
        data, at most the first 64 KiB (where the data set is deflated or holds no pixel data: the
        first 64 KiB of the file), (3) the last 4 KiB of the file. The path is not part of it.
    HeaderFailure
        `unreadable_file` (transient): open or read failed. `truncated`: the header ends inside an
        element, the file ends before its pixel data do, or an image holds none. `bad_header`: not
        parseable, beyond a limit, or without the UIDs that name instance and study.
    NotDicom
        Neither a preamble nor a plausible first element.
    """
    try:
        # Not blocking, should the path have become a pipe since it was found.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read(descriptor)
        finally:
            os.close(descriptor)
    except HeaderProblemError as problem:
        return HeaderFailure(problem.reason, problem.message)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL byte
        name = error.strerror if isinstance(error, OSError) else None
        return HeaderFailure(FailureReason.UNREADABLE_FILE, name or "cannot be opened")


def _read(descriptor: int) -> tuple[Header, str] | HeaderFailure | NotDicom:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return NotDicom()
    head = FileHead(descriptor, status.st_size)
    try:
        elements = read_elements(head, _WANTED, _SEQUENCES)
    except HeaderProblemError:
        # Without preamble, and without a VR in its first element, it only looked like DICOM.
        if head.data[128:132] == b"DICM" or head.data[4:6].isalpha():
            raise
        return NotDicom()
    if elements is None:
        return NotDicom()
    header = _header(elements)
    if not elements.has_preamble and header.sop_class_uid is None and header.modality is None:
        return NotDicom()
    fingerprint = _fingerprint(head, status.st_size, elements.header_end)
    problem = _problem(head, status.st_size, elements, header)
    if problem is not None:
        return HeaderFailure(*problem, header, fingerprint)
    return header, fingerprint


def _header(elements: Elements) -> Header:
    raw, items = elements.values, elements.items
    character_set = raw.get(_CHARACTER_SET, b"")
    order: Literal["little", "big"] = "big" if elements.big_endian else "little"
    texts = {
        name: values.text(raw[tag], character_set) for name, tag in _TEXTS.items() if tag in raw
    }
    integers = {
        name: values.integer(raw[tag], order) for name, tag in _INTEGERS.items() if tag in raw
    }
    if texts.get("sop_instance_uid") is None:  # the same UID by PS3.10 7.1
        texts["sop_instance_uid"] = values.text(raw.get(_MEDIA_STORAGE_SOP_INSTANCE_UID))
    study_date, birth_date = values.day(raw.get(_STUDY_DATE)), values.day(raw.get(_BIRTH_DATE))
    image_type = values.texts(raw.get(_IMAGE_TYPE), character_set)
    issuer = items.get(_ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, {})
    return Header(
        study_date=study_date,
        patient_birth_date=birth_date,
        patient_age_years=values.age_years(raw.get(_AGE), study_date, birth_date),
        image_type=image_type if any(image_type) else None,
        number_of_frames=values.integer_string(raw.get(_NUMBER_OF_FRAMES)),
        transfer_syntax_uid=elements.transfer_syntax_uid,
        issuer_of_accession_number=values.text(issuer.get(_LOCAL_NAMESPACE), character_set)
        or values.text(issuer.get(_UNIVERSAL_ENTITY), character_set),
        anatomic_region=_code(items.get(_ANATOMIC_REGION_SEQUENCE), character_set),
        view_code=_code(items.get(_VIEW_CODE_SEQUENCE), character_set),
        **texts,  # type: ignore[arg-type]
        **integers,  # type: ignore[arg-type]
    )


def _code(item: dict[int, bytes] | None, character_set: bytes) -> str | None:
    """Code value and meaning of a coded entry, as one text."""
    parts = [values.text((item or {}).get(tag), character_set) for tag in _CODE_VALUES]
    return " ".join(part for part in parts if part) or None


def _fingerprint(head: FileHead, size_bytes: int, header_end: int | None) -> str:
    """See `read_header`."""
    length = min(header_end if header_end is not None else size_bytes, FINGERPRINT_HEAD_BYTES)
    if len(head.data) < length:
        head.grow(length)
    tail = max(0, size_bytes - FINGERPRINT_TAIL_BYTES)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(size_bytes.to_bytes(8, "little") + length.to_bytes(8, "little"))
    digest.update(head.data[:length])
    digest.update(os.pread(head.descriptor, FINGERPRINT_TAIL_BYTES, tail))
    return digest.hexdigest()


def _problem(
    head: FileHead, size_bytes: int, elements: Elements, header: Header
) -> tuple[FailureReason, str] | None:
    """What keeps a header that was read from being screened."""
    if not elements.has_pixels:
        of_film_class = f"{header.sop_class_uid}.".startswith(_FILM_CLASSES)
        if of_film_class or (header.rows is not None and header.columns is not None):
            return FailureReason.TRUNCATED, "the file ends before its pixel data"
        return None  # not an image; eligibility says so
    if elements.header_end is not None:
        end = elements.header_end + (elements.pixel_bytes or 0)
        if elements.pixel_bytes is None:
            end = _end_of_first_fragment(head, elements.header_end)
        if end > size_bytes:
            return FailureReason.TRUNCATED, "the file ends inside its pixel data"
    if header.sop_instance_uid is None:
        return FailureReason.BAD_HEADER, "SOPInstanceUID is missing"
    if header.study_instance_uid is None:
        return FailureReason.BAD_HEADER, "StudyInstanceUID is missing"
    return None


def _end_of_first_fragment(head: FileHead, start: int) -> int:
    """Where the first fragment of encapsulated pixel data ends (PS3.5 A.4), 0 if that is unclear.

    A film has one fragment nearly always, so this finds a file cut short without reading it.
    """
    position = start
    for _ in range(2):  # the basic offset table, then the fragment
        item = head.data[position : position + 8]
        if len(item) < 8:
            item = os.pread(head.descriptor, 8, position)
        if len(item) < 8 or item[:4] != b"\xfe\xff\x00\xe0":
            return 0
        position += 8 + int.from_bytes(item[4:], "little")
    return position
