"""Films for a GPU's decoders: which they may have, and how a worker hands one to its parent.

The worker reads and checks a film as it does any other; what crosses the shared memory is then the
lookup table and behind it the codestream, in place of display values. `gpu_decode.py` takes both.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.imaging.frames import JPEG2000, DecodeLimits, FramePlan, read_film
from vfscreen.imaging.values import display_table
from vfscreen.preprocessing import Preprocessing

ROUTE = "nvimagecodec"
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
GPU_SYNTAXES = frozenset({_JPEG_BASELINE, *JPEG2000})
"""Transfer syntaxes of which a GPU may have films. Never JPEG lossless: nvJPEG of CUDA 12 answers
some of it with zeros and without an error."""
# A row of MCUs of grey JPEG, and what is left under the 16 bits of its number of lines.
_MCU_PX = 8
_MAX_JPEG_ROWS = 65500


def gpu_may_decode(plan: FramePlan) -> bool:
    """Whether a GPU may decode a film: unsigned, 8 to 16 bits, and shown by window or LUT.

    A film without either is shown by its own percentiles, which need its values first.
    """
    stream = plan.codestream
    if stream is None or plan.signed or stream.signed or plan.overlay_in_pixels:
        return False
    if plan.values.voi is None:
        return False
    if plan.transfer_syntax_uid in JPEG2000:
        return 8 <= stream.precision_bits <= 16
    return (
        plan.transfer_syntax_uid == _JPEG_BASELINE
        and stream.sof == 0xC0
        and stream.precision_bits == 8
        and probed_rows(plan.rows, plan.columns) <= _MAX_JPEG_ROWS
    )


def probed_rows(rows: int, columns: int) -> int:
    """Rows that a JPEG is said to have, so that its decoder shows where the data ended.

    As in `codecs.py`: of the rows of MCUs that are added, the first is made of the bits that pad
    the last byte, the last one is pure filling.
    """
    units_a_row = -(-columns // _MCU_PX)
    return _MCU_PX * (-(-rows // _MCU_PX) + 1 - (-8 // units_a_row))


def hand_over(
    path: bytes,
    spec: Preprocessing,
    limits: DecodeLimits,
    expected_size_bytes: int | None,
    allocate: Callable[[tuple[int, int]], NDArray[np.uint16]],
) -> dict[str, Any] | None:
    """Read and check a film, and put its table and codestream into memory.

    Parameters
    ----------
    path, spec, limits, expected_size_bytes
        As for `decode_film`.
    allocate : callable
        Gives the array of a shape; asked for (1, words).

    Returns
    -------
    dict or None
        The worker's answer, from which `coded_film` is made; None where the film is to be decoded
        here, also for lack of memory: what that means is the decoder's to say.

    Raises
    ------
    FilmError
        The film failed.
    """
    try:
        plan = read_film(path, limits, expected_size_bytes=expected_size_bytes)
        if not gpu_may_decode(plan):
            return None
        return _pack(plan, spec, allocate)
    except MemoryError:
        return None


def _pack(
    plan: FramePlan, spec: Preprocessing, allocate: Callable[[tuple[int, int]], NDArray[np.uint16]]
) -> dict[str, Any]:
    stream = plan.codestream
    assert stream is not None
    # As `stored_patterns` has it for unsigned codestreams: every value that can come is an entry.
    bits = max(plan.bits_stored, stream.precision_bits)
    table = display_table(plan.values, bits=bits, signed=False, histogram=_no_histogram, spec=spec)
    coded_rows = plan.rows
    data = stream.data
    if stream.rows_at is not None:
        coded_rows = probed_rows(plan.rows, plan.columns)
        patched = bytearray(data)
        struct.pack_into(">H", patched, stream.rows_at, coded_rows)
        data = bytes(patched)
    words = allocate((1, len(table) + -(-len(data) // 2)))[0]
    words[: len(table)] = table
    words[len(table) :].view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    return {
        "shape": (1, len(words)),
        "codestream_bytes": len(data),
        "table_entries": len(table),
        "rows": plan.rows,
        "columns": plan.columns,
        "coded_rows": coded_rows,
        "precision_bits": stream.precision_bits,
        "route": ROUTE,
        "transfer_syntax_uid": plan.transfer_syntax_uid,
        "read_bytes": plan.file_bytes,
        "voi_rule": plan.values.voi_rule,
        "read_s": plan.read_s,
    }


def _no_histogram() -> NDArray[np.int64]:
    raise AssertionError("a film without a VOI is not for the GPU")
