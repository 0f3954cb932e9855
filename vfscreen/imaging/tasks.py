"""What goes into the decode pool and what comes out of it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import FailureReason
from vfscreen.preprocessing import Preprocessing


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


@dataclass(frozen=True, slots=True)
class DecodedFilm:
    """A decoded film: `display` is uint16 (rows, columns), 0 black to 65535 white.

    `display` lies on shared memory, read-only, and holds the film until `DecodePool.release`.
    `voi_rule` says how the film is shown: `window`, `lut` or `percentile`.
    """

    index: int
    display: NDArray[np.uint16] = field(repr=False)
    route: str
    transfer_syntax_uid: str
    read_bytes: int
    decode_s: float
    voi_rule: str
    ticket: int


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """A film that could not be decoded, and why; the message identifies nobody."""

    index: int
    reason: FailureReason
    message: str
    transfer_syntax_uid: str | None
