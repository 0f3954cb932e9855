"""The plain way to the same pixels: pydicom, float64, one step a line.

The fast path (`decode.py`, `dali.py`) is held against this, in tests and by the canary of every
run. Its decoders are others than the fast path's (GDCM, pylibjpeg-openjpeg, pydicom's own RLE),
but for 12-bit JPEG, which they do not read.
"""

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
)

from vfscreen.errors import FailureReason
from vfscreen.imaging.decode import Film
from vfscreen.imaging.failure import FilmError
from vfscreen.imaging.frames import DecodeLimits
from vfscreen.preprocessing import Preprocessing


def decode_reference(
    path: str | bytes | os.PathLike[str],
    spec: Preprocessing,
    limits: DecodeLimits,
    *,
    expected_size_bytes: int | None,
    allocate: Callable[[tuple[int, int]], NDArray[np.uint16]],
) -> Film:
    """Decode one film by the reference, as `decode_film` does by the fast path.

    Raises
    ------
    FilmError
        The reference cannot decode the film, for whatever reason.
    """
    started = time.perf_counter()
    try:
        size = Path(os.fsdecode(path)).stat().st_size
        if expected_size_bytes not in (None, size) or size > limits.max_file_bytes:
            raise FilmError(FailureReason.CHANGED_WHILE_READING, f"{size} bytes now")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(os.fsdecode(path), force=True)
            if dataset.Rows * dataset.Columns > limits.max_pixels:
                raise FilmError(FailureReason.TOO_MANY_PIXELS, "more pixels than are decoded")
            _name_transfer_syntax(dataset)
            read_s = time.perf_counter() - started
            shown = reference_display(dataset, spec)
        display = allocate((shown.shape[0], shown.shape[1]))
        np.rint(shown * 65535, out=shown)
        display[:] = shown
    except FilmError:
        raise
    except (OSError, ValueError, RuntimeError, AttributeError, LookupError, TypeError) as error:
        message = f"the reference cannot decode it ({type(error).__name__})"
        raise FilmError(FailureReason.UNSUPPORTED_PIXELS, message) from None
    return Film(
        display=display,
        region=(0.0, 0.0, *display.shape),
        route="reference",
        transfer_syntax_uid=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        read_bytes=size,
        read_s=read_s,
        voi_rule="",
    )


def reference_display(dataset: Dataset, spec: Preprocessing | None = None) -> NDArray[np.float64]:
    """Stored values, modality, VOI, 0..1, inversion; pydicom's own functions do the work.

    Returns
    -------
    array of float64, shape (rows, columns), 0 black to 1 white
    """
    spec = spec or Preprocessing()
    stored = _stored(dataset)
    padding = _padding(dataset, stored)
    values = np.asarray(apply_modality_lut(stored, dataset))
    if dataset.get("VOILUTSequence"):
        _, first_mapped, bits = dataset.VOILUTSequence[0].LUTDescriptor
        if first_mapped > max(values.max(), 32767):
            # Unsigned in its VR only: after a rescale to below zero, LUTs begin there.
            dataset.VOILUTSequence[0].LUTDescriptor[1] -= 65536
        shown = np.asarray(apply_voi_lut(values, dataset), np.float64) / (2**bits - 1)
    elif dataset.get("WindowWidth") is not None:
        low, high = _output_range(dataset)
        with np.errstate(over="ignore"):  # a steep SIGMOID: exp overflows to the right answer
            windowed = np.asarray(apply_voi_lut(values, dataset), np.float64)
        shown = (windowed - low) / (high - low)
    else:
        tissue = values[~padding]
        low, high = np.percentile(tissue, [spec.low_percentile, spec.high_percentile])
        if low == high:  # more than 99 % of the film is one value
            low, high = tissue.min(), tissue.max()
        shown = np.clip((values - low) / (high - low), 0, 1)
    if (
        dataset.PhotometricInterpretation == "MONOCHROME1"
        or dataset.get("PresentationLUTShape") == "INVERSE"
    ):
        shown = 1 - shown
    shown[padding] = 0
    return np.asarray(shown, np.float64)


def _name_transfer_syntax(dataset: Dataset) -> None:
    """A file without meta information is in the encoding that pydicom found it in."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _stored(dataset: Dataset) -> NDArray[np.integer]:
    """Stored values; where the reference decoders know only 8 bits, by the fast path's codec."""
    if dataset.get("HighBit", dataset.BitsStored - 1) != dataset.BitsStored - 1:
        raise ValueError("pydicom takes the lowest bits of a word, whatever High Bit says")
    twelve_bit = dataset.get("BitsStored", 8) > 8
    if dataset.file_meta.get("TransferSyntaxUID") == JPEGExtended12Bit and twelve_bit:
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        return np.asarray(imagecodecs.jpeg8_decode(frame))
    stored = np.asarray(dataset.pixel_array)
    if dataset.PixelRepresentation == 1:
        # Of 12 bits in JPEG-LS, pydicom leaves negative values where they are above the others.
        above = 8 * stored.itemsize - dataset.BitsStored
        stored = stored << above >> above
    return stored


def _padding(dataset: Dataset, stored: NDArray[np.integer]) -> NDArray[np.bool_]:
    if "PixelPaddingValue" not in dataset:
        return np.zeros(stored.shape, bool)
    ends = [dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit")]
    low, high = ends[0], ends[0] if ends[1] is None else ends[1]
    return np.asarray((stored >= min(low, high)) & (stored <= max(low, high)))


def _output_range(dataset: Dataset) -> tuple[float, float]:
    """The range that pydicom stretches a window over: that of the modality values."""
    if "ModalityLUTSequence" in dataset:
        return 0.0, float(2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1)
    bits = dataset.BitsStored
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if dataset.PixelRepresentation == 0:
        low, high = 0, 2**bits - 1
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def reference_prepare(display: NDArray[np.uint16], spec: Preprocessing) -> NDArray[np.float32]:
    """Display values to the network's input with Pillow's antialiased triangle filter.

    Returns
    -------
    array of float32, shape (1, S, S)
    """
    size = (spec.input_size_px, spec.input_size_px)
    image = Image.fromarray(display.astype(np.float32), mode="F")
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
    return ((small / 65535 - spec.mean) / spec.std)[np.newaxis].astype(np.float32)
