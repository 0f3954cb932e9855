"""Two ways of looking up, one answer."""

import numpy as np
import pytest

from vfscreen.imaging import lookup

# The stored bits of a word: its type, their shift and their number.
WORDS = [
    (dtype, shift, bits)
    for dtype in ("u1", "<u2", ">u2")
    for shift, bits in ((0, 8), (0, 12), (4, 12), (2, 10), (0, 16), (1, 7))
    if shift + bits <= 8 * np.dtype(dtype).itemsize
]


@pytest.mark.parametrize(("dtype", "shift", "bits"), WORDS)
def test_opencv_and_numpy_look_up_the_same(monkeypatch, dtype, shift, bits):
    width = 8 * np.dtype(dtype).itemsize
    random = np.random.default_rng(3)
    words = random.integers(0, 1 << width, (301, 217)).astype(dtype)
    table = random.integers(0, 1 << 16, 1 << bits).astype(np.uint16)
    plain = table[(words.astype(np.int64) >> shift) & ((1 << bits) - 1)]
    for wide in {lookup._HAS_WIDE_TABLES, False}:
        monkeypatch.setattr(lookup, "_HAS_WIDE_TABLES", wide)
        out = np.empty(words.shape, np.uint16)
        lookup.look_up(table, words, shift, bits, out)
        assert np.array_equal(out, plain)
        # Rows of a larger frame, read-only, as codecs give them.
        part = words[5:200]
        part.flags.writeable = False
        out = np.zeros((300, 217), np.uint16)
        lookup.look_up(table, part, shift, bits, out[:195])
        assert np.array_equal(out[:195], plain[5:200]) and not out[195:].any()
