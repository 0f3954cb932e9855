"""Codestreams of phantom films: exact where lossless, close where not, of the stated precision."""

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from phantom_reader import stored_values
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.uid import UID

from vfscreen.phantom.encode import (
    ENCAPSULATED,
    LOSSY,
    TRANSFER_SYNTAXES,
    encode_codestream,
    pixel_data,
)


def frame(bits: int, shape: tuple[int, int] = (131, 97)) -> NDArray[np.unsignedinteger]:
    rng = np.random.default_rng(bits)
    y, x = np.mgrid[: shape[0], : shape[1]]
    top = (1 << bits) - 1
    noisy = top * (0.5 + 0.45 * np.sin(x / 19 + y / 31)) + rng.normal(0, top / 300, shape)
    noisy[0, :2] = 0, top
    return np.clip(noisy, 0, top).astype(np.uint8 if bits <= 8 else np.uint16)


def bits_of(syntax: UID) -> tuple[int, ...]:
    if syntax == uid.JPEGBaseline8Bit:
        return (8,)
    return (12,) if syntax == uid.JPEGExtended12Bit else (8, 10, 12, 14, 15, 16)


CASES = [(syntax, bits) for syntax in TRANSFER_SYNTAXES for bits in bits_of(syntax)]


@pytest.mark.parametrize(("syntax", "bits"), CASES)
@pytest.mark.parametrize("fragments", [1, 3])
def test_what_is_decoded_is_what_was_stored(syntax: UID, bits: int, fragments: int) -> None:
    values = frame(bits)
    ds = Dataset()
    ds.file_meta = Dataset()  # type: ignore[assignment]
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Rows, ds.Columns = values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = values.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = 0
    ds.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    data = pixel_data(values, syntax, bits, fragments=fragments, offset_table=fragments == 3)
    assert len(data) % 2 == 0
    ds.add_new("PixelData", "OB" if syntax.is_encapsulated or bits == 8 else "OW", data)
    error = np.abs(stored_values(ds).astype(np.int64) - values.astype(np.int64)).max()
    # Lossy: JPEG of quality 95 strays some 10 grey levels of 4095 in the noise.
    assert error == 0 if syntax not in LOSSY else error <= max(3, 0.06 * (1 << bits))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_htj2k_carries_the_precision_of_the_film(bits: int) -> None:
    values = frame(bits)
    stream = encode_codestream(values, uid.HTJ2KLossless, bits)
    assert stream[42] + 1 == bits
    np.testing.assert_array_equal(imagecodecs.htj2k_decode(stream), values)
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(stream), values)


@pytest.mark.parametrize(("syntax", "predictor"), [(uid.JPEGLossless, 6), (uid.JPEGLosslessSV1, 1)])
def test_jpeg_lossless_uses_the_predictor_that_its_syntax_allows(
    syntax: UID, predictor: int
) -> None:
    stream = encode_codestream(frame(12), syntax, 12)
    assert b"\xff\xc3" in stream, "process 14 is SOF3"
    scan = stream.index(b"\xff\xda")
    assert stream[scan + 7] == predictor


def test_every_encapsulated_syntax_compresses_a_film() -> None:
    values = frame(12, (400, 300))
    for syntax in ENCAPSULATED:
        bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
        assert len(encode_codestream(values if bits == 12 else frame(8, (400, 300)), syntax, bits))
