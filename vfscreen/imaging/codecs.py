"""The decoders: one fastest known route a transfer syntax, and what each must be told twice.

imagecodecs serves all of them in full (measured in docs and in the benchmarks). Where the network
needs less, JPEG 2000 and HTJ2K are decoded halved once or more by the codec itself: Pillow and
OpenJPH leave out resolutions. libjpeg could scale in the cosine transform, but answers in 8 bits: a
film halved once moved a probability by 0.03 already (docs/limits.md). It reports damage only as a
warning that nobody passes on; the JPEG route below finds it out by itself.
"""

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from vfscreen.errors import FailureReason
from vfscreen.imaging.codestream import Codestream, parse_jpeg, parse_jpeg2000
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import JPEG2000, JPEG_PROCESSES, NATIVE, RLE, FramePlan

_CORRUPT = FailureReason.CORRUPT_CODESTREAM
_TOO_COARSE_BITS = 9
_MAX_JPEG_ROWS = 65500  # libjpeg's JPEG_MAX_DIMENSION
# Image data that decodes to anything but filling; no byte of it is FF.
_JUNK = bytes(17 * n % 251 for n in range(1000))
# What imagecodecs raises: its own errors are RuntimeErrors, and ValueErrors over the arguments.
# What Pillow raises: OSErrors over the data, SyntaxErrors and struct's over its beginning.
_CODEC_ERRORS = (
    RuntimeError, ValueError, OverflowError, IndexError, TypeError, OSError, SyntaxError,
    struct.error,
)  # fmt: skip
# Films were held against `max_pixels` before; Pillow's own limit would warn and then raise.
Image.MAX_IMAGE_PIXELS = None


def route_of(transfer_syntax_uid: str, halvings: int = 0) -> str:
    """The name of the route that decodes a transfer syntax, as it is recorded with each film."""
    if halvings:
        full = route_of(transfer_syntax_uid)
        codec = full if full == "imagecodecs.htj2k" else f"pillow.{full.rpartition('.')[2]}"
        return f"{codec}/{1 << halvings}"
    if transfer_syntax_uid in NATIVE:
        return "numpy"
    if transfer_syntax_uid == RLE:
        return "imagecodecs.dicomrle"
    if transfer_syntax_uid in JPEG_PROCESSES:
        sof = JPEG_PROCESSES[transfer_syntax_uid][0]
        return "imagecodecs.jpegls" if sof == 0xF7 else "imagecodecs.jpeg8"
    number = transfer_syntax_uid.rpartition(".")[2]
    return "imagecodecs.jpeg2k" if number in ("90", "91") else "imagecodecs.htj2k"


def possible_halvings(plan: FramePlan) -> int:
    """How often the codec itself can halve a film; 0 where only a full decode is sure.

    Padding is a value and not a brightness: halving would mix it into tissue. An overlay in the
    pixels likewise. Without a VOI a film is shown by its percentiles, and those of every pixel lie
    further apart than those of pixels whose noise is averaged away: by 2 % of the range. Signed
    codestreams and those that are not one plain tile are decoded in full, and so are those of few
    bits with the 5-3 wavelet: its rounding lifts a noisy film by half a stored value a halving,
    0.6 % of the range of 8 bits at 1/8, and of a narrow window far more.
    """
    stream = plan.codestream
    if stream is None or plan.values.voi is None:
        return 0
    if plan.values.padding is not None or plan.overlay_in_pixels:
        return 0
    if plan.signed or stream.signed or stream.precision_bits < 8:
        return 0
    if stream.reversible and stream.precision_bits <= _TOO_COARSE_BITS:
        return 0
    return stream.halvings


def halved_shape(rows: int, columns: int, halvings: int) -> tuple[int, int]:
    """Rows and columns of a film that its codec has halved so often."""
    return -(-rows >> halvings), -(-columns >> halvings)


def decode_frame(plan: FramePlan, halvings: int = 0) -> NDArray[Any]:
    """Decode a planned frame to its stored words, bits above High Bit not yet masked.

    Parameters
    ----------
    plan : FramePlan
    halvings : int
        How often the codec is to halve the frame; at most `possible_halvings`.

    Returns
    -------
    array of an 8- or 16-bit integer type, shape (rows, columns) or `halved_shape`

    Raises
    ------
    FilmError
        `corrupt_codestream`, `truncated`.
    MemoryError
        Not enough memory; the caller knows the limit.
    """
    shape = halved_shape(plan.rows, plan.columns, halvings)
    if plan.native is not None:
        dtype = _native_dtype(plan.bits_allocated, little_endian=plan.little_endian)
        return np.frombuffer(plan.native, dtype).reshape(shape)
    with _codec_errors():
        if plan.rle is not None:
            # imagecodecs gives the words in the byte order that it is asked for.
            dtype = _native_dtype(plan.bits_allocated, little_endian=True)
            frame = np.frombuffer(imagecodecs.dicomrle_decode(plan.rle, dtype), dtype)
            if frame.size < plan.rows * plan.columns:
                raise FilmError(FailureReason.TRUNCATED, "the RLE segments are too short")
            # A segment may be padded to an even length (PS3.5 G.4), by no more than one pixel.
            if frame.size > plan.rows * plan.columns + 1:
                raise FilmError(_CORRUPT, "the RLE segments are too long")
            return frame[: plan.rows * plan.columns].reshape(shape)
        assert plan.codestream is not None
        frame = decode_codestream(plan.codestream, plan.transfer_syntax_uid, halvings)
    if frame.shape != shape or frame.dtype.kind not in "iu" or frame.dtype.itemsize > 2:
        raise FilmError(_CORRUPT, "the decoder answered with another shape than the header's")
    return frame


