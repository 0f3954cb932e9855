"""A lookup table over a frame: by OpenCV where it knows tables of 16 bits, else by NumPy.

OpenCV needs a third of the time (1.8 against 5.4 ms for 2400 x 2400), since NumPy widens every
index to 64 bits first. It is no requirement: grad-cam brings it, and some of its builds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import cv2

    cv2.setNumThreads(1)  # a worker is one core's
except ImportError:
    cv2 = None  # type: ignore[assignment]

# About 256 KB of stored and display values at a time stay in the core's cache: twice as fast as
# the whole film in one go (4.5 against 9.6 ms for 2400 x 2400).
_PIXELS_AT_A_TIME = 1 << 16


def row_blocks(words: NDArray[Any]) -> list[slice]:
    """The rows of a frame in blocks that stay in a core's cache."""
    rows = max(1, _PIXELS_AT_A_TIME // words.shape[1])
    return [slice(start, start + rows) for start in range(0, words.shape[0], rows)]


def patterns(words: NDArray[Any], shift: int, bits: int) -> NDArray[Any]:
    """The `bits` bits of each unsigned word from `shift` on."""
    if shift == 0 and bits >= 8 * words.dtype.itemsize:
        return words
    return (words >> shift) & ((1 << bits) - 1)


def look_up(
    table: NDArray[np.uint16], words: NDArray[Any], shift: int, bits: int, out: NDArray[np.uint16]
) -> None:
    """Write the table's entry of each word's pattern to `out`.

    Parameters
    ----------
    table : uint16 array, length 2 ** bits
    words : array of an unsigned type of 8 or 16 bits, shape (rows, columns), any byte order
    shift, bits : int
        Which bits of a word are its pattern.
    out : uint16 array, shape (rows, columns), contiguous
    """
    if _HAS_WIDE_TABLES and words.dtype.isnative and words.flags.c_contiguous:
        every = np.arange(1 << (8 * words.dtype.itemsize), dtype=words.dtype)
        # One entry a word, so that no pass over the film takes its bits apart.
        shown = cv2.LUT(words, table[patterns(every, shift, bits)][np.newaxis], out)
        if not np.shares_memory(shown, out):
            out[:] = shown
        return
    for block in row_blocks(words):
        # Every pattern has an entry; `clip` only spares the check.
        np.take(table, patterns(words[block], shift, bits), out=out[block], mode="clip")


def _has_wide_tables() -> bool:
    """Whether this OpenCV looks up 16 bits in 16 bits, and rightly."""
    if cv2 is None:
        return False
    words = np.array([[0, 1, 32768, 65535]], np.uint16)
    table = np.arange(65536, dtype=np.uint16)[::-1].copy()
    try:
        return bool((cv2.LUT(words, table[np.newaxis]) == 65535 - words).all())
    except cv2.error:
        return False


_HAS_WIDE_TABLES = _has_wide_tables()
