"""The obvious script: DataLoader, pydicom, torch's resize, float32.

What a data scientist writes from the libraries' documentation, one film an item. Batches of 16
and not 32 are the one kindness: with 64 films a pass they keep both workers busy for longer.
"""

import os

import numpy as np
import pydicom
import torch
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from benchmarks.systems.loop import Request, System, main, plain_network
from vfscreen.preprocessing import Preprocessing

SETTINGS = {"workers": len(os.sched_getaffinity(0)), "batch_size": 16}


class Films(Dataset[tuple[Tensor, int]]):
    """Films by number, ready for the network."""

    def __init__(self, paths: list[str], spec: Preprocessing) -> None:
        self.paths, self.spec = paths, spec

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return prepare(pydicom.dcmread(self.paths[number]), self.spec), number


def prepare(dataset: pydicom.Dataset, spec: Preprocessing) -> Tensor:
    """One film as the network wants it."""
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    # pydicom stretches a window over the range of the stored bits.
    film = torch.from_numpy(values.astype(np.float32)) / (2**dataset.BitsStored - 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        film = 1 - film
    size = (spec.input_size_px, spec.input_size_px)
    small = interpolate(film[None, None], size, mode="bilinear", antialias=True)[0]
    return (small - spec.mean) / spec.std


def build(request: Request) -> System:
    """Load it."""
    loader = DataLoader(
        Films(request.paths, request.info.preprocessing),
        batch_sampler=request.turns,
        num_workers=request.settings["workers"],
        persistent_workers=True,
    )
    return System(loader, plain_network(request.info))


if __name__ == "__main__":
    main("obvious", SETTINGS, build)