def decode_codestream(
    stream: Codestream, transfer_syntax_uid: str, halvings: int = 0
) -> NDArray[Any]:
    """Decode a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream that was parsed and found whole."""
    if transfer_syntax_uid in JPEG_PROCESSES:
        if stream.sof == 0xF7:
            return np.asarray(imagecodecs.jpegls_decode(stream.data))
        return _decode_jpeg(stream)
    if route_of(transfer_syntax_uid) == "imagecodecs.htj2k":
        if halvings and stream.reversible and 8 < stream.precision_bits <= 14:
            return _decode_htj2k_halved(stream, halvings)
        # OpenJPH leaves an overshoot to wrap from white to black; OpenJPEG clips it.
        if not halvings and stream.reversible:
            return np.asarray(imagecodecs.htj2k_decode(stream.data))
    if halvings:
        return _decode_jpeg2000_halved(stream, halvings)
    return np.asarray(imagecodecs.jpeg2k_decode(stream.data, numthreads=1))


class _HalvedJpeg2000(Jpeg2KImageFile):
    """Pillow's reader, which leaves out resolutions but rounds odd sizes where JPEG 2000 ceils."""

    halvings = 0

    def load(self) -> Any:
        """Decode at the size of the resolution that is asked for."""
        if self.tile:
            columns, rows = self.size
            rows, columns = halved_shape(rows, columns, self.halvings)
            tile = self.tile[0]
            kind, _, *rest = cast(tuple[Any, ...], tile.args)
            self._size = (columns, rows)
            self.tile = [
                tile._replace(extents=(0, 0, columns, rows), args=(kind, self.halvings, *rest))
            ]
        return ImageFile.ImageFile.load(self)


def _decode_jpeg2000_halved(stream: Codestream, halvings: int) -> NDArray[Any]:
    with _HalvedJpeg2000(BytesIO(stream.data)) as image:
        image.halvings = halvings
        frame = np.asarray(image)
    if stream.precision_bits > 8:
        # Pillow shifts the values up to 16 bits.
        return frame >> (16 - stream.precision_bits)
    return frame


def _decode_htj2k_halved(stream: Codestream, halvings: int) -> NDArray[Any]:
    """OpenJPH, four times as fast as OpenJPEG; what it left to wrap in 16 bits is told and clipped.

    However sharp its edges, no low-pass band of the 5-3 wavelet overshoots by the whole range (by
    0.96 of it at most), so that up to 14 bits a negative value and one above the range cannot be
    taken for each other.
    """
    frame = np.asarray(imagecodecs.htj2k_decode(stream.data, skipres=halvings))
    frame[frame >= 1 << 15] = 0
    np.minimum(frame, (1 << stream.precision_bits) - 1, out=frame)
    return frame


