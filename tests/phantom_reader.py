"""A plain reader that phantom tests hold files against: pydicom's value functions, no fast path."""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing


def read(path: Path) -> Dataset:
    """Read a file that may lack its preamble, or all of its meta information."""
    ds = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    return ds


def stored_values(ds: Dataset) -> NDArray[np.generic]:
    """Decode with pydicom where it has a decoder, else with imagecodecs."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        return np.asarray(imagecodecs.ljpeg_decode(get_frame(ds.PixelData, 0, number_of_frames=1)))
    if syntax == uid.HTJ2KLossless:
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        return np.asarray(imagecodecs.jpeg2k_decode(frame))  # OpenJPEG; OpenJPH has encoded it
    if syntax == uid.JPEGExtended12Bit:
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        return np.asarray(imagecodecs.jpeg8_decode(frame))
    return np.asarray(ds.pixel_array)


def displayed(ds: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float64]:
    """Modality, first VOI, inversion: presentation values 0 to 1."""
    values = np.asarray(apply_modality_lut(stored, ds), np.float64)
    if "VOILUTSequence" in ds:
        item = ds.VOILUTSequence[0]
        data = np.asarray(apply_voi(values.astype(np.int64), ds))
        shown = data / ((1 << int(item.LUTDescriptor[2])) - 1)
    elif "WindowWidth" in ds:
        shown = np.asarray(apply_windowing(values, ds), np.float64)
        low, high = _output_range(ds)
        shown = (shown - low) / (high - low)
    else:
        low, high = np.percentile(values, (0.5, 99.5))
        shown = np.clip((values - low) / (high - low), 0, 1)
    inverted = (
        ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"
    )
    return 1 - shown if inverted else shown


def _output_range(ds: Dataset) -> tuple[float, float]:
    """The range that pydicom's windowing fills: all that the modality step can give."""
    if "ModalityLUTSequence" in ds:
        return 0.0, float((1 << int(ds.ModalityLUTSequence[0].LUTDescriptor[2])) - 1)
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    top = (1 << int(ds.BitsStored)) - 1
    return intercept, intercept + slope * top
