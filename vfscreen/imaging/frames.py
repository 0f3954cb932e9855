"""The frame plan: what a film's file says, and where its one frame's bytes are.

Everything that can be refused is refused here, before memory for pixels is allocated.
"""

import os
import re
import struct
import time
import warnings
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from vfscreen.errors import FailureReason
from vfscreen.imaging.codestream import Codestream, parse_jpeg, parse_jpeg2000
from vfscreen.imaging.dicom_file import (
    OVERLAY_BIT_POSITIONS,
    DicomFile,
    pixel_element,
    read_file,
    read_header,
)
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.values import ValueTransform, read_transform

NATIVE = frozenset(
    map(
        str,
        (
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ),
    )
)
RLE = "1.2.840.10008.1.2.5"
JPEG_PROCESSES = {
    "1.2.840.10008.1.2.4.50": (0xC0, 0xC1),
    "1.2.840.10008.1.2.4.51": (0xC0, 0xC1),
    "1.2.840.10008.1.2.4.57": (0xC3,),
    "1.2.840.10008.1.2.4.70": (0xC3,),
    "1.2.840.10008.1.2.4.80": (0xF7,),
    "1.2.840.10008.1.2.4.81": (0xF7,),
}
"""Which frame headers a JPEG transfer syntax may hold; baseline is a subset of extended."""
JPEG2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))

# Besides the pixels: private elements, overlays, an icon. Real radiographs stay far below it.
_MAX_HEADER_BYTES = 64 << 20
_UID = re.compile(r"[0-9.]{1,64}")
# What pydicom raises over damaged headers. An unknown other one is caught in `decode.py`.
_HEADER_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    EOFError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one film may cost."""

    max_pixels: int = 100_000_000
    memory_bytes: int = 4 << 30

    @property
    def max_file_bytes(self) -> int:
        """Two bytes a pixel, as much again for a codestream that grew, and the header."""
        return 4 * self.max_pixels + _MAX_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One film, read and checked, not yet decoded.

    Exactly one of `native` (the frame's bytes, unencapsulated) and `codestream` (JPEG families)
    and `rle` is set. `overlay_in_pixels` says that bits above High Bit hold an overlay.
    """

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric_interpretation: str
    little_endian: bool
    overlay_in_pixels: bool
    values: ValueTransform
    file_bytes: int
    read_s: float = 0.0
    native: memoryview | None = None
    rle: bytes | None = None
    codestream: Codestream | None = None


def _bad_header(message: str) -> FilmError:
    return FilmError(FailureReason.BAD_HEADER, message)


def _unsupported(message: str) -> FilmError:
    return FilmError(FailureReason.UNSUPPORTED_PIXELS, message)


def read_film(
    path: str | bytes | os.PathLike[str],
    limits: DecodeLimits,
    *,
    expected_size_bytes: int | None = None,
) -> FramePlan:
    """Read a film's file and plan the decoding of its frame.

    Parameters
    ----------
    path : path
        A regular file; anything else (a pipe, a device) is refused without waiting on it.
    limits : DecodeLimits
    expected_size_bytes : int, optional
        The size when the archive was walked; another size now is `changed_while_reading`.

    Raises
    ------
    FilmError
        The film cannot be read, or is not what can be decoded; `reason` says which.
    """
    started = time.perf_counter()
    content = read_file(path, limits.max_file_bytes, expected_size_bytes)
    read_s = time.perf_counter() - started
    uid = ""
    with warnings.catch_warnings():
        # pydicom's warnings quote values of the header, and the checks below are stricter.
        warnings.simplefilter("ignore")
        try:
            file = read_header(content, limits.max_file_bytes)
            uid = file.transfer_syntax_uid
            return replace(_plan(file, limits, len(content)), read_s=read_s)
        except FilmError as error:
            error.transfer_syntax_uid = uid if _UID.fullmatch(uid) else None
            raise
        except _HEADER_ERRORS as error:
            raise _bad_header(f"the header is damaged ({type(error).__name__})") from None


def _plan(file: DicomFile, limits: DecodeLimits, file_bytes: int) -> FramePlan:
    uid = file.transfer_syntax_uid
    if not uid:  # no file meta information: pydicom found out how the dataset is written
        uid = str(
            ImplicitVRLittleEndian
            if file.implicit
            else (ExplicitVRLittleEndian if file.little_endian else ExplicitVRBigEndian)
        )
    if uid not in NATIVE | JPEG_PROCESSES.keys() | JPEG2000 | {RLE}:
        raise FilmError(
            FailureReason.UNSUPPORTED_TRANSFER_SYNTAX, "no decoder for this transfer syntax"
        )
    plan = _checked_header(file, uid, limits, file_bytes)
    value, vr = pixel_element(file)
    if isinstance(value, memoryview):
        if uid not in NATIVE:
            raise _bad_header("an encapsulated transfer syntax with unencapsulated pixel data")
        return _with_native(plan, value, vr)
    if uid in NATIVE:
        raise _bad_header("a native transfer syntax with encapsulated pixel data")
    return _with_codestream(plan, value)


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        if default is None:
            raise _bad_header(f"{keyword} is missing")
        return default
    return int(value)


