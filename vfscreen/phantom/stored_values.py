"""From presentation values back to stored values: the DICOM value chain, run in reverse.

A reader applies modality LUT or rescale, then VOI LUT or window, then inversion (PS3.4 N.2).
`to_stored` undoes them in the opposite order for one habit of a manufacturer, so that the reader
sees the rendered film again, up to quantisation and what the window clips.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

Stored = NDArray[np.unsignedinteger[Any]]  # uint8 up to 8 bits stored, else uint16

# A sigmoid window reaches black and white only at infinity; films are cut this far from both.
SIGMOID_TAIL = 0.02
PADDING_BORDER = 0.012


class Modality(StrEnum):
    """What turns stored values into modality values."""

    ABSENT = "absent"
    IDENTITY = "identity"
    HALF = "half"  # slope 0.5
    OFFSET = "offset"  # slope 4, intercept -1024
    NEGATIVE = "negative"  # slope -1: some CR readers store the other way round
    LUT = "lut"  # a modality LUT sequence
    BELOW_ZERO = "below_zero"  # the intercept is minus half the range, as in CT


class Voi(StrEnum):
    """What turns modality values into displayed ones."""

    ABSENT = "absent"
    LINEAR = "linear"
    SEVERAL = "several"  # the first window is the manufacturer's, the second shows bone only
    LINEAR_EXACT = "linear_exact"
    SIGMOID = "sigmoid"
    LUT = "lut"
    LUT_AND_WINDOW = "lut_and_window"  # both say the same


@dataclass(frozen=True, slots=True)
class ValueHabit:
    """How one film's values are stored.

    Attributes
    ----------
    bits_stored : int
        8 to 16; allocated are 8 or 16.
    monochrome1 : bool
        PhotometricInterpretation is MONOCHROME1.
    lut_shape : str or None
        PresentationLUTShape, None where it is missing. INVERSE inverts, as MONOCHROME1 does.
    modality, voi : Modality, Voi
        The two steps in between.
    low, high : float
        Where black and white lie in the range of stored values, as fractions of it.
    steepness : float
        Bend of a VOI LUT.
    padded : bool
        A border of PixelPaddingValue surrounds the film.
    """

    bits_stored: int
    monochrome1: bool
    lut_shape: str | None
    modality: Modality
    voi: Voi
    low: float
    high: float
    steepness: float
    padded: bool = False

    @property
    def inverted(self) -> bool:
        """Whether the last step of the chain inverts."""
        return self.monochrome1 or self.lut_shape == "INVERSE"


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """Stored values with the elements that explain them, pixel data excluded."""

    values: Stored
    tags: Dataset


def to_stored(pixels: NDArray[np.float32], habit: ValueHabit, *, big_endian: bool) -> StoredFrame:
    """Store a rendered film the way `habit` says.

    Parameters
    ----------
    pixels : float32 (H, W)
        Presentation values, 0 black to 1 white.
    habit : ValueHabit
        What the manufacturer does.
    big_endian : bool
        Byte order of the lookup tables in the data set (OW data are not swapped on writing).

    Returns
    -------
    StoredFrame
        uint8 (H, W) for up to 8 bits stored, uint16 otherwise, and the describing elements.
    """
    tags = Dataset()
    top = (1 << habit.bits_stored) - 1
    span = habit.low * top, habit.high * top
    slope, intercept, table = _modality(habit, top, tags, big_endian)
    ends = [_forward(s, slope, intercept, table) for s in span]
    low, high = min(ends), max(ends)
    shown = 1 - pixels if habit.inverted else pixels
    modality = _voi(shown, habit, low, high, tags, big_endian)
    stored = (
        np.interp(modality, table, np.arange(table.size)) if table is not None
        else (modality - intercept) / slope
    )  # fmt: skip
    rounded = np.clip(np.rint(stored), 0, top)
    values: Stored = rounded.astype(np.uint8 if habit.bits_stored <= 8 else np.uint16)
    _describe(values, habit, tags)
    if habit.padded:
        _pad(values, habit, tags, top)
    return StoredFrame(values, tags)


def _forward(
    stored: float, slope: float, intercept: float, table: NDArray[np.float64] | None
) -> float:
    return float(table[round(stored)]) if table is not None else stored * slope + intercept


def _modality(
    habit: ValueHabit, top: int, tags: Dataset, big_endian: bool
) -> tuple[float, float, NDArray[np.float64] | None]:
    """Describe the modality step; return slope, intercept and, for a LUT, its entries."""
    if habit.modality is Modality.LUT:
        # Logarithmic readers: the table makes the signal linear in exposure.
        ramp = np.linspace(0, 1, top + 1)
        entries = np.rint(65535 * np.expm1(1.2 * ramp) / np.expm1(1.2)).astype(np.uint16)
        item = _lut(entries, 0, 16, big_endian)
        item.ModalityLUTType = "US"
        tags.ModalityLUTSequence = Sequence([item])
        return 1.0, 0.0, entries.astype(np.float64)
    if habit.modality is Modality.ABSENT:
        return 1.0, 0.0, None
    slope, intercept = {
        Modality.IDENTITY: (1.0, 0.0),
        Modality.HALF: (0.5, 0.0),
        Modality.OFFSET: (4.0, -1024.0),
        Modality.NEGATIVE: (-1.0, float(top)),
        Modality.BELOW_ZERO: (1.0, -float(top + 1) / 2),
    }[habit.modality]
    tags.RescaleSlope = f"{slope:g}"
    tags.RescaleIntercept = f"{intercept:g}"
    tags.RescaleType = "US"
    return slope, intercept, None


def _voi(
    shown: NDArray[np.float32], habit: ValueHabit, low: float, high: float, tags: Dataset,
    big_endian: bool,
) -> NDArray[np.float64]:  # fmt: skip
    """Describe the VOI step between the modality values `low` and `high`, and undo it."""
    values = shown.astype(np.float64)
    # Decimal strings hold 16 characters; windows are whole numbers on nearly all films.
    low, high = float(round(low)), float(round(high))
    width = high - low
    if habit.voi is Voi.SIGMOID:
        # out = 1 / (1 + exp(-4 (x - c) / w)), PS3.3 C.11.2.1.3.1
        reach = float(np.log((1 - SIGMOID_TAIL) / SIGMOID_TAIL))
        window = round(4 * (width / 2) / reach)
        _window(tags, [(low + width / 2, window)], "SIGMOID")
        values = np.clip(values, SIGMOID_TAIL, 1 - SIGMOID_TAIL)
        return np.asarray(low + width / 2 + window / 4 * np.log(values / (1 - values)))
    if habit.voi is Voi.LUT:
        return _voi_lut(values, habit, low, high, tags, big_endian)
    if habit.voi is Voi.LUT_AND_WINDOW:
        _window(tags, [(low + (width + 1) / 2, width + 1)], None)
        straight = np.rint(np.linspace(0, 4095, round(width) + 1)).astype(np.uint16)
        item = _lut(straight, round(low), 12, big_endian)
        item.LUTExplanation = "NORMAL"
        tags.VOILUTSequence = Sequence([item])
    elif habit.voi is Voi.LINEAR_EXACT:
        _window(tags, [(low + width / 2, width)], "LINEAR_EXACT")
    elif habit.voi is not Voi.ABSENT:
        # LINEAR spends one of its grey levels on either end, PS3.3 C.11.2.1.2.1.
        windows = [(low + (width + 1) / 2, width + 1)]
        if habit.voi is Voi.SEVERAL:
            windows += [(low + width * 0.7, round(width * 0.4)), (low + width / 2, 3 * width)]
            tags.WindowCenterWidthExplanation = ["NORMAL", "HARDER", "SOFTER"]
        _window(tags, windows, None if habit.low > 0.05 else "LINEAR")
    return low + values * width


def _window(tags: Dataset, windows: list[tuple[float, float]], function: str | None) -> None:
    centers = [f"{center:g}" if abs(center) < 1e5 else f"{center:.1f}" for center, _ in windows]
    tags.WindowCenter = centers if len(centers) > 1 else centers[0]
    widths = [f"{width:.0f}" for _, width in windows]
    tags.WindowWidth = widths if len(widths) > 1 else widths[0]
    if function is not None:
        tags.VOILUTFunction = function


def _voi_lut(
    values: NDArray[np.float64], habit: ValueHabit, low: float, high: float, tags: Dataset,
    big_endian: bool,
) -> NDArray[np.float64]:  # fmt: skip
    """A manufacturer's own curve between `low` and `high`, flat outside, first table of two."""
    count = round(high - low) + 1
    x = np.linspace(-1, 1, count)
    bend = habit.steepness
    curve = (np.tanh(bend * x) / np.tanh(bend) + 1) / 2
    # Tables of 8 bits are packed differently by different readers; nobody needs them here.
    bits = max(10, min(habit.bits_stored, 12))
    entries = np.rint(curve * ((1 << bits) - 1)).astype(np.uint16)
    first, second = (_lut(e, round(low), bits, big_endian) for e in (entries, entries[::-1]))
    first.LUTExplanation, second.LUTExplanation = "NORMAL", "INVERTED"
    tags.VOILUTSequence = Sequence([first, second])
    return np.asarray(low + np.interp(values, curve, np.arange(count)))


