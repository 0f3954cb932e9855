"""The same by an expert: fast decoders, one table, bfloat16, as many workers as pay.

Decoded at full resolution; nothing of vfscreen but the network's definition and weights.
"""

import os
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader, Dataset

from benchmarks.systems.loop import Request, System, main
from vfscreen.model.checkpoint import load_weights
from vfscreen.preprocessing import Preprocessing

CORES = len(os.sched_getaffinity(0))
SETTINGS = {"workers": 2 * CORES, "batch_size": 8, "threads": CORES, "prefetch": 2}
# Values at a time through the table: they stay in the core's cache.
PIXELS_AT_A_TIME = 1 << 16


class Films(Dataset[tuple[Tensor, int]]):
    """Films by number, ready for the network."""

    def __init__(self, paths: list[str], spec: Preprocessing) -> None:
        self.paths, self.spec = paths, spec

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        dataset = pydicom.dcmread(self.paths[number])
        return prepare(dataset, self.spec), number


def prepare(dataset: pydicom.Dataset, spec: Preprocessing) -> Tensor:
    """One film as the network wants it: one pass over its pixels between decoder and resize."""
    stored = decode(dataset)
    table = display_table(dataset, spec)
    shown = np.empty(stored.shape, np.float32)
    rows = max(1, PIXELS_AT_A_TIME // stored.shape[1])
    for start in range(0, len(stored), rows):
        block = slice(start, start + rows)
        np.take(table, stored[block], out=shown[block], mode="clip")
    return torch.from_numpy(resize(shown, spec.input_size_px))[None]


def decode(dataset: pydicom.Dataset) -> NDArray[np.unsignedinteger]:
    """Stored values, by the fastest decoder that was found for each transfer syntax."""
    syntax = dataset.file_meta.TransferSyntaxUID
    shape = dataset.Rows, dataset.Columns
    if not syntax.is_encapsulated:
        return np.frombuffer(dataset.PixelData, "<u2").reshape(shape)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax == uid.RLELossless:
        decoded = imagecodecs.dicomrle_decode(frame, np.dtype("<u2"))
        return np.frombuffer(decoded, "<u2")[: shape[0] * shape[1]].reshape(shape)
    if syntax == uid.JPEGLSLossless:
        return imagecodecs.jpegls_decode(frame)
    if syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        return imagecodecs.jpeg2k_decode(frame, numthreads=1)
    if syntax == uid.HTJ2KLossless:
        return imagecodecs.htj2k_decode(frame)
    return imagecodecs.jpeg8_decode(frame)


def display_table(dataset: pydicom.Dataset, spec: Preprocessing) -> NDArray[np.float32]:
    """Rescale, window, inversion and normalisation of every stored value at once."""
    values = np.arange(1 << dataset.BitsStored, dtype=np.float32)
    values = values * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    shown = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return ((shown - spec.mean) / spec.std).astype(np.float32)


# Resizers that give the same values, ms for 2660 x 2165 on one core (EPYC, avx512): two sparse
# products 2.1, torch antialias float32 5.6 (contiguous 5.8, from uint16 6.8), Pillow mode F 8.6,
# Pillow I;16 11. With other values: torch uint8 6.2, Pillow L 7.3, cv2 INTER_AREA 11-12.
def resize(film: NDArray[np.float32], size_px: int) -> NDArray[np.float32]:
    """Antialiased linear resize to a square, as two products with sparse matrices."""
    rows, columns = film.shape
    small = weights(columns, size_px) @ (weights(rows, size_px) @ film).T
    return np.ascontiguousarray(small.T)


@cache
def weights(size: int, wanted: int) -> csr_matrix:
    """The triangle filter from `size` to `wanted` samples, one row a sample."""
    scale = size / wanted
    reach = max(scale, 1.0)
    centers = (np.arange(wanted) + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centers[:, None]) / reach
    dense = np.clip(1 - distance, 0, None)
    return csr_matrix((dense / dense.sum(1, keepdims=True)).astype(np.float32))


def fast_network(path_info: object) -> nn.Module:
    """The network in bfloat16 with normalisation folded in; its last layer in float32."""
    (model,) = load_weights(path_info).members
    backbone = model.backbone
    backbone.conv1, backbone.bn1 = fuse_conv_bn_eval(backbone.conv1, backbone.bn1), nn.Identity()
    for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for block in stage:
            for n in ("1", "2", "3"):
                convolution, norm = getattr(block, f"conv{n}"), getattr(block, f"bn{n}")
                setattr(block, f"conv{n}", fuse_conv_bn_eval(convolution, norm))
                setattr(block, f"bn{n}", nn.Identity())
            if block.downsample is not None:
                block.downsample = fuse_conv_bn_eval(*block.downsample)
    # bfloat16 pays only where the CPU multiplies it.
    flags = Path("/proc/cpuinfo").read_text(errors="replace").split()
    if {"avx512_bf16", "amx_bf16"} & set(flags):
        model.to(torch.bfloat16)
    model.to(memory_format=torch.channels_last)
    backbone.fc.float()
    return model


def build(request: Request) -> System:
    """Load it."""
    settings = request.settings
    torch.set_num_threads(settings["threads"])
    model = fast_network(request.info)
    dtype = model.backbone.conv1.weight.dtype
    loader = DataLoader(
        Films(request.paths, request.info.preprocessing),
        batch_sampler=request.turns,
        num_workers=settings["workers"],
        prefetch_factor=settings["prefetch"],
        persistent_workers=True,
    )

    @torch.inference_mode()
    def probabilities(films: Tensor) -> Tensor:
        films = films.to(dtype).contiguous(memory_format=torch.channels_last)
        return torch.sigmoid(model(films))[:, 0]

    return System(loader, probabilities)


if __name__ == "__main__":
    main("tuned", SETTINGS, build)
