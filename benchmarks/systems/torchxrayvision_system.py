"""TorchXRayVision as its documentation says: read_xray_dcm, XRayResizer, a DataLoader, float32.

`read_xray_dcm` windows and inverts; it knows no rescale (ours is the identity). Its resizer has two
engines; `cv2` is the one that its own warning recommends, and the faster: area averaging, whose
values differ a little from a triangle filter's. Films are stretched, not cropped, as the
checkpoint was trained.
"""

import os
import warnings

import torch
import torchxrayvision as xrv
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.systems.loop import Request, System, main, plain_network
from vfscreen.preprocessing import Preprocessing

SETTINGS = {"workers": len(os.sched_getaffinity(0)), "batch_size": 16}


class Films(Dataset[tuple[Tensor, int]]):
    """Films by number, ready for the network."""

    def __init__(self, paths: list[str], spec: Preprocessing) -> None:
        self.paths, self.spec = paths, spec
        self.resize = xrv.datasets.XRayResizer(spec.input_size_px, engine="cv2")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every film that it inverts
            film = xrv.utils.read_xray_dcm(self.paths[number], voi_lut=True)[None]
        # From its range, -1024 to 1024, to the network's.
        small = torch.from_numpy(self.resize(film)) / 2048 + 0.5
        return (small - self.spec.mean) / self.spec.std, number


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
    main("torchxrayvision", SETTINGS, build)
