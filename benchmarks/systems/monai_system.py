"""MONAI as its documentation says: dictionary transforms, its reader, its DataLoader, float32.

PydicomReader applies the rescale, but neither window nor inversion: `Displayd` does, from the
metadata that the reader keeps on request. `Resized` stands at its default, area averaging; its
values differ a little from a triangle filter's.
"""

import os
from collections.abc import Hashable, Mapping

import torch
from monai.data import DataLoader, Dataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    MapTransform,
    NormalizeIntensityd,
    Resized,
)

from benchmarks.systems.loop import Request, System, main, plain_network

SETTINGS = {"workers": len(os.sched_getaffinity(0)), "batch_size": 16}
WINDOW_CENTER, WINDOW_WIDTH, PHOTOMETRIC = "00281050", "00281051", "00280004"


class Displayd(MapTransform):
    """Window and inversion."""

    def __call__(self, data: Mapping[Hashable, object]) -> dict[Hashable, object]:
        done = dict(data)
        for key in self.key_iterator(done):
            film = done[key]
            center, width, photometric = (
                film.meta[tag]["Value"][0] for tag in (WINDOW_CENTER, WINDOW_WIDTH, PHOTOMETRIC)
            )
            film = ((film - (center - 0.5)) / (width - 1) + 0.5).clamp(0, 1)
            done[key] = 1 - film if photometric == "MONOCHROME1" else film
        return done


def build(request: Request) -> System:
    """Load it."""
    spec = request.info.preprocessing
    size = (spec.input_size_px, spec.input_size_px)
    transform = Compose(
        [
            LoadImaged(
                keys="film", reader="PydicomReader", image_only=True, swap_ij=False,
                prune_metadata=False,
            ),
            EnsureChannelFirstd(keys="film"),
            Displayd(keys="film"),
            Resized(keys="film", spatial_size=size),
            NormalizeIntensityd(keys="film", subtrahend=spec.mean, divisor=spec.std),
            EnsureTyped(keys="film", dtype=torch.float32, track_meta=False),
        ]
    )  # fmt: skip
    items = [{"film": path, "number": n} for n, path in enumerate(request.paths)]
    loader = DataLoader(
        Dataset(items, transform),
        batch_sampler=request.turns,
        num_workers=request.settings["workers"],
        persistent_workers=True,
    )
    return System(_Batches(loader), plain_network(request.info))


class _Batches:
    """MONAI's dictionaries as pairs."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __iter__(self):
        return ((batch["film"], batch["number"]) for batch in self.loader)


if __name__ == "__main__":
    main("monai", SETTINGS, build)
