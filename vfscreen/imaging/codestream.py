"""What a codestream says about itself, read from its markers without decoding anything.

Two uses: the dimensions are compared with the header's before memory is allocated, and damage that
decoders pass over in silence is found. libjpeg answers a cut or shortened stream with a warning
that nobody sees and grey pixels; OpenJPH decodes a cut stream as if nothing were missing.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vfscreen.errors import FailureReason
from vfscreen.imaging.failure import FilmError

# In entropy-coded JPEG data FF is stuffed (FF00) or a restart marker; anything else ends the scan.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
# In JPEG-LS the byte after FF has its top bit clear (ITU-T T.87, A.1).
_END_OF_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])", re.DOTALL)
_SOF_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
# A block of a disk or of a transfer that was never written. No packet sequence of a radiograph
# has as many empty packets in a row.
_HOLE = bytes(4096)
# Coding style of a JPEG 2000 codestream, and of one of its components (ITU-T T.800, A.6).
_COD, _COC = b"\xff\x52", b"\xff\x53"


@dataclass(frozen=True, slots=True)
class Codestream:
    """One frame's codestream and what its markers say."""

    data: bytes
    rows: int
    columns: int
    components: int
    precision_bits: int
    signed: bool
    sof: int | None = None
    """The JPEG process: 0xC0 baseline, 0xC1 extended, 0xC3 lossless, 0xF7 JPEG-LS."""
    rows_at: int | None = None
    """Offset of the 16-bit number of lines in a JPEG frame header."""
    halvings: int = 0
    """How often JPEG 2000 can be decoded at half the size; 0 as well where it is not simple."""
    reversible: bool = False
    """JPEG 2000 with the 5-3 wavelet, so that a full decode cannot overshoot."""


def _corrupt(message: str) -> FilmError:
    return FilmError(FailureReason.CORRUPT_CODESTREAM, message)


def _truncated(message: str) -> FilmError:
    return FilmError(FailureReason.TRUNCATED, message)


