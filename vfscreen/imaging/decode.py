"""One film, from its file to display values. Runs in a decode worker, and anywhere else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.errors import FailureReason
from vfscreen.imaging.codecs import decode_frame, halved_shape, possible_halvings, route_of
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import JPEG2000, DecodeLimits, FramePlan, read_film
from vfscreen.imaging.lookup import look_up, patterns, row_blocks
from vfscreen.imaging.values import display_table
from vfscreen.preprocessing import Preprocessing

# Lossless JPEG families but JPEG 2000: pydicom masks what lies above the stored bits, so do we.
# Elsewhere a lossy overshoot, or a Bits Stored that is too small, would wrap from white to black.
_MASKED = frozenset(f"1.2.840.10008.1.2.{tail}" for tail in ("5", "4.57", "4.70", "4.80"))


@dataclass(frozen=True, slots=True)
class Film:
    """A decoded film.

    `display` is uint16, shape (rows, columns), 0 black to 65535 white, after modality, VOI and
    inversion. `region` is where the whole film lies in it: top, left, bottom, right in pixels of
    `display`; a film that its codec has halved may begin between two of them. `voi_rule` says how
    it is shown: `window`, `lut` or `percentile`.
    """

    display: NDArray[np.uint16]
    region: tuple[float, float, float, float]
    route: str
    transfer_syntax_uid: str
    read_bytes: int
    read_s: float
    voi_rule: str


def _fresh(shape: tuple[int, int]) -> NDArray[np.uint16]:
    return np.empty(shape, np.uint16)


def decode_film(
    path: str | bytes,
    spec: Preprocessing | None = None,
    limits: DecodeLimits | None = None,
    *,
    reduced: bool = False,
    expected_size_bytes: int | None = None,
    allocate: Callable[[tuple[int, int]], NDArray[np.uint16]] = _fresh,
) -> Film:
    """Decode one film to display values.

    Parameters
    ----------
    path : path of the file
    spec : Preprocessing, optional
        The window rule and its percentiles, and the network's input size.
    limits : DecodeLimits, optional
    reduced : bool
        Where the codec can do it, decode no more than the network will see: the short side stays
        at least twice the input size, more where that would be seen.
    expected_size_bytes : int, optional
        Size in the manifest; another size now is a failure.
    allocate : callable
        Gives the array of a shape that receives the display values.

    Raises
    ------
    FilmError
        The film failed; never any other exception over what a file holds.
    """
    spec, limits = spec or Preprocessing(), limits or DecodeLimits()
    try:
        plan = read_film(path, limits, expected_size_bytes=expected_size_bytes)
    except MemoryError:
        raise FilmError(FailureReason.OUT_OF_MEMORY, "not enough memory to read it") from None
    halvings = halvings_for(plan, spec.input_size_px) if reduced else 0
    try:
        display = allocate(halved_shape(plan.rows, plan.columns, halvings))
        _decode_into(display, plan, spec, halvings)
    except MemoryError:
        raise _failed(plan, FailureReason.OUT_OF_MEMORY, "not enough memory to decode it") from None
    except FilmError as error:
        # A codec that runs out of memory inside says only that it failed. JPEG 2000 takes 4 bytes
        # a coefficient, three times over; permanent failure must not follow from a small limit.
        if (
            error.reason is FailureReason.CORRUPT_CODESTREAM
            and 16 * plan.rows * plan.columns > limits.memory_bytes // 2
        ):
            message = f"{error.message}, and it may be for lack of memory"
            raise _failed(plan, FailureReason.OUT_OF_MEMORY, message) from None
        raise _failed(plan, error.reason, error.message) from None
    return Film(
        display=display,
        region=region_of(plan, halvings),
        route=route_of(plan.transfer_syntax_uid, halvings),
        transfer_syntax_uid=plan.transfer_syntax_uid,
        read_bytes=plan.file_bytes,
        read_s=plan.read_s,
        voi_rule=plan.values.voi_rule,
    )


def halvings_for(plan: FramePlan, input_size_px: int) -> int:
    """How often a film is halved by its codec: its short side stays a multiple of the input."""
    halvings, least_px = possible_halvings(plan), least_multiple(plan) * input_size_px
    while halvings and min(plan.rows, plan.columns) >> halvings < least_px:
        halvings -= 1
    return halvings


def least_multiple(plan: FramePlan) -> int:
    """How many times the network's input the short side of a halved film is at least.

    What keeps a probability within 0.02 of the full decode's, measured on 64 phantom films (their
    worst, in float32): 5-3 wavelet at 2.5 times the input 0.009; 9-7 at 2.5 times 0.023, at 5
    times 0.005.
    """
    return 2 if plan.codestream is None or plan.codestream.reversible else 4


def region_of(plan: FramePlan, halvings: int) -> tuple[float, float, float, float]:
    """Where the film lies in its halved frame: top, left, bottom, right in pixels of that frame.

    A sample of JPEG 2000's low-pass band lies over an even sample of the band above, so the frame
    is shifted by half a pixel a halving (ITU-T T.800, F.3).
    """
    scale = 1 << halvings
    shift = (1 - 1 / scale) / 2
    return shift, shift, plan.rows / scale + shift, plan.columns / scale + shift


def _failed(plan: FramePlan, reason: FailureReason, message: str) -> FilmError:
    error = FilmError(reason, message)
    error.transfer_syntax_uid = plan.transfer_syntax_uid
    return error


def stored_patterns(plan: FramePlan, halvings: int = 0) -> tuple[NDArray[Any], int, int]:
    """Decode a plan to unsigned words, with the shift and the number of bits that are the value.

    The stored value of a word is the two's complement (or unsigned) reading of
    `(word >> shift) & (2 ** bits - 1)`.
    """
    words = decode_frame(plan, halvings)
    words = words.view(f"{words.dtype.byteorder}u{words.dtype.itemsize}")
    shift, bits = plan.high_bit + 1 - plan.bits_stored, plan.bits_stored
    stream = plan.codestream
    if (
        stream is not None
        and not plan.signed
        and not plan.overlay_in_pixels
        and plan.transfer_syntax_uid not in _MASKED
    ):
        bits = max(bits, stream.precision_bits)
    if stream is not None and plan.transfer_syntax_uid in JPEG2000 and stream.signed:
        # Two's complement in the container: 8 bits of it may have to be read as more.
        bits = max(bits, stream.precision_bits)
        if words.dtype.itemsize == 1 and bits > 8:
            words = words.view(np.int8).astype(np.int16).view(np.uint16)
    return words, shift, bits


def _decode_into(
    display: NDArray[np.uint16], plan: FramePlan, spec: Preprocessing, halvings: int
) -> None:
    words, shift, bits = stored_patterns(plan, halvings)
    blocks = row_blocks(words)
    _refuse_constant(words, blocks, shift, bits)

    def histogram() -> NDArray[np.int64]:
        counts = np.zeros(1 << bits, np.int64)
        for block in blocks:
            values = patterns(words[block], shift, bits).ravel()
            counts += np.bincount(values, minlength=1 << bits)
        return counts

    table = display_table(
        plan.values, bits=bits, signed=plan.signed, histogram=histogram, spec=spec
    )
    look_up(table, words, shift, bits, display)
    if all((display[block] == display[0, 0]).all() for block in blocks):
        message = "its window or LUT shows all of its values alike"
        raise FilmError(FailureReason.BAD_VALUE_LUT, message)


def _refuse_constant(words: NDArray[Any], blocks: list[slice], shift: int, bits: int) -> None:
    """A frame of one value is what a failed decoder leaves, not a radiograph."""
    first = patterns(words[:1, :1], shift, bits).flat[0]
    if all((patterns(words[block], shift, bits) == first).all() for block in blocks):
        raise FilmError(FailureReason.CONSTANT_FRAME, f"every stored value is {int(first)}")
