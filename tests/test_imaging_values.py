"""The fused table against pydicom and plain float64 arithmetic, one situation a test."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_films import BIG_ENDIAN, EXPLICIT, IMPLICIT, anatomy, film, lut_item, write
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from vfscreen.errors import FailureReason
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.reference import reference_display
from vfscreen.preprocessing import Preprocessing

ROUNDING = 0.5 / 65535 + 1e-9


def shown(dataset: Dataset, folder: Path) -> NDArray[np.uint16]:
    return decode_film(write(dataset, folder / "film")).display


def assert_as_reference(dataset: Dataset, folder: Path) -> NDArray[np.uint16]:
    display = shown(dataset, folder)
    reference = reference_display(pydicom.dcmread(folder / "film"))
    assert np.abs(display / 65535 - reference).max() <= ROUNDING
    assert display.max() > display.min()
    return display


def failure(dataset: Dataset, folder: Path) -> FailureReason:
    with pytest.raises(FilmError) as caught:
        shown(dataset, folder)
    return caught.value.reason


SIGNED = anatomy(bits=12).astype(np.int16) - 2048


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize(("center", "width"), [(2000, 3000), (2100, 150), (1800.5, 1)])
def test_window(
    tmp_path: Path, center: float, width: float, function: str | None, photometric: str
) -> None:
    window: dict[str, Any] = {"WindowCenter": center, "WindowWidth": width}
    if function:
        window["VOILUTFunction"] = function
    assert_as_reference(film(anatomy(), PhotometricInterpretation=photometric, **window), tmp_path)


def test_fractional_window_of_linear_exact(tmp_path: Path) -> None:
    dataset = film(anatomy(), WindowCenter="0.5", WindowWidth="0.25", RescaleSlope="0.00025",
                   RescaleIntercept="0", VOILUTFunction="LINEAR_EXACT")  # fmt: skip
    assert_as_reference(dataset, tmp_path)


def test_the_first_of_several_windows(tmp_path: Path) -> None:
    several = film(anatomy(), WindowCenter=[2000, 100], WindowWidth=[1500, 200])
    first = film(anatomy(), WindowCenter=2000, WindowWidth=1500)
    assert np.array_equal(assert_as_reference(several, tmp_path), shown(first, tmp_path))


@pytest.mark.parametrize("slope", ["0.5", "-1", "-0.75", "3"])
def test_rescale(tmp_path: Path, slope: str) -> None:
    center = 2000 * float(slope) - 100
    dataset = film(
        anatomy(), RescaleSlope=slope, RescaleIntercept="-100", WindowCenter=center, WindowWidth=900
    )
    assert_as_reference(dataset, tmp_path)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_signed_values(tmp_path: Path, syntax: str) -> None:
    assert_as_reference(film(SIGNED, syntax, WindowCenter=-50, WindowWidth=1200), tmp_path)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_signed_padding_in_any_byte_order(tmp_path: Path, syntax: str) -> None:
    padded = SIGNED.copy()
    padded[:30] = -2000
    dataset = film(padded, syntax, WindowCenter=-1500, WindowWidth=1200, PixelPaddingValue=-2000)
    if syntax != IMPLICIT:
        dataset["PixelPaddingValue"].VR = "SS"
    display = shown(dataset, tmp_path)
    assert (display[:30] == 0).all() and display[30:].max() == 65535


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_voi_lut_sequence(tmp_path: Path, bits: int, photometric: str) -> None:
    """A LUT that covers only the middle of the range, so that both of its ends are used."""
    curve = (np.linspace(0, 1, 2500) ** 2 * (2**bits - 1)).astype(np.uint16)
    dataset = film(anatomy(), PhotometricInterpretation=photometric)
    dataset.VOILUTSequence = lut_item(700, curve, bits)
    assert_as_reference(dataset, tmp_path)


def test_voi_lut_with_a_negative_first_mapped_value(tmp_path: Path) -> None:
    curve = (np.linspace(0, 1, 3000) ** 0.5 * 65535).astype(np.uint16)
    dataset = film(SIGNED)
    dataset.VOILUTSequence = lut_item(-1500, curve, 16, signed=True)
    assert_as_reference(dataset, tmp_path)


@pytest.mark.filterwarnings("ignore:Applying a VOI LUT on a float")
@pytest.mark.parametrize("said_signed", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("stored", [anatomy(), SIGNED])
def test_a_voi_lut_that_begins_below_zero_after_a_rescale(
    tmp_path: Path, stored: NDArray[Any], syntax: str, said_signed: bool
) -> None:
    """Neither Pixel Representation nor a VR of US says that it is unsigned."""
    curve = (np.linspace(0, 1, 3900) ** 0.5 * 65535).astype(np.uint16)
    dataset = film(stored, syntax, RescaleSlope="1", RescaleIntercept="-1024")
    item = lut_item(-1014 if said_signed else 65536 - 1014, curve, 16, signed=said_signed)
    if syntax == BIG_ENDIAN:
        item[0].LUTData = curve.astype(">u2").tobytes()
    dataset.VOILUTSequence = item
    display = assert_as_reference(dataset, tmp_path)
    index = np.clip(stored.astype(int) - 1024 + 1014, 0, len(curve) - 1)
    assert np.array_equal(display, curve[index])


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_voi_lut_that_begins_high_up_after_a_modality_lut(tmp_path: Path, syntax: str) -> None:
    """Of a signed film, implicit VR reads its beginning as negative; a modality LUT never is."""
    modality = np.linspace(30000, 65535, 4096).astype(np.uint16)
    curve = (np.linspace(0, 1, 20000) * 65535).astype(np.uint16)
    dataset = film(SIGNED, syntax)
    dataset.ModalityLUTSequence = lut_item(-2048, modality, 16, signed=True)
    dataset.VOILUTSequence = lut_item(40000, curve, 16)
    values = modality[SIGNED.astype(int) + 2048].astype(int)
    expected = curve[np.clip(values - 40000, 0, len(curve) - 1)]
    assert np.array_equal(shown(dataset, tmp_path), expected)


def test_a_voi_lut_that_begins_high_up(tmp_path: Path) -> None:
    """Where values reach that far, an unsigned beginning is one."""
    curve = (np.linspace(0, 1, 20000) * 65535).astype(np.uint16)
    dataset = film(anatomy(bits=16), bits_stored=16)
    dataset.VOILUTSequence = lut_item(40000, curve, 16)
    assert_as_reference(dataset, tmp_path)


@pytest.mark.parametrize("beside", ["window", "lut"])
def test_a_film_that_is_shown_in_one_grey_is_a_failure(tmp_path: Path, beside: str) -> None:
    dataset = film(anatomy())
    if beside == "window":
        dataset.WindowCenter, dataset.WindowWidth = 30000, 100
    else:
        dataset.VOILUTSequence = lut_item(20000, np.arange(4096, dtype=np.uint16), 12)
    assert failure(dataset, tmp_path) is FailureReason.BAD_VALUE_LUT


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_voi_lut_in_any_byte_order(tmp_path: Path, syntax: str) -> None:
    curve = np.arange(4096, dtype=np.uint16)[::-1] * 16
    dataset = film(anatomy(), syntax)
    item = lut_item(0, curve, 16)
    if syntax == BIG_ENDIAN:
        item[0].LUTData = curve.astype(">u2").tobytes()
    dataset.VOILUTSequence = item
    assert np.array_equal(shown(dataset, tmp_path), (4095 - anatomy()) * 16)


def test_a_voi_lut_of_65536_entries(tmp_path: Path) -> None:
    dataset = film(anatomy(bits=16), bits_stored=16)
    dataset.VOILUTSequence = lut_item(0, np.arange(65536, dtype=np.uint16), 16)
    assert np.array_equal(shown(dataset, tmp_path), anatomy(bits=16))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_8_bit_voi_lut(tmp_path: Path, kind: type) -> None:
    """Packed, two entries a word with the first in the low byte, or one entry a word."""
    entries = (np.arange(4096) // 16).astype(kind)
    dataset = film(anatomy())
    item = lut_item(0, np.zeros(4096, np.uint16), 8)
    item[0].LUTData = entries.tobytes()
    dataset.VOILUTSequence = item
    assert np.array_equal(shown(dataset, tmp_path), (anatomy() // 16) * 257)


@pytest.mark.parametrize("windowed", [True, False])
def test_modality_lut_sequence(tmp_path: Path, windowed: bool) -> None:
    curve = (np.linspace(1, 0, 4000) ** 2 * 65535).astype(np.uint16)
    window = {"WindowCenter": 20000, "WindowWidth": 9000} if windowed else {}
    dataset = film(anatomy(), **window)
    dataset.ModalityLUTSequence = lut_item(40, curve, 16)
    assert_as_reference(dataset, tmp_path)


def test_a_voi_lut_is_preferred_to_a_window(tmp_path: Path) -> None:
    dataset = film(anatomy(), WindowCenter=100, WindowWidth=10)
    dataset.VOILUTSequence = lut_item(0, np.arange(4096, dtype=np.uint16) * 16, 16)
    assert_as_reference(dataset, tmp_path)


def test_without_voi_the_percentiles(tmp_path: Path) -> None:
    display = assert_as_reference(film(anatomy()), tmp_path)
    assert 0.003 < (display == 0).mean() < 0.01
    film_ = decode_film(str(tmp_path / "film"))
    assert film_.voi_rule == "percentile"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_left_out_of_the_percentiles_and_black(tmp_path: Path, photometric: str) -> None:
    padded = anatomy()
    padded[:40] = 4095
    padded[40] = 4090
    dataset = film(padded, PixelPaddingValue=4095, PhotometricInterpretation=photometric,
                   PixelPaddingRangeLimit=4090)  # fmt: skip
    display = assert_as_reference(dataset, tmp_path)
    assert (display[:41] == 0).all()
    del dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit
    assert not np.array_equal(shown(dataset, tmp_path)[41:], display[41:])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", None])
def test_inversion_is_asked_once(tmp_path: Path, photometric: str, shape: str | None) -> None:
    """MONOCHROME1 with INVERSE, as PS3.3 C.8.11.3.1.2 demands, is inverted once, not twice."""
    dataset = film(anatomy(), PhotometricInterpretation=photometric, WindowCenter=2000,
                   WindowWidth=3000)  # fmt: skip
    if shape:
        dataset.PresentationLUTShape = shape
    display = assert_as_reference(dataset, tmp_path)
    order = np.corrcoef(display.ravel(), anatomy().ravel())[0, 1]
    assert (order < 0) == (photometric == "MONOCHROME1" or shape == "INVERSE")


def test_other_percentiles_of_another_spec(tmp_path: Path) -> None:
    path = write(film(anatomy()), tmp_path / "film")
    spec = Preprocessing(low_percentile=5, high_percentile=90)
    reference = reference_display(pydicom.dcmread(path), spec)
    assert np.abs(decode_film(path, spec).display / 65535 - reference).max() <= ROUNDING


# -------------------------------------------------------------- what cannot be what it claims


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": 2000, "WindowWidth": -5},
        {"WindowCenter": 2000, "WindowWidth": 0.5},
        {"WindowCenter": 2000},
        {"WindowWidth": 2000},
        {"WindowCenter": 2000, "WindowWidth": 100, "VOILUTFunction": "CUBIC"},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
    ],
)
def test_an_impossible_transform_is_a_failure(tmp_path: Path, window: dict[str, Any]) -> None:
    assert failure(film(anatomy(), **window), tmp_path) is FailureReason.BAD_VALUE_LUT


@pytest.mark.parametrize("text", ["wide", "nan", "inf", "1e999", "1,5"])
@pytest.mark.parametrize("keyword", ["WindowWidth", "RescaleSlope"])
def test_a_number_that_is_none_is_a_failure(tmp_path: Path, keyword: str, text: str) -> None:
    dataset = film(anatomy(), WindowCenter="1000", WindowWidth="123456", RescaleSlope="123456")
    path = Path(write(dataset, tmp_path / "film"))
    content = path.read_bytes()
    tag = {
        "WindowWidth": b"\x28\x00\x51\x10DS\x06\x00",
        "RescaleSlope": b"\x28\x00\x53\x10DS\x06\x00",
    }
    before = tag[keyword] + b"123456"
    assert before in content
    path.write_bytes(content.replace(before, tag[keyword] + text.ljust(6).encode()))
    with pytest.raises(FilmError) as caught:
        decode_film(str(path))
    assert caught.value.reason is FailureReason.BAD_VALUE_LUT


def test_an_empty_window_is_no_window(tmp_path: Path) -> None:
    empty = film(anatomy(), WindowCenter=None, WindowWidth=None)
    assert np.array_equal(shown(empty, tmp_path), shown(film(anatomy()), tmp_path))


@pytest.mark.parametrize(
    ("descriptor", "words"),
    [
        ([4096, 0, 16], 100),
        ([100, 0, 16], 4096),
        ([4096, 0, 7], 4096),
        ([4096, 0, 40], 4096),
        ([4096, 0, 10], 4096),
        ([4096, 0], 4096),
        ([0, 0, 16], 4096),
        ([4096, 0, 16], 0),
    ],
)
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_bad_lut_is_a_failure(
    tmp_path: Path, sequence: str, descriptor: list[int], words: int
) -> None:
    dataset = film(anatomy())
    item = lut_item(0, np.arange(words, dtype=np.uint16), 16)
    item[0].LUTDescriptor = descriptor
    setattr(dataset, sequence, item)
    assert failure(dataset, tmp_path) is FailureReason.BAD_VALUE_LUT


def test_a_film_that_is_all_padding_is_a_failure(tmp_path: Path) -> None:
    dataset = film(anatomy(), PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert failure(dataset, tmp_path) is FailureReason.CONSTANT_FRAME


def test_nearly_all_of_a_film_may_be_one_value(tmp_path: Path) -> None:
    stored = np.full((200, 200), 7, np.uint16)
    stored[0, :5] = [1000, 2000, 3000, 4000, 0]
    display = shown(film(stored), tmp_path)
    assert display[0, 3] == 65535 and display[0, 4] == 0


def test_multiple_values_with_an_empty_first(tmp_path: Path) -> None:
    """`\\1500`: the first window has no width; nothing is made up for it."""
    dataset = film(anatomy(), WindowCenter=[2000, 2000])
    dataset.WindowWidth = MultiValue(DSfloat, ["", "1500"])
    assert failure(dataset, tmp_path) is FailureReason.BAD_VALUE_LUT