def parse_jpeg(data: bytes) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS codestream and check that it is whole.

    Raises
    ------
    FilmError
        Not a JPEG codestream, cut short, or with restart markers missing.
    """
    if data[:2] != b"\xff\xd8":
        raise _corrupt("the codestream does not begin as JPEG does")
    sof: tuple[int, int, int, int, int, int] | None = None
    restart_interval = 0
    position = 2
    while True:
        if position + 4 > len(data):
            raise _truncated("the JPEG codestream ends inside its headers")
        if data[position] != 0xFF:
            raise _corrupt("the JPEG codestream has bytes between its segments")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xD9:
            raise _corrupt("the JPEG codestream ends without image data")
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position + 4 : position + 2 + length]
        if marker in _SOF_MARKERS and sof is None:
            if len(segment) < 6:
                raise _corrupt("the JPEG frame header is too short")
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
            sof = (marker, precision, rows, columns, components, position + 5)
        elif marker == 0xDD and len(segment) == 2:
            (restart_interval,) = struct.unpack(">H", segment)
        position += 2 + length
        if marker == 0xDA:
            break
    if sof is None:
        raise _corrupt("the JPEG codestream has no frame header")
    marker, precision, rows, columns, components, rows_at = sof
    _check_scan(data, position, marker, rows, columns, restart_interval)
    return Codestream(data, rows, columns, components, precision, False, marker, rows_at)


def _check_scan(
    data: bytes, start: int, sof: int, rows: int, columns: int, restart_interval: int
) -> None:
    """The one scan of a grey JPEG ends in EOI, has all its restart markers, and nothing follows."""
    pattern = _END_OF_LS_SCAN if sof == 0xF7 else _END_OF_SCAN
    end = pattern.search(data, start)
    if end is None:
        raise _truncated("the JPEG codestream ends without its end marker")
    if data[end.start() + 1] != 0xD9:
        raise _corrupt("the JPEG codestream has a marker inside its image data")
    if data[end.end() :].strip(b"\x00\xff"):
        raise _corrupt("bytes follow the end of the JPEG codestream")
    if restart_interval and sof in (0xC0, 0xC1, 0xC3):
        units = rows * columns if sof == 0xC3 else -(-rows // 8) * -(-columns // 8)
        markers = [m[1][0] - 0xD0 for m in _RESTART.finditer(data, start, end.start())]
        expected = -(-units // restart_interval) - 1
        if len(markers) != expected or any(m != i % 8 for i, m in enumerate(markers)):
            raise _corrupt("the JPEG codestream lacks some of its restart markers")


def parse_jpeg2000(data: bytes) -> Codestream:
    """Read the SIZ marker of a JPEG 2000 or HTJ2K codestream and check that it is whole.

    A JP2 box around the codestream is not conformant in DICOM (PS3.5 8.2.4) but exists; it is
    taken off. A missing end-of-codestream marker is added where every tile-part is complete.

    Raises
    ------
    FilmError
        Not a JPEG 2000 codestream, cut short, or with a hole in it.
    """
    if data[:12] == b"\x00\x00\x00\x0cjP  \r\n\x87\n":
        box = data.find(b"jp2c")
        data = data[box + 4 :] if box >= 0 else b""
        if data[:4] != b"\xff\x4f\xff\x51":  # an extended box length of 8 bytes
            data = data[8:]
    if data[:4] != b"\xff\x4f\xff\x51":
        raise _corrupt("the codestream does not begin as JPEG 2000 does")
    if len(data) < 43:
        raise _truncated("the JPEG 2000 codestream ends inside its headers")
    x1, y1, x0, y0 = struct.unpack_from(">IIII", data, 8)
    components, depth, dx, dy = struct.unpack_from(">HBBB", data, 40)
    if x1 <= x0 or y1 <= y0 or dx != 1 or dy != 1:
        raise _corrupt("the JPEG 2000 codestream has an impossible or subsampled size")
    _check_tiles(x1, y1, x0, y0, *struct.unpack_from(">IIII", data, 24))
    end = _last_tile_part(data)
    if data.find(_HOLE, 0, end) >= 0:
        raise _corrupt("the JPEG 2000 codestream has a hole of zeros in it")
    whole = data if data[end : end + 2] == b"\xff\xd9" else data[:end] + b"\xff\xd9"
    halvings, reversible = _coding(data)
    return Codestream(
        whole, y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, bool(depth & 0x80),
        halvings=halvings, reversible=reversible,
    )  # fmt: skip


def _check_tiles(
    x1: int, y1: int, x0: int, y0: int, columns: int, rows: int, left: int, top: int
) -> None:
    """The first tile holds the film's corner, and tiles can be numbered (ITU-T T.800, B.3, A.4.2).

    OpenJPH goes through an impossible grid for minutes.
    """
    if not (columns and rows and left <= x0 < left + columns and top <= y0 < top + rows):
        raise _corrupt("the JPEG 2000 codestream has an impossible grid of tiles")
    if -(-(x1 - left) // columns) * -(-(y1 - top) // rows) > 65535:
        raise _corrupt("the JPEG 2000 codestream has more tiles than can be numbered")


def _coding(data: bytes) -> tuple[int, bool]:
    """Decompositions of a codestream that is one tile from the origin, and whether it is 5-3.

    Then sample i of the codestream halved r times lies over sample i * 2 ** r of the whole. With
    an offset, several tiles, or coding set otherwise for a component or a tile, that takes more
    care than such rare films are worth: they are decoded in full, as what may overshoot.
    """
    x1, y1, x0, y0, tile_columns, tile_rows, tile_x0, tile_y0 = struct.unpack_from(">8I", data, 8)
    plain = not (x0 or y0 or tile_x0 or tile_y0) and tile_columns >= x1 and tile_rows >= y1
    tile_part = _tile_part(data)
    main = dict(_segments(data, 2, b"\xff\x90"))
    tile = dict(_segments(data, tile_part + 12, b"\xff\x93"))
    coding = main.get(_COD, b"")
    if _COC in main or _COD in tile or _COC in tile or len(coding) < 10 or coding[5] > 32:
        return 0, False
    return (coding[5] if plain else 0), coding[9] == 1


def _segments(data: bytes, position: int, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Marker and content of each segment up to a marker; stops where none can be."""
    while (marker := data[position : position + 2]) != end and position + 4 <= len(data):
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker[:1] != b"\xff" or length < 2:
            return
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + length


def _tile_part(data: bytes) -> int:
    """The offset of the first tile-part."""
    position = 2
    while data[position : position + 2] != b"\xff\x90":
        if position + 4 > len(data):
            raise _truncated("the JPEG 2000 codestream ends inside its headers")
        if data[position] != 0xFF:
            raise _corrupt("the JPEG 2000 codestream has bytes between its segments")
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return position


def _last_tile_part(data: bytes) -> int:
    """Walk the tile-parts (ITU-T T.800, A.4.2) and return the offset just after the last one."""
    position = _tile_part(data)
    while data[position : position + 2] == b"\xff\x90":
        if position + 12 > len(data):
            raise _truncated("the JPEG 2000 codestream ends inside a tile header")
        (length,) = struct.unpack_from(">I", data, position + 6)
        if length == 0:  # the last tile-part may say: until the end of the codestream
            end = data.rfind(b"\xff\xd9")
            if end < position:
                raise _truncated("the JPEG 2000 codestream ends without its end marker")
            return end
        if length < 14:
            raise _corrupt("the JPEG 2000 codestream has a tile-part of an impossible length")
        position += length
        if position > len(data):
            raise _truncated("the JPEG 2000 codestream ends inside a tile")
    rest = data[position:]
    if rest[:2] != b"\xff\xd9" and rest.strip(b"\x00"):
        raise _corrupt("the JPEG 2000 codestream has bytes between its tiles")
    return position
