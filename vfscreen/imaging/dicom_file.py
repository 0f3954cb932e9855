"""Reading a film's DICOM file: bounded, without waiting, and only as far as its pixel data."""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from vfscreen.errors import FailureReason
from vfscreen.imaging.failure import FilmError

_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_PIXEL_DATA = 0x7FE00010
OVERLAY_BIT_POSITIONS = tuple(0x60000102 + (group << 17) for group in range(16))
_TAGS: list[BaseTag | int] = [
    0x00280002,  # Samples per Pixel
    0x00280004,  # Photometric Interpretation
    0x00280008,  # Number of Frames
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280100,  # Bits Allocated
    0x00280101,  # Bits Stored
    0x00280102,  # High Bit
    0x00280103,  # Pixel Representation
    0x00280120,  # Pixel Padding Value
    0x00280121,  # Pixel Padding Range Limit
    0x00281050,  # Window Center
    0x00281051,  # Window Width
    0x00281052,  # Rescale Intercept
    0x00281053,  # Rescale Slope
    0x00281056,  # VOI LUT Function
    0x00283000,  # Modality LUT Sequence
    0x00283010,  # VOI LUT Sequence
    0x20500020,  # Presentation LUT Shape
    *OVERLAY_BIT_POSITIONS,
]


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file's header and where its pixel element begins.

    `content` is the file, or the inflated dataset of a deflated one; `implicit` and
    `little_endian` say how the dataset is really written.
    """

    header: Dataset
    transfer_syntax_uid: str
    implicit: bool
    little_endian: bool
    content: bytes
    pixels_at: int


def read_file(
    path: str | bytes | os.PathLike[str], max_bytes: int, expected_size_bytes: int | None
) -> bytes:
    """Read a whole regular file.

    Not mapped: a file that shrinks while it is mapped ends the process.

    Raises
    ------
    FilmError
        `unreadable_file`, `changed_while_reading`, `too_many_pixels`.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FilmError(FailureReason.UNREADABLE_FILE, "not a regular file")
            if expected_size_bytes is not None and status.st_size != expected_size_bytes:
                raise FilmError(
                    FailureReason.CHANGED_WHILE_READING,
                    f"{status.st_size} bytes where the manifest has {expected_size_bytes}",
                )
            if status.st_size > max_bytes:
                raise FilmError(FailureReason.TOO_MANY_PIXELS, f"a file of {status.st_size} bytes")
            content = file.read()
    except OSError as error:
        name = "unknown" if error.errno is None else os.strerror(error.errno)
        raise FilmError(FailureReason.UNREADABLE_FILE, f"the file cannot be read: {name}") from None
    if len(content) != status.st_size:
        raise FilmError(
            FailureReason.CHANGED_WHILE_READING,
            f"{len(content)} bytes read of a file that had {status.st_size}",
        )
    return content


def _stop_at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS


def read_header(content: bytes, max_bytes: int) -> DicomFile:
    """Parse the header of a file's content, up to its pixel data.

    Raises
    ------
    FilmError
        A deflated dataset is damaged, or inflates to over `max_bytes`.
    Exception
        Whatever pydicom raises over a damaged header.
    """
    file = BytesIO(content)
    read_preamble(file, force=True)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    uid = str(meta.get("TransferSyntaxUID") or "").strip()
    if uid == DeflatedExplicitVRLittleEndian:
        # pydicom inflates without a bound.
        content = _inflate(content[file.tell() :], max_bytes)
        file = BytesIO(content)
        header = read_dataset(file, False, True, stop_when=_stop_at_pixels, specific_tags=_TAGS)
        implicit, little_endian = False, True
    else:
        file.seek(0)
        header = read_partial(file, stop_when=_stop_at_pixels, force=True, specific_tags=_TAGS)
        implicit, little_endian = (flag is True for flag in header.original_encoding)
    rows = header.get_item("Rows")
    if isinstance(rows, RawDataElement):  # some files are written otherwise than they claim
        implicit = rows.is_implicit_VR
    return DicomFile(header, uid, implicit, little_endian, content, file.tell())


def _inflate(deflated: bytes, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(deflated, limit_bytes)
    except zlib.error:
        raise FilmError(
            FailureReason.CORRUPT_CODESTREAM, "the deflated dataset is damaged"
        ) from None
    if inflater.unconsumed_tail:
        raise FilmError(
            FailureReason.TOO_MANY_PIXELS, f"the dataset inflates to over {limit_bytes} bytes"
        )
    if not inflater.eof:
        raise FilmError(FailureReason.TRUNCATED, "the deflated dataset is cut short")
    return content


def pixel_element(file: DicomFile) -> tuple[memoryview | bytes, bytes]:
    """The pixel element's value and VR: a view where it is native, else the fragments, joined.

    Raises
    ------
    FilmError
        `truncated`, `bad_header`, `unsupported_pixels`, `corrupt_codestream`.
    """
    content, position = file.content, file.pixels_at
    implicit, little_endian = file.implicit, file.little_endian
    order = "<" if little_endian else ">"
    if position >= len(content):
        reason = FailureReason.TRUNCATED if position > len(content) else FailureReason.BAD_HEADER
        raise FilmError(reason, "the file ends before its pixel data")
    group, number = struct.unpack_from(f"{order}HH", content, position)
    if (group << 16 | number) != _PIXEL_DATA:
        raise FilmError(FailureReason.UNSUPPORTED_PIXELS, "floating-point pixel data")
    vr = b"" if implicit else content[position + 4 : position + 6]
    if not implicit and vr not in (b"OB", b"OW", b"UN"):
        raise FilmError(FailureReason.BAD_HEADER, "Pixel Data has neither VR OB nor OW")
    start = position + (8 if implicit else 12)
    (length,) = struct.unpack_from(f"{order}I", content, start - 4)
    if length == 0xFFFFFFFF:
        return _join_fragments(content, start), vr
    if start + length > len(content):
        raise FilmError(
            FailureReason.TRUNCATED,
            f"the pixel data claims {length} bytes, the file holds {len(content) - start}",
        )
    return memoryview(content)[start : start + length], vr


def _join_fragments(content: bytes, position: int) -> bytes:
    """The fragments of the one frame, joined (PS3.5 A.4); encapsulation is little endian."""
    items = list(_items(content, position))
    if len(items) < 2:
        raise FilmError(FailureReason.TRUNCATED, "the encapsulated pixel data has no fragment")
    if len(items[0]) > 4:
        raise FilmError(FailureReason.UNSUPPORTED_PIXELS, "the offset table lists several frames")
    return bytes(items[1]) if len(items) == 2 else b"".join(items[1:])


def _items(content: bytes, position: int) -> Iterator[memoryview]:
    view = memoryview(content)
    while position + 8 <= len(content):
        group, number, length = struct.unpack_from("<HHI", content, position)
        position += 8
        if (group, number) == (0xFFFE, 0xE0DD):
            return
        if (group, number) != (0xFFFE, 0xE000):
            raise FilmError(FailureReason.CORRUPT_CODESTREAM, "a fragment is not an item")
        if position + length > len(content):
            raise FilmError(FailureReason.TRUNCATED, "the file ends inside a fragment")
        yield view[position : position + length]
        position += length
    raise FilmError(FailureReason.TRUNCATED, "the file ends before the last fragment")
