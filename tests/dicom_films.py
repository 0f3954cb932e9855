"""DICOM films in code, for tests: any stored values in any transfer syntax."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG_8, JPEG_12 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_LS_NEAR = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))

NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)
LOSSLESS = (
    *NATIVE, RLE, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS,
    HTJ2K_RPCL,
)  # fmt: skip
LOSSY = (JPEG_8, JPEG_12, JPEG_LS_NEAR, JPEG_2000, HTJ2K)


def anatomy(rows: int = 120, columns: int = 90, bits: int = 12, seed: int = 0) -> NDArray[Any]:
    """Stored values with structure and noise, over nearly the whole range of `bits`."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    shape = 0.45 + 0.3 * np.sin(9 * x / columns) * np.cos(7 * y / rows) + 0.1 * y / rows
    values = (shape + random.normal(0, 0.01, shape.shape)) * (2**bits - 1)
    return values.clip(0, 2**bits - 1).astype(np.uint16 if bits > 8 else np.uint8)


def film(
    stored: NDArray[Any],
    transfer_syntax_uid: str = EXPLICIT,
    *,
    bits_stored: int = 12,
    codestream: bytes | None = None,
    fragments: int = 1,
    **attributes: Any,
) -> Dataset:
    """A DX film of `stored`; keyword arguments are further attributes by DICOM keyword.

    `codestream` replaces the frame's encoding.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.PatientName = "Marker^Taint"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if transfer_syntax_uid in NATIVE:
        order = ">" if transfer_syntax_uid == BIG_ENDIAN else "<"
        data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    else:
        data = codestream or encode(stored, transfer_syntax_uid, bits=bits_stored)
        dataset.PixelData = encapsulate([data], fragments_per_frame=fragments)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    return dataset


def write(dataset: Dataset, path: Path) -> str:
    """Write a film; the path as text, as tasks want it."""
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def lut_item(first_mapped: int, entries: NDArray[Any], bits: int, *, signed: bool = False) -> Any:
    """A sequence with one LUT."""
    item = Dataset()
    vr = "SS" if signed else "US"
    item.add_new(0x00283002, vr, [len(entries) % 65536, first_mapped, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def encode(stored: NDArray[Any], transfer_syntax_uid: str, *, bits: int = 12) -> bytes:
    """One frame's codestream, at high quality where it is lossy."""
    frame = np.ascontiguousarray(stored)
    patterns = frame.view(f"u{frame.dtype.itemsize}")
    number = transfer_syntax_uid.rpartition(".")[2]
    if transfer_syntax_uid == RLE:
        return _rle(patterns)
    if number in ("50", "51"):
        return bytes(
            imagecodecs.jpeg8_encode(frame, level=97, bitspersample=8 if number == "50" else 12)
        )
    if number in ("57", "70"):
        predictor = 4 if number == "57" else 1
        precision = 8 * frame.dtype.itemsize if frame.dtype.kind == "i" else bits
        return bytes(
            imagecodecs.jpeg8_encode(
                patterns, lossless=True, predictor=predictor, bitspersample=precision
            )
        )
    if number in ("80", "81"):
        rows, columns = patterns.shape
        little = patterns & np.array((1 << bits) - 1, patterns.dtype)
        return bytes(
            jpeg_ls.encode_buffer(
                little.tobytes(), rows, columns, 1, bits, lossy_error=2 if number == "81" else 0
            )
        )
    if number == "90":
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame, level=0, codecformat="j2k", bitspersample=bits, reversible=True
            )
        )
    if number == "91":
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame, level=95, codecformat="j2k", bitspersample=bits, reversible=False
            )
        )
    return bytes(imagecodecs.htj2k_encode(frame, reversible=number != "203"))


def _rle(patterns: NDArray[Any]) -> bytes:
    """Literal PackBits runs, most significant byte first (PS3.5 G)."""
    planes = patterns.astype(patterns.dtype.newbyteorder(">")).view(np.uint8)
    planes = planes.reshape(-1, patterns.dtype.itemsize)
    segments = []
    for byte in range(planes.shape[1]):
        raw = planes[:, byte].tobytes()
        runs = (raw[i : i + 128] for i in range(0, len(raw), 128))
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return header + b"".join(segments)
