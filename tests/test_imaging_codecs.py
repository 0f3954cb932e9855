"""Every transfer syntax: lossless ones bit by bit, lossy ones within a bound, damage noticed."""

import struct
from pathlib import Path
from typing import Any

import dicom_films as films
import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_films import anatomy, encode, film, write
from numpy.typing import NDArray
from pydicom.pixels import get_decoder

from vfscreen.errors import FailureReason
from vfscreen.imaging.codecs import probe
from vfscreen.imaging.decode import stored_patterns
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits, read_film


def decoded(path: str) -> NDArray[np.int64]:
    """Stored values as the fast path sees them."""
    plan = read_film(path, DecodeLimits())
    words, shift, bits = stored_patterns(plan)
    values = (words.astype(np.int64) >> shift) & ((1 << bits) - 1)
    return values - ((values >> (bits - 1)) << bits) if plan.signed else values


def failure(path: str) -> FailureReason:
    with pytest.raises(FilmError) as caught:
        decoded(path)
    assert "Taint" not in caught.value.message
    return caught.value.reason


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("syntax", films.LOSSLESS)
def test_lossless_is_bit_exact(tmp_path: Path, syntax: str, bits: int) -> None:
    stored = anatomy(bits=bits)
    path = write(film(stored, syntax, bits_stored=bits), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)
    if get_decoder(pydicom.uid.UID(syntax)).is_available:
        assert np.array_equal(decoded(path), pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize("syntax", films.LOSSLESS)
def test_lossless_signed_is_bit_exact(tmp_path: Path, syntax: str) -> None:
    stored = anatomy(bits=12).astype(np.int16) - 2048
    path = write(film(stored, syntax, bits_stored=12), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)
    if get_decoder(pydicom.uid.UID(syntax)).is_available:
        assert np.array_equal(decoded(path), pydicom.dcmread(path).pixel_array)


def test_signed_values_in_a_wider_codestream(tmp_path: Path) -> None:
    """12 signed bits in a codestream of 16 that are not sign-extended: bit 11 is the sign.

    PS3.5 8.1.1; pydicom 3.0 reads these as positive.
    """
    stored = anatomy(bits=12).astype(np.int16) - 2048
    codestream = encode((stored & 0xFFF).astype(np.uint16), films.JPEG_LS, bits=16)
    path = write(film(stored, films.JPEG_LS, codestream=codestream), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


@pytest.mark.parametrize("pattern", ["noise", "steps", "flat_bottom"])
@pytest.mark.parametrize("syntax", [s for s in films.LOSSLESS if s not in films.NATIVE])
def test_lossless_extremes(tmp_path: Path, syntax: str, pattern: str) -> None:
    """Full-range noise, the largest steps, and a film whose lower half is collimated away."""
    random = np.random.default_rng(1)
    stored = random.integers(0, 65536, (61, 77)).astype(np.uint16)
    if pattern == "steps":
        stored = np.where(stored & 1, 65535, 0).astype(np.uint16)
    if pattern == "flat_bottom":
        stored[20:] = 0
    path = write(film(stored, syntax, bits_stored=16), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (3, 3), (64, 48)])
def test_jpeg_lossless_predictors_agree_with_a_second_decoder(
    predictor: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    stored = np.random.default_rng(2).integers(0, 4096, shape).astype(np.uint16)
    codestream = bytes(
        imagecodecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=12)
    )
    path = write(film(stored, films.JPEG_LOSSLESS, codestream=codestream), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)
    assert np.array_equal(decoded(path), imagecodecs.jpegsof3_decode(codestream))


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("syntax", [films.JPEG_8, films.JPEG_12, films.JPEG_LOSSLESS_SV1])
def test_jpegs_that_end_in_mid_grey_are_whole(tmp_path: Path, syntax: str, columns: int) -> None:
    """What libjpeg fills missing rows with is also what a film may end in."""
    bits = 8 if syntax == films.JPEG_8 else 12
    for flat_rows in (0, 1, 8, 16, 40):
        stored = anatomy(rows=60, columns=columns, bits=bits)
        stored[60 - flat_rows :] = 1 << (bits - 1)
        path = write(film(stored, syntax, bits_stored=bits), tmp_path / "film")
        bound = 0 if syntax == films.JPEG_LOSSLESS_SV1 else 40
        assert np.abs(decoded(path) - stored.astype(int)).max() <= bound


def test_signed_jpeg_that_ends_in_its_lowest_value(tmp_path: Path) -> None:
    stored = anatomy(bits=12).astype(np.int16)
    stored[60:] = -32768
    path = write(film(stored, films.JPEG_LOSSLESS, bits_stored=16), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


def test_htj2k_agrees_with_a_second_decoder(tmp_path: Path) -> None:
    stored = anatomy(bits=12)
    codestream = encode(stored, films.HTJ2K)
    path = write(film(stored, films.HTJ2K, codestream=codestream), tmp_path / "film")
    second = imagecodecs.jpeg2k_decode(codestream).astype(int)  # OpenJPEG, ours is OpenJPH
    assert np.abs(decoded(path) - second).max() <= 1


@pytest.mark.parametrize(
    ("syntax", "bits", "bound"),
    [
        (films.JPEG_8, 8, 6),
        (films.JPEG_12, 12, 24),
        (films.JPEG_LS_NEAR, 12, 2),
        (films.JPEG_2000, 12, 24),
        (films.HTJ2K, 12, 8),
    ],
)
def test_lossy_stays_near_what_was_encoded(
    tmp_path: Path, syntax: str, bits: int, bound: int
) -> None:
    stored = anatomy(bits=bits)
    path = write(film(stored, syntax, bits_stored=bits), tmp_path / "film")
    assert np.abs(decoded(path) - stored.astype(int)).max() <= bound


@pytest.mark.parametrize(
    ("syntax", "bits"), [(films.JPEG_8, 8), (films.JPEG_LS_NEAR, 12), (films.JPEG_2000, 12)]
)
def test_lossy_agrees_with_pydicom(tmp_path: Path, syntax: str, bits: int) -> None:
    path = write(film(anatomy(bits=bits), syntax, bits_stored=bits), tmp_path / "film")
    difference = np.abs(decoded(path) - pydicom.dcmread(path).pixel_array.astype(int))
    assert difference.max() <= 1  # the inverse DCT may round differently


def test_bits_above_the_stored_ones_are_masked(tmp_path: Path) -> None:
    stored = anatomy(bits=12)
    overlaid = stored | np.uint16(0x8000) * (np.indices(stored.shape).sum(0) % 2).astype(np.uint16)
    path = write(film(overlaid), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


def test_high_bit_may_lie_above_the_stored_ones(tmp_path: Path) -> None:
    stored = anatomy(bits=12)
    path = write(film(stored << 4, films.EXPLICIT, HighBit=15), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


def test_lossy_overshoot_does_not_wrap(tmp_path: Path) -> None:
    """BitsStored 10, but the 12-bit codestream has values above 1023: white stays white."""
    stored = anatomy(bits=12)
    codestream = encode(stored, films.JPEG_12)
    path = write(film(stored, films.JPEG_12, bits_stored=10, codestream=codestream), tmp_path / "f")
    assert np.abs(decoded(path) - stored.astype(int)).max() <= 24


def test_unsigned_codestream_of_signed_values(tmp_path: Path) -> None:
    stored = anatomy(bits=12).astype(np.int16) - 2048
    codestream = encode((stored & 0xFFF).astype(np.uint16), films.JPEG_2000_LOSSLESS)
    path = write(film(stored, films.JPEG_2000_LOSSLESS, codestream=codestream), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)
    assert np.array_equal(decoded(path), pydicom.dcmread(path).pixel_array)


def test_a_frame_in_several_fragments(tmp_path: Path) -> None:
    stored = anatomy(bits=12)
    path = write(film(stored, films.JPEG_LOSSLESS_SV1, fragments=5), tmp_path / "film")
    assert np.array_equal(decoded(path), stored)


def test_an_odd_number_of_bytes(tmp_path: Path) -> None:
    stored = anatomy(rows=31, columns=29, bits=8)
    for syntax in (films.EXPLICIT, films.BIG_ENDIAN, films.RLE, films.JPEG_LS):
        path = write(film(stored, syntax, bits_stored=8), tmp_path / "film")
        assert np.array_equal(decoded(path), stored)


def test_eight_bits_in_big_endian_words(tmp_path: Path) -> None:
    stored = anatomy(rows=31, columns=29, bits=8)
    dataset = film(stored, films.BIG_ENDIAN, bits_stored=8)
    pairs = np.frombuffer(dataset.PixelData, np.uint8).reshape(-1, 2)
    dataset.PixelData = pairs[:, ::-1].tobytes()
    dataset["PixelData"].VR = "OW"
    path = write(dataset, tmp_path / "film")
    assert np.array_equal(decoded(path), stored)
    assert np.array_equal(decoded(path), pydicom.dcmread(path).pixel_array)


# ---------------------------------------------------------------------------------- damage


COMPRESSED = [
    films.RLE, films.JPEG_8, films.JPEG_12, films.JPEG_LOSSLESS, films.JPEG_LOSSLESS_SV1,
    films.JPEG_LS, films.JPEG_LS_NEAR, films.JPEG_2000_LOSSLESS, films.JPEG_2000,
    films.HTJ2K_LOSSLESS,
]  # fmt: skip
DAMAGED = {FailureReason.CORRUPT_CODESTREAM, FailureReason.TRUNCATED}


def big_film(syntax: str) -> tuple[NDArray[Any], bytes, int]:
    bits = 8 if syntax == films.JPEG_8 else 12
    stored = anatomy(rows=400, columns=300, bits=bits)
    return stored, encode(stored, syntax, bits=bits), bits


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_cut_codestream_is_noticed(tmp_path: Path, syntax: str, kept: float) -> None:
    stored, codestream, bits = big_film(syntax)
    cut = codestream[: int(len(codestream) * kept)]
    cut += b"\0" * (len(cut) % 2)
    path = write(film(stored, syntax, bits_stored=bits, codestream=cut), tmp_path / "film")
    assert failure(path) in DAMAGED


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_cut_codestream_with_an_end_marker_is_noticed(tmp_path: Path, syntax: str) -> None:
    """What a transfer program leaves that "repairs" the end."""
    stored, codestream, bits = big_film(syntax)
    cut = codestream[: len(codestream) * 7 // 10] + b"\xff\xd9"
    path = write(film(stored, syntax, bits_stored=bits, codestream=cut), tmp_path / "film")
    assert failure(path) in DAMAGED


@pytest.mark.parametrize("syntax", [s for s in COMPRESSED if s != films.RLE])
def test_a_codestream_with_a_missing_middle_is_noticed(tmp_path: Path, syntax: str) -> None:
    stored, codestream, bits = big_film(syntax)
    middle = len(codestream) // 2
    holed = codestream[:middle] + codestream[middle + len(codestream) // 5 :]
    path = write(film(stored, syntax, bits_stored=bits, codestream=holed), tmp_path / "film")
    assert failure(path) in DAMAGED


@pytest.mark.parametrize("syntax", [films.JPEG_12, films.JPEG_LOSSLESS])
def test_a_cut_film_that_ended_in_mid_grey_is_noticed(tmp_path: Path, syntax: str) -> None:
    stored = anatomy(rows=400, columns=300)
    stored[350:] = 2048
    codestream = encode(stored, syntax)
    cut = codestream[: len(codestream) // 2] + b"\xff\xd9"
    path = write(film(stored, syntax, codestream=cut), tmp_path / "film")
    assert failure(path) is FailureReason.CORRUPT_CODESTREAM


@pytest.mark.parametrize("syntax", [films.JPEG_12, films.JPEG_LOSSLESS, films.JPEG_LOSSLESS_SV1])
def test_too_much_image_data_is_noticed(tmp_path: Path, syntax: str) -> None:
    """The frame header's height was changed with the DICOM header's: rows are missing."""
    stored, codestream, _ = big_film(syntax)
    at = codestream.index(struct.pack(">HH", *stored.shape))
    shorter = codestream[:at] + struct.pack(">H", 300) + codestream[at + 2 :]
    path = write(film(stored, syntax, codestream=shorter, Rows=300), tmp_path / "film")
    assert failure(path) is FailureReason.CORRUPT_CODESTREAM


@pytest.mark.parametrize("syntax", [films.JPEG_2000_LOSSLESS, films.HTJ2K_LOSSLESS])
def test_a_disk_block_of_zeros_is_noticed(tmp_path: Path, syntax: str) -> None:
    stored, codestream, bits = big_film(syntax)
    middle = len(codestream) // 2
    holed = codestream[:middle] + bytes(4096) + codestream[middle + 4096 :]
    path = write(film(stored, syntax, bits_stored=bits, codestream=holed), tmp_path / "film")
    assert failure(path) is FailureReason.CORRUPT_CODESTREAM


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_garbage_is_refused(tmp_path: Path, syntax: str) -> None:
    stored, _, bits = big_film(syntax)
    garbage = np.random.default_rng(3).bytes(5000)
    path = write(film(stored, syntax, bits_stored=bits, codestream=garbage), tmp_path / "film")
    assert failure(path) in DAMAGED


@pytest.mark.parametrize("syntax", [s for s in COMPRESSED if s != films.RLE])
def test_a_codestream_of_other_dimensions_is_refused(tmp_path: Path, syntax: str) -> None:
    stored, codestream, bits = big_film(syntax)
    path = write(
        film(stored, syntax, bits_stored=bits, codestream=codestream, Columns=299),
        tmp_path / "film",
    )
    assert failure(path) is FailureReason.DIMENSIONS_DISAGREE


@pytest.mark.parametrize("syntax", [films.JPEG_8, films.JPEG_LOSSLESS, films.JPEG_2000_LOSSLESS])
def test_a_claimed_60000_by_60000_codestream_costs_nothing(tmp_path: Path, syntax: str) -> None:
    stored, codestream, bits = big_film(syntax)
    form = ">II" if syntax == films.JPEG_2000_LOSSLESS else ">HH"
    size = stored.shape[::-1] if form == ">II" else stored.shape
    huge = codestream.replace(struct.pack(form, *size), struct.pack(form, 60000, 60000), 1)
    assert huge != codestream
    path = write(film(stored, syntax, bits_stored=bits, codestream=huge), tmp_path / "film")
    assert failure(path) is FailureReason.DIMENSIONS_DISAGREE
    path = write(
        film(stored, syntax, bits_stored=bits, codestream=huge, Rows=60000, Columns=60000),
        tmp_path / "film",
    )
    assert failure(path) is FailureReason.TOO_MANY_PIXELS


def test_a_mislabelled_codestream_is_refused(tmp_path: Path) -> None:
    stored = anatomy(bits=12)
    codestream = encode(stored, films.JPEG_12)
    path = write(film(stored, films.JPEG_LOSSLESS, codestream=codestream), tmp_path / "film")
    assert failure(path) is FailureReason.CORRUPT_CODESTREAM


def test_doctor_finds_every_decoder_working() -> None:
    supports = probe()
    assert len(supports) == 16
    assert [s for s in supports if not s.works] == []
