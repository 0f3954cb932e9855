"""From stored values to display values: one fused table a film.

The order is PS3.3 C.7.6.3.1.2, C.11.1, C.11.2, C.11.6: stored value, modality LUT or rescale, first
VOI LUT or first window, 0..1, inversion last. Since a stored value has at most 16 bits, the whole
chain is a table of at most 65,536 entries; `reference.py` holds it against plain arithmetic.

Decisions, each of them also a test:

- Where a VOI LUT Sequence and a window are both present, the LUT is taken: it is the curve that
  the manufacturer shows, the window is its straight approximation (PS3.3 C.11.2 leaves the choice).
- Inversion is one question, asked once: PhotometricInterpretation is MONOCHROME1, *or*
  PresentationLUTShape is INVERSE. The DX module demands both together (PS3.3 C.8.11.3.1.2), so
  both together are one inversion, not two. MONOCHROME1 with IDENTITY contradicts the DX module; the
  photometric interpretation, which every viewer obeys, wins.
- No VOI at all, or one whose values are empty, is a film without a VOI: the percentile rule of
  `Preprocessing`. A VOI that says something impossible (width zero, text, half a window) is a
  failure: guessing would show the film in a way that nobody asked for, in silence.
- The first value that a LUT maps is signed where it was written so, and where unsigned it would lie
  above every value that can reach the LUT: writers and implicit VR leave its sign open, and a VOI
  LUT after a rescale to below zero begins there, whatever Pixel Representation says.
- Padding (PS3.3 C.7.5.1.1.2) is no tissue: out of the percentiles, and black after inversion.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vfscreen.errors import FailureReason
from vfscreen.imaging.failure import FilmError
from vfscreen.preprocessing import Preprocessing

DISPLAY_MAX = 65535


@dataclass(frozen=True, slots=True)
class Rescale:
    """`slope * stored + intercept` (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, slots=True)
class Lut:
    """A modality or VOI lookup table (PS3.3 C.11.1.1.1, C.11.2.1.1)."""

    first_mapped: int
    entries: NDArray[np.uint16]
    entry_bits: int


@dataclass(frozen=True, slots=True)
class Window:
    """A window (PS3.3 C.11.2.1.2 and C.11.2.1.3); `function` is the VOI LUT Function."""

    center: float
    width: float
    function: str


@dataclass(frozen=True, slots=True)
class ValueTransform:
    """Everything that the header says about how stored values are shown."""

    modality: Rescale | Lut
    voi: Window | Lut | None
    inverted: bool
    padding: tuple[int, int] | None
    """Lowest and highest stored value that is padding."""

    @property
    def voi_rule(self) -> str:
        """How the film is shown: `window`, `lut` or `percentile`."""
        if self.voi is None:
            return "percentile"
        return "lut" if isinstance(self.voi, Lut) else "window"


def _bad(message: str) -> FilmError:
    return FilmError(FailureReason.BAD_VALUE_LUT, message)


def element(dataset: Dataset, keyword: str) -> Any:
    """An element's value, None where it is absent or empty.

    Raises
    ------
    FilmError
        `bad_value_lut`: the value is not of its type, such as text in a decimal string.
    """
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, OverflowError, NotImplementedError, AttributeError, KeyError):
        raise _bad(f"{keyword} cannot be read") from None
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return None
    return value


def _first_number(dataset: Dataset, keyword: str) -> float | None:
    value = element(dataset, keyword)
    if value is None:
        return None
    first = value if isinstance(value, str | bytes) or not hasattr(value, "__getitem__") else None
    first = value[0] if first is None else first
    if first is None or first == "":
        return None
    try:
        number = float(first)
    except (ValueError, TypeError):
        raise _bad(f"{keyword} is not a number") from None
    if not math.isfinite(number):
        raise _bad(f"{keyword} is not finite")
    return number


