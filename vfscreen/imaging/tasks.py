"""What goes into the decode pool and what comes out of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import FailureReason
from vfscreen.preprocessing import Preprocessing


class DecodeMode(StrEnum):
    """How a film is decoded."""

    REDUCED = "reduced"
    """By the fastest route, at the resolution that the network needs where the codec can do it."""
    FULL = "full"
    """By the fastest route, every pixel."""
    REFERENCE = "reference"
    """By the plain reference, to hold the others against."""
    CODESTREAM = "codestream"
    """Handed over undecoded where a GPU may decode it; as `REDUCED` where it may not."""


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One film to decode.

    `expected_size_bytes` (from the manifest) lets a file that has changed be noticed; `pixels`
    (rows x columns, from the manifest) lets its memory be reserved exactly.
    """

    index: int
    path: str
    preprocessing: Preprocessing
    expected_size_bytes: int | None = None
    pixels: int | None = None
    mode: DecodeMode = DecodeMode.FULL


@dataclass(frozen=True, slots=True)
class DecodedFilm:
    """A decoded film: `display` is uint16 (rows, columns), 0 black to 65535 white.

    `display` lies on shared memory, read-only, and holds the film until `DecodePool.release`.
    `region` is where the whole film lies in it: top, left, bottom, right in pixels of `display`.
    `voi_rule` says how the film is shown: `window`, `lut` or `percentile`. `read_s` and `decode_s`
    are the worker's seconds, `cpu_s` those of its processor over both.
    """

    index: int
    mode: DecodeMode
    display: NDArray[np.uint16] = field(repr=False)
    ticket: int
    region: tuple[float, float, float, float]
    route: str
    transfer_syntax_uid: str
    read_bytes: int
    read_s: float
    decode_s: float
    cpu_s: float
    voi_rule: str

    @property
    def memory_bytes(self) -> int:
        """Shared memory that the film holds."""
        return self.display.nbytes


@dataclass(frozen=True, slots=True)
class CodedFilm:
    """A film that was read and checked and is still to be decoded, by `gpu_decode`.

    `codestream` is uint8 (bytes,), whole and agreeing with the header; `table` uint16
    (2 ** bits,) holds the display value of each stored one. Both lie on shared memory, read-only,
    until `DecodePool.release`. The codestream decodes to `coded_rows` x `columns` stored values;
    `rows` of them are the film, and what follows tells whether a JPEG's data was whole.
    """

    index: int
    mode: DecodeMode
    codestream: NDArray[np.uint8] = field(repr=False)
    table: NDArray[np.uint16] = field(repr=False)
    ticket: int
    rows: int
    columns: int
    coded_rows: int
    precision_bits: int
    route: str
    transfer_syntax_uid: str
    read_bytes: int
    read_s: float
    decode_s: float
    cpu_s: float
    voi_rule: str

    @property
    def memory_bytes(self) -> int:
        """Shared memory that the film holds."""
        return self.codestream.nbytes + self.table.nbytes


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """A film that could not be decoded, and why; the message identifies nobody."""

    index: int
    mode: DecodeMode
    reason: FailureReason
    message: str
    transfer_syntax_uid: str | None


ReadyFilm = DecodedFilm | CodedFilm


def coded_film(
    index: int,
    mode: DecodeMode,
    words: NDArray[np.uint16],
    ticket: int,
    *,
    table_entries: int,
    codestream_bytes: int,
    **fields: Any,
) -> CodedFilm:
    """A film as `codestreams.hand_over` left it in memory: uint16 (1, words), table first."""
    table, data = words[0, :table_entries], words[0, table_entries:]
    codestream = data.view(np.uint8)[:codestream_bytes]
    return CodedFilm(index, mode, codestream, table, ticket, **fields)
