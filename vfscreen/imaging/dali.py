"""Display values to the network's input, by DALI: on the GPU where there is one, else on the CPU.

DALI is only ever given decoded arrays that are known to be good: one bad image would invalidate
the pipeline and lose its batch.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import fn, types
from nvidia.dali.pipeline import pipeline_def

from vfscreen.imaging.values import DISPLAY_MAX
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

# Reading the films is bound by memory: beyond this, threads are better left to the decoders.
_MAX_THREADS = 8


class DlpackTensor(Protocol):
    """What `torch.from_dlpack` and `numpy.from_dlpack` take."""

    def __dlpack__(self, **options: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, int]: ...


class Preparer:
    """Resize and normalise batches of films; one DALI pipeline, kept.

    Parameters
    ----------
    spec : Preprocessing
    batch_size : int
        The most films a batch; smaller ones need nothing rebuilt.
    device : str
        `cpu`, `cuda` or `cuda:N`.
    threads : int, optional
        DALI's own; left out: as many as there are cores, at most eight.
    on_device : bool
        Films come as tensors that lie on the GPU already.

    Notes
    -----
    A film's values do not depend on the batch that it is in, to the last bit.
    """

    def __init__(
        self,
        spec: Preprocessing,
        batch_size: int,
        device: str = "cpu",
        *,
        threads: int | None = None,
        on_device: bool = False,
    ) -> None:
        kind, _, number = device.partition(":")
        if kind not in ("cpu", "cuda"):
            raise ValueError(f"a device is cpu, cuda or cuda:N, not {device}")
        self.batch_size = batch_size
        self.device = device
        self._pipeline: Any = cast(Any, _pipeline)(
            spec,
            on_gpu=kind == "cuda",
            on_device=on_device,
            batch_size=batch_size,
            num_threads=threads or min(_MAX_THREADS, len(os.sched_getaffinity(0))),
            device_id=int(number or 0) if kind == "cuda" else None,
            # Inputs are given to `run`, which asks for a queue of one.
            prefetch_queue_depth=1,
        )
        self._pipeline.build()

    def prepare(
        self,
        displays: "Sequence[NDArray[np.uint16]] | Sequence[Tensor]",
        regions: Sequence[tuple[float, float, float, float]] | None = None,
    ) -> DlpackTensor:
        """Prepare a batch.

        Parameters
        ----------
        displays : sequence of uint16 arrays or tensors, shape (rows, columns) each
            Display values; not copied, and not needed any more afterwards. Tensors of a GPU are
            to be complete.
        regions : sequence of (top, left, bottom, right), optional
            Where each film lies in its array, in pixels; may reach past its edges, which are then
            repeated. Left out: films fill their arrays.

        Returns
        -------
        DLPack tensor, float32, shape (n, 1, S, S), contiguous, on the device
            Complete on return, whatever stream it is used on: the pipeline is waited for.
        """
        if not 1 <= len(displays) <= self.batch_size:
            raise ValueError(f"a batch is 1 to {self.batch_size} films, not {len(displays)}")
        if regions is None:
            regions = [(0.0, 0.0, *display.shape) for display in displays]
        corners = np.asarray(regions, np.float32)
        (output,) = self._pipeline.run(
            films=[display[:, :, np.newaxis] for display in displays],
            starts=list(corners[:, :2]),
            ends=list(corners[:, 2:]),
        )
        tensor: DlpackTensor = output.as_tensor()
        return tensor


@pipeline_def
def _pipeline(spec: Preprocessing, *, on_gpu: bool, on_device: bool) -> Any:
    """The graph: the same operators in the same order on either device."""
    films: Any = fn.external_source(
        name="films",
        no_copy=True,
        dtype=types.DALIDataType.UINT16,
        ndim=3,
        layout="HWC",
        device="gpu" if on_device else "cpu",
    )
    starts, ends = (
        fn.external_source(name=name, dtype=types.DALIDataType.FLOAT, ndim=1, device="cpu")
        for name in ("starts", "ends")
    )
    if on_gpu and not on_device:
        films = films.gpu()
    size = spec.input_size_px
    small: Any = fn.resize(
        films,
        resize_x=size,
        resize_y=size,
        roi_start=starts,
        roi_end=ends,
        interp_type=types.DALIInterpType.INTERP_LINEAR,
        antialias=True,
        dtype=types.DALIDataType.FLOAT,
    )
    return fn.crop_mirror_normalize(
        small,
        dtype=types.DALIDataType.FLOAT,
        output_layout="CHW",
        mean=[spec.mean * DISPLAY_MAX],
        std=[spec.std * DISPLAY_MAX],
    )