def _decode_jpeg(stream: Codestream) -> NDArray[Any]:
    """Decode a Huffman-coded JPEG and find out whether its image data was too short or too long.

    libjpeg fills what is missing with mid-grey rows and ignores what is left over. So it is asked
    for a few rows more than there are: with whole data, the first of them (where the data ends) is
    made of leftover bits and the last is pure filling. A last one that is not means that data was
    left over. A first one that is may mean that the data ended too early, or by chance nothing
    (a film that ends in mid-grey); then junk is put behind the data, which changes the film itself
    only where the film still lacked data.
    """
    unit = 1 if stream.sof == 0xC3 else 8  # rows a row of MCUs; one component is not interleaved
    units_a_row = -(-stream.columns // unit)
    # The up to 7 bits that pad the last byte may still decode to as many units.
    extra = unit * (1 + -(-8 // units_a_row))
    padded_rows = -(-stream.rows // unit) * unit
    if padded_rows + extra > _MAX_JPEG_ROWS:
        raise FilmError(FailureReason.UNSUPPORTED_PIXELS, f"a JPEG of {stream.rows} rows")
    data = bytearray(stream.data)
    assert stream.rows_at is not None
    struct.pack_into(">H", data, stream.rows_at, padded_rows + extra)
    frame = np.asarray(imagecodecs.jpeg8_decode(data))
    if frame.shape != (padded_rows + extra, stream.columns):
        raise FilmError(_CORRUPT, "the JPEG decoder answered with another shape")
    filling = 1 << (stream.precision_bits - 1)
    film, probe = frame[: stream.rows], frame[padded_rows:]
    if not (probe[-unit:] == filling).all():
        raise FilmError(_CORRUPT, "the JPEG codestream holds more image data than its size needs")
    if (probe[:unit] == filling).all():
        end = data.rindex(b"\xff\xd9")
        again = np.asarray(imagecodecs.jpeg8_decode(data[:end] + _JUNK + data[end:]))
        if not np.array_equal(again[: stream.rows], film):
            raise FilmError(
                _CORRUPT, "the JPEG codestream holds less image data than its size needs"
            )
    return film


def _native_dtype(bits_allocated: int, *, little_endian: bool) -> np.dtype[Any]:
    if bits_allocated == 8:
        return np.dtype("u1")
    return np.dtype("<u2" if little_endian else ">u2")


@contextmanager
def _codec_errors() -> Iterator[None]:
    """Turn whatever a codec says against a codestream into a `FilmError`.

    imagecodecs' HTJ2K loses the decoder's exception ("Exception ignored in ...") and returns what
    it has; Python reports such an exception to `sys.unraisablehook`, which is listened to here.
    """
    lost: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda event: lost.append(event.exc_type.__name__)
    try:
        yield
    except MemoryError:
        raise
    except _CODEC_ERRORS as error:
        raise FilmError(_CORRUPT, f"the decoder refuses it ({type(error).__name__})") from None
    finally:
        sys.unraisablehook = before
    if lost:
        raise FilmError(_CORRUPT, f"the decoder stopped half-way ({lost[0]})")


@dataclass(frozen=True, slots=True)
class CodecSupport:
    """Whether one transfer syntax can be decoded here."""

    transfer_syntax_uid: str
    name: str
    decoder: str
    works: bool
    detail: str


_NAMES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline (8 bit)",
    "1.2.840.10008.1.2.4.51": "JPEG Extended (12 bit)",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless, First-Order Prediction",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-Lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}


def probe() -> list[CodecSupport]:
    """Decode a tiny image of each transfer syntax, for `vfscreen doctor`.

    Returns
    -------
    list of CodecSupport
        One a transfer syntax; `works` is false where the decoder is missing or answers wrongly.
    """
    return [_probe_one(uid, name) for uid, name in _NAMES.items()]


def _probe_one(uid: str, name: str) -> CodecSupport:
    route = route_of(uid)
    picture = np.add.outer(np.arange(16) * 256, np.arange(16) * 16).astype(np.uint16)
    if uid.endswith(".4.50"):
        picture = (picture >> 4).astype(np.uint8)
    tolerance = 16 if uid.endswith((".50", ".51", ".81", ".91", ".203")) else 0
    try:
        decoded = _round_trip(uid, picture)
        worst = int(np.abs(decoded.astype(np.int64) - picture).max())
    except (FilmError, ImportError, AttributeError, MemoryError, *_CODEC_ERRORS) as error:
        return CodecSupport(uid, name, route, False, f"{type(error).__name__}: {error}")
    works = decoded.shape == picture.shape and worst <= tolerance
    return CodecSupport(uid, name, route, works, "" if works else f"wrong by {worst}")


def _round_trip(uid: str, picture: NDArray[Any]) -> NDArray[Any]:
    """Encode and decode; the encoders come with the decoders."""
    if uid in NATIVE:
        return picture
    if uid == RLE:
        # PackBits (PS3.5 G.3): each row's high byte is one run of 16, the low bytes are literal.
        high = b"".join(bytes([257 - 16, row]) for row in range(16))
        low = b"".join(b"\x7f" + bytes(range(0, 256, 16)) * 8 for _ in range(2))
        data = struct.pack("<16I", 2, 64, 64 + len(high), *[0] * 13) + high + low
        words = imagecodecs.dicomrle_decode(data, np.dtype("<u2"))
        return np.frombuffer(words, "<u2").reshape(picture.shape)
    if uid in JPEG2000:
        lossless = uid.rpartition(".")[2] in ("90", "201", "202")
        encode = (
            imagecodecs.jpeg2k_encode
            if route_of(uid) == "imagecodecs.jpeg2k"
            else imagecodecs.htj2k_encode
        )
        options: dict[str, Any] = {"reversible": lossless}
        if encode is imagecodecs.jpeg2k_encode:
            options |= {"codecformat": "j2k", "level": 0 if lossless else 90}
        return decode_codestream(parse_jpeg2000(bytes(encode(picture, **options))), uid)
    sof = JPEG_PROCESSES[uid][0]
    if sof == 0xF7:
        data = bytes(imagecodecs.jpegls_encode(picture, level=2 if uid.endswith("81") else 0))
    elif sof == 0xC3:
        data = bytes(
            imagecodecs.jpeg8_encode(
                picture, lossless=True, predictor=6 if uid.endswith("57") else 1, bitspersample=12
            )
        )
    else:
        bits = 8 if picture.dtype == np.uint8 else 12
        data = bytes(imagecodecs.jpeg8_encode(picture, level=98, bitspersample=bits))
    return decode_codestream(parse_jpeg(data), uid)