def read_transform(
    dataset: Dataset, *, bits: int, signed: bool, little_endian: bool
) -> ValueTransform:
    """Read the value transform of a film from its header.

    Parameters
    ----------
    dataset : Dataset
        The header; Pixel Data is not needed.
    bits : int
        Bits Stored.
    signed : bool
        Pixel Representation is 1.
    little_endian : bool
        Byte order of words that are stored as bytes (VR OW).

    Raises
    ------
    FilmError
        `bad_value_lut`: a LUT, rescale or window that cannot be what it claims.
    """
    modality_items = element(dataset, "ModalityLUTSequence")
    modality: Rescale | Lut
    stored = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    highest = math.inf  # a modality LUT gives unsigned words, any of them
    if modality_items is not None:
        modality = _read_lut(modality_items[0], stored[1], little_endian=little_endian)
    else:
        slope = _first_number(dataset, "RescaleSlope")
        intercept = _first_number(dataset, "RescaleIntercept")
        modality = Rescale(1.0 if slope is None else slope, intercept or 0.0)
        if modality.slope == 0:
            raise _bad("Rescale Slope is zero")
        highest = max(end * modality.slope + modality.intercept for end in stored)
    return ValueTransform(
        modality=modality,
        voi=_read_voi(dataset, highest, little_endian=little_endian),
        inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or _text(dataset, "PresentationLUTShape") == "INVERSE",
        padding=_read_padding(dataset, signed=signed, little_endian=little_endian),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = element(dataset, keyword)
    return "" if value is None else str(value).strip().upper()


def _read_voi(dataset: Dataset, highest: float, *, little_endian: bool) -> Window | Lut | None:
    items = element(dataset, "VOILUTSequence")
    if items is not None:
        return _read_lut(items[0], highest, little_endian=little_endian)
    center = _first_number(dataset, "WindowCenter")
    width = _first_number(dataset, "WindowWidth")
    if center is None and width is None:
        return None
    if center is None or width is None:
        raise _bad("one of Window Center and Window Width is missing")
    function = _text(dataset, "VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise _bad("VOI LUT Function is not one of the three that exist")
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise _bad(f"Window Width {width:g} is too small for {function}")
    return Window(center, width, function)


def _read_lut(item: Dataset, highest: float, *, little_endian: bool) -> Lut:
    """A LUT that values up to `highest` reach; infinite: words that are never negative."""
    written = element(item, "LUTDescriptor")
    descriptor = words(written, little_endian=little_endian)
    if descriptor is None or len(descriptor) != 3:
        raise _bad("a LUT Descriptor does not have three values")
    count = int(descriptor[0]) or 65536  # PS3.3 C.11.1.1: 0 means 2^16
    first_mapped = int(descriptor[1])
    said_negative = not isinstance(written, bytes | bytearray) and written[1] < 0
    if first_mapped > highest or (said_negative and highest < math.inf):
        first_mapped = _as_signed(first_mapped)
    bits = int(descriptor[2])
    if not 8 <= bits <= 16:
        raise _bad(f"a LUT has {bits} bits an entry, not 8 to 16")
    data = words(element(item, "LUTData"), little_endian=little_endian)
    if data is None:
        raise _bad("a LUT has no data")
    # 8-bit entries may be packed, two a word, the first in the low byte (PS3.3 C.11.1.1.1).
    if bits == 8 and count > 2 and len(data) == (count + 1) // 2:
        data = data.astype("<u2").view(np.uint8).astype(np.uint16)
    if not count <= len(data) <= count + 1:
        raise _bad(f"a LUT claims {count} entries and holds {len(data)}")
    entries = data[:count]
    if int(entries.max()) >> bits:
        raise _bad(f"a LUT of {bits} bits an entry holds larger entries")
    return Lut(first_mapped, entries, bits)


def words(value: Any, *, little_endian: bool) -> NDArray[np.uint16] | None:
    """A value of 16-bit words as their bit patterns, whatever VR it came with."""
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        if len(value) % 2:
            raise _bad("a value of 16-bit words has an odd number of bytes")
        return np.frombuffer(value, "<u2" if little_endian else ">u2").astype(np.uint16)
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.int64))
    except (ValueError, TypeError, OverflowError):
        raise _bad("a value of 16-bit words is not numeric") from None
    if numbers.size and (numbers.min() < -32768 or numbers.max() > 65535):
        raise _bad("a value does not fit 16 bits")
    return (numbers & 0xFFFF).astype(np.uint16)


def _as_signed(word: int) -> int:
    return word - 65536 if word >= 32768 else word


def _read_padding(dataset: Dataset, *, signed: bool, little_endian: bool) -> tuple[int, int] | None:
    low = words(element(dataset, "PixelPaddingValue"), little_endian=little_endian)
    if low is None:
        return None
    high = words(element(dataset, "PixelPaddingRangeLimit"), little_endian=little_endian)
    ends = [int(low[0]), int(low[0] if high is None else high[0])]
    if signed:
        ends = [_as_signed(end) for end in ends]
    return min(ends), max(ends)