def _checked_header(file: DicomFile, uid: str, limits: DecodeLimits, file_bytes: int) -> FramePlan:
    dataset, little_endian = file.header, file.little_endian
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if rows <= 0 or columns <= 0:
        raise _bad_header(f"an image of {rows} x {columns} pixels")
    if rows * columns > limits.max_pixels:
        raise FilmError(
            FailureReason.TOO_MANY_PIXELS,
            f"the header claims {rows} x {columns} pixels; at most {limits.max_pixels} are decoded",
        )
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    samples = _integer(dataset, "SamplesPerPixel", 1)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _unsupported(f"not grey pixels ({samples} samples a pixel)")
    if (frames := _integer(dataset, "NumberOfFrames", 1)) > 1:
        raise _unsupported(f"{frames} frames")
    allocated = _integer(dataset, "BitsAllocated")
    if allocated not in (8, 16):
        raise _unsupported(f"{allocated} bits allocated")
    stored = _integer(dataset, "BitsStored", allocated)
    high_bit = _integer(dataset, "HighBit", stored - 1)
    if not 1 <= stored <= allocated or not stored - 1 <= high_bit < allocated:
        raise _bad_header(
            f"{stored} bits stored up to bit {high_bit} of {allocated} bits allocated"
        )
    representation = _integer(dataset, "PixelRepresentation", 0)
    if representation not in (0, 1):
        raise _bad_header(f"pixel representation {representation}")
    signed = representation == 1
    return FramePlan(
        transfer_syntax_uid=uid,
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=signed,
        photometric_interpretation=photometric,
        little_endian=little_endian,
        overlay_in_pixels=any(
            int(dataset[tag].value or 0) > 0  # bit 0: the overlay has data of its own
            for tag in OVERLAY_BIT_POSITIONS
            if tag in dataset
        ),
        values=read_transform(dataset, bits=stored, signed=signed, little_endian=little_endian),
        file_bytes=file_bytes,
    )


def _with_native(plan: FramePlan, value: memoryview, vr: bytes) -> FramePlan:
    """Exactly one frame, but for the byte that makes the length even (PS3.5 8.1.1)."""
    needed = plan.rows * plan.columns * (plan.bits_allocated // 8)
    if len(value) < needed:
        raise FilmError(
            FailureReason.TRUNCATED, f"{len(value)} bytes of pixel data where {needed} are needed"
        )
    if len(value) > needed + needed % 2:
        raise FilmError(
            FailureReason.DIMENSIONS_DISAGREE,
            f"{len(value)} bytes of pixel data where the header's dimensions need {needed}",
        )
    if not plan.little_endian and plan.bits_allocated == 8 and vr == b"OW":
        # Two 8-bit pixels a 16-bit word, and the words are big endian (PS3.5 8.2).
        words = bytearray(value) + b"\0" * (len(value) % 2)
        words[0::2], words[1::2] = words[1::2], words[0::2]
        value = memoryview(bytes(words))
    return replace(plan, native=value[:needed])


def _with_codestream(plan: FramePlan, data: bytes) -> FramePlan:
    """Hold the codestream's own claims against the header's."""
    if plan.transfer_syntax_uid == RLE:
        return replace(plan, rle=data)
    if plan.high_bit != plan.bits_stored - 1:
        raise _unsupported(f"{plan.bits_stored} compressed bits up to bit {plan.high_bit}")
    if plan.transfer_syntax_uid in JPEG2000:
        stream = parse_jpeg2000(data)
    else:
        stream = parse_jpeg(data)
        if stream.sof not in JPEG_PROCESSES[plan.transfer_syntax_uid]:
            raise FilmError(
                FailureReason.CORRUPT_CODESTREAM,
                "the codestream is of another kind than its transfer syntax",
            )
    if (stream.rows, stream.columns) != (plan.rows, plan.columns):
        raise FilmError(
            FailureReason.DIMENSIONS_DISAGREE,
            f"the codestream is {stream.rows} x {stream.columns}, "
            f"the header says {plan.rows} x {plan.columns}",
        )
    if stream.components != 1:
        raise _unsupported(f"a codestream of {stream.components} components")
    if not 2 <= stream.precision_bits <= plan.bits_allocated:
        raise _unsupported(
            f"a codestream of {stream.precision_bits} bits, {plan.bits_allocated} allocated"
        )
    if plan.signed != stream.signed and (plan.signed or stream.signed):
        # Patterns of `precision` bits; two readings of the sign are only one where that is all.
        wide_enough = stream.precision_bits >= plan.bits_stored
        if not wide_enough or (stream.signed and stream.precision_bits != plan.bits_stored):
            raise _unsupported(
                f"a codestream of {stream.precision_bits} bits whose sign disagrees with the "
                f"header's {plan.bits_stored} bits"
            )
    return replace(plan, codestream=stream)