def _lut(entries: NDArray[np.uint16], first: int, bits: int, big_endian: bool) -> Dataset:
    item = Dataset()
    # The number of entries is a 16-bit field: 65,536 is written as 0 (PS3.3 C.11.1.1).
    # It stays unsigned where the first value that is mapped is not; pydicom writes it so.
    vr = "SS" if first < 0 else "US"
    item.add_new("LUTDescriptor", vr, [entries.size % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype(">u2" if big_endian else "<u2").tobytes())
    return item


def _describe(values: Stored, habit: ValueHabit, tags: Dataset) -> None:
    tags.SamplesPerPixel = 1
    tags.PhotometricInterpretation = "MONOCHROME1" if habit.monochrome1 else "MONOCHROME2"
    tags.Rows, tags.Columns = values.shape
    tags.BitsAllocated = values.dtype.itemsize * 8
    tags.BitsStored = habit.bits_stored
    tags.HighBit = habit.bits_stored - 1
    tags.PixelRepresentation = 0
    if habit.lut_shape is not None:
        tags.PresentationLUTShape = habit.lut_shape


def _pad(values: Stored, habit: ValueHabit, tags: Dataset, top: int) -> None:
    """Surround the film with the padding value, at the end of the range that shows black."""
    white_is_high = habit.inverted == (habit.modality is Modality.NEGATIVE)
    padding = 0 if white_is_high else top
    border = max(2, round(min(values.shape) * PADDING_BORDER))
    for edge in (values[:border], values[-border:], values[:, :border], values[:, -border:]):
        edge[...] = padding
    tags.add_new("PixelPaddingValue", "US", padding)