def stored_values(bits: int, *, signed: bool) -> NDArray[np.int64]:
    """The stored value of each bit pattern of `bits` bits, two's complement where signed."""
    patterns = np.arange(1 << bits, dtype=np.int64)
    if signed:
        patterns[1 << (bits - 1) :] -= 1 << bits
    return patterns


def modality_values(transform: ValueTransform, stored: NDArray[np.int64]) -> NDArray[np.float64]:
    """Stored values after the modality LUT or rescale."""
    if isinstance(transform.modality, Lut):
        return _look_up(transform.modality, stored.astype(np.float64))
    return np.asarray(stored * transform.modality.slope + transform.modality.intercept, np.float64)


def _look_up(lut: Lut, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values before the first entry get the first, after the last the last (PS3.3 C.11.1.1.1)."""
    index = np.clip(np.floor(values) - lut.first_mapped, 0, len(lut.entries) - 1)
    return np.asarray(lut.entries[index.astype(np.int64)], np.float64)


def window_values(window: Window, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modality values through a window, to 0..1 (PS3.3 C.11.2.1.2.1, C.11.2.1.3)."""
    if window.function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - window.center) / window.width, -700, 700)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)), np.float64)
    center, width = window.center, window.width
    if window.function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:  # LINEAR of width 1 is a threshold
        return (values > center).astype(np.float64)
    return np.asarray(np.clip((values - center) / width + 0.5, 0.0, 1.0), np.float64)


def percentile_window(
    values: NDArray[np.float64], counts: NDArray[np.int64], spec: Preprocessing
) -> tuple[float, float]:
    """The low and high percentile of a film's modality values, from their histogram.

    Equal to `numpy.percentile` of the values themselves (linear interpolation between ranks).

    Raises
    ------
    FilmError
        `constant_frame`: nothing but padding, or the percentiles coincide on a single value.
    """
    present = counts > 0
    values, counts = values[present], counts[present]
    if not len(values):
        raise FilmError(FailureReason.CONSTANT_FRAME, "the frame holds nothing but padding")
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(counts[order])

    def percentile(percent: float) -> float:
        rank = percent / 100.0 * (int(ends[-1]) - 1)
        below, share = math.floor(rank), rank - math.floor(rank)
        a, b = np.searchsorted(ends, [below, min(below + 1, int(ends[-1]) - 1)], side="right")
        return float(values[a] + (values[b] - values[a]) * share)

    low, high = percentile(spec.low_percentile), percentile(spec.high_percentile)
    if low == high:  # more than 99 % of the film is one value: show all that there is
        low, high = float(values[0]), float(values[-1])
    if low == high:
        raise FilmError(FailureReason.CONSTANT_FRAME, "the frame is constant but for its padding")
    return low, high


def display_table(
    transform: ValueTransform,
    *,
    bits: int,
    signed: bool,
    histogram: Callable[[], NDArray[np.int64]],
    spec: Preprocessing,
) -> NDArray[np.uint16]:
    """The display value of each bit pattern.

    Parameters
    ----------
    transform : ValueTransform
    bits : int
        Bits of a pattern, at most 16.
    signed : bool
        Patterns are two's complement.
    histogram : callable
        Counts of the frame's patterns, asked for only where there is no VOI.
    spec : Preprocessing
        The percentiles.

    Returns
    -------
    array of uint16, length 2 ** bits
        0 (black) to 65535 (white).
    """
    stored = stored_values(bits, signed=signed)
    padding = np.zeros(len(stored), dtype=bool)
    if transform.padding is not None:
        padding = (stored >= transform.padding[0]) & (stored <= transform.padding[1])
    values = modality_values(transform, stored)
    if isinstance(transform.voi, Lut):
        voi = transform.voi
        shown = _look_up(voi, values) / ((1 << voi.entry_bits) - 1)
    elif isinstance(transform.voi, Window):
        shown = window_values(transform.voi, values)
    else:
        low, high = percentile_window(values, np.where(padding, 0, histogram()), spec)
        shown = np.clip((values - low) / (high - low), 0.0, 1.0)
    if transform.inverted:
        shown = 1.0 - shown
    table = np.rint(shown * DISPLAY_MAX).astype(np.uint16)
    table[padding] = 0
    return table
