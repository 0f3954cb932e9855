"""Encoders: stored values to the bytes of PixelData, one transfer syntax each.

Codestreams carry the film's own precision (bits stored), as PS3.5 section 8.2 wants it, except
where the standard's coder knows 8 and 12 bits only.
"""

import itertools

import imagecodecs
import numpy as np
from jpeg_ls import CharLS
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from vfscreen.phantom.stored_values import Stored

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
ENCAPSULATED = (
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
)
TRANSFER_SYNTAXES = NATIVE + ENCAPSULATED
LOSSY = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000}
)
# PS3.3 C.7.6.1.1.5.1: the names of lossy methods.
LOSSY_METHOD = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
}
# Archives compress gently: differences stay below the quantum noise of the film.
JPEG_QUALITY = 95
JPEG2000_PSNR_DB = 62
NEAR_LOSSLESS_ERROR = 2
JPEG2000_RESOLUTIONS = 6  # five decompositions, what nearly every PACS writes
HTJ2K_DECOMPOSITIONS = 5
# Predictors other than 1 are what tells .57 from .70.
SOF3_PREDICTOR = {uid.JPEGLossless: 6, uid.JPEGLosslessSV1: 1}


def encode_codestream(values: Stored, transfer_syntax: UID, bits_stored: int) -> bytes:
    """Compress one frame.

    Parameters
    ----------
    values : uint8 or uint16 (H, W)
        Stored values below 2 ** `bits_stored`.
    transfer_syntax : UID
        One of `ENCAPSULATED`.
    bits_stored : int
        8 for JPEG baseline, at most 12 for JPEG extended, else 8 to 16.

    Returns
    -------
    bytes
        The codestream of the frame (for RLE its header and segments), not yet encapsulated.
    """
    if transfer_syntax == uid.RLELossless:
        return _rle(values)
    if transfer_syntax == uid.JPEGBaseline8Bit:
        return bytes(imagecodecs.jpeg8_encode(values.astype(np.uint8), level=JPEG_QUALITY))
    if transfer_syntax == uid.JPEGExtended12Bit:
        return bytes(
            imagecodecs.jpeg8_encode(values.astype(np.uint16), level=JPEG_QUALITY, bitspersample=12)
        )
    if transfer_syntax in SOF3_PREDICTOR:
        return bytes(
            imagecodecs.jpeg8_encode(
                values, lossless=True, predictor=SOF3_PREDICTOR[transfer_syntax],
                bitspersample=bits_stored,
            )
        )  # fmt: skip
    if transfer_syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        error = NEAR_LOSSLESS_ERROR if transfer_syntax == uid.JPEGLSNearLossless else 0
        rows, columns = values.shape
        return bytes(
            CharLS.encode_buffer(values.tobytes(), rows, columns, 1, bits_stored, error, 0)
        )
    if transfer_syntax == uid.HTJ2KLossless:
        return _htj2k(values, bits_stored)
    lossless = transfer_syntax == uid.JPEG2000Lossless
    return bytes(
        imagecodecs.jpeg2k_encode(
            values,
            level=None if lossless else JPEG2000_PSNR_DB,
            codecformat="j2k",
            bitspersample=bits_stored,
            resolutions=JPEG2000_RESOLUTIONS,
            reversible=lossless,
            numthreads=1,
        )
    )


def pixel_data(
    values: Stored, transfer_syntax: UID, bits_stored: int, *, fragments: int, offset_table: bool
) -> bytes:
    """Return the value of PixelData: native bytes, or the encapsulated codestream.

    Parameters
    ----------
    values, transfer_syntax, bits_stored
        As for `encode_codestream`; native syntaxes as well.
    fragments : int
        Fragments of the codestream. RLE has one a frame (PS3.5 G.3).
    offset_table : bool
        Whether the basic offset table is filled.
    """
    if transfer_syntax in NATIVE:
        big = transfer_syntax == uid.ExplicitVRBigEndian
        raw = values.astype(values.dtype.newbyteorder(">" if big else "<")).tobytes()
        return raw + b"\0" * (len(raw) % 2)
    codestream = encode_codestream(values, transfer_syntax, bits_stored)
    count = 1 if transfer_syntax == uid.RLELossless else fragments
    return encapsulate([codestream], fragments_per_frame=count, has_bot=offset_table)


def _rle(values: Stored) -> bytes:
    """DICOM RLE, PS3.5 annex G: PackBits of each row, one segment a byte plane, high byte first.

    pydicom's own encoder is pure Python and takes seconds a film.
    """
    planes = [values] if values.dtype == np.uint8 else [values >> 8, values & np.uint16(0xFF)]
    segments = []
    for plane in planes:
        rows = np.ascontiguousarray(plane, np.uint8)
        packed = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
        segments.append(packed + b"\0" * (len(packed) % 2))
    starts = itertools.accumulate((len(s) for s in segments[:-1]), initial=64)
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = list(starts)
    return header.tobytes() + b"".join(segments)


def _htj2k(values: Stored, bits_stored: int) -> bytes:
    """HTJ2K at the film's own precision.

    The encoder knows 8 and 16 bits only. Unsigned samples are level-shifted by half their range
    (ISO 15444-1 annex G.1), so shifting 16-bit input by the difference and writing the true
    precision into the SIZ marker gives the codestream of the true precision.
    """
    width = values.dtype.itemsize * 8
    shift = (1 << (width - 1)) - (1 << (bits_stored - 1))
    shifted = values + values.dtype.type(shift)
    stream = bytearray(
        imagecodecs.htj2k_encode(shifted, reversible=True, resolutions=HTJ2K_DECOMPOSITIONS)
    )
    # SOC, SIZ marker, Lsiz, Rsiz, eight sizes, Csiz, then Ssiz of the only component.
    stream[2 + 2 + 2 + 2 + 8 * 4 + 2] = bits_stored - 1
    return bytes(stream)
