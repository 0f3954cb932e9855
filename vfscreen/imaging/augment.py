"""Training films varied by DALI: the fast path beside `vfscreen.model.augmentation.vary`.

Nothing random happens here. Every number was drawn outside and comes as an argument, so both paths
make the same film, to rounding, and a training that goes on after a kill sees it again.
"""

import os
from typing import TYPE_CHECKING, Any, Protocol, cast

from nvidia.dali import fn, math, types
from nvidia.dali.pipeline import pipeline_def

from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

_FLOATS = (
    "low", "span", "gamma", "curve", "steepness", "centre", "bottom", "rise", "detail", "sigma",
    "outside",
)  # fmt: skip
# The standard deviation of which a kernel of three taps is 1, 2, 1.
_SIGMA_121 = 0.8493218002880191


class Numbers(Protocol):
    """What was drawn for N films: `vfscreen.model.augmentation.Draws`, which explains it."""

    @property
    def geometry(self) -> "Tensor": ...
    @property
    def low(self) -> "Tensor": ...
    @property
    def high(self) -> "Tensor": ...
    @property
    def gamma(self) -> "Tensor": ...
    @property
    def curve(self) -> "Tensor": ...
    @property
    def steepness(self) -> "Tensor": ...
    @property
    def centre(self) -> "Tensor": ...
    @property
    def detail(self) -> "Tensor": ...
    @property
    def sigma(self) -> "Tensor": ...
    @property
    def outside(self) -> "Tensor": ...


class Augmenter:
    """Vary batches of films; one DALI pipeline, kept.

    Parameters
    ----------
    spec : Preprocessing
    batch_size : int
        The most films a batch; smaller ones need nothing rebuilt.
    device : str
        `cpu`, `cuda` or `cuda:N`: where films come from and go to.
    threads : int, optional
        DALI's own, on the CPU; left out: as many as there are cores.
    """

    def __init__(
        self, spec: Preprocessing, batch_size: int, device: str, *, threads: int | None = None
    ) -> None:
        kind, _, number = device.partition(":")
        self._spec, self._on_gpu = spec, kind == "cuda"
        self._pipeline: Any = cast(Any, _pipeline)(
            spec,
            device="gpu" if self._on_gpu else "cpu",
            batch_size=batch_size,
            num_threads=threads or len(os.sched_getaffinity(0)),
            device_id=int(number or 0) if self._on_gpu else None,
            prefetch_queue_depth=1,
        )
        self._pipeline.build()

    def vary(
        self, films: "Tensor", numbers: Numbers, noise: "Tensor", inside: "tuple[Tensor, Tensor]"
    ) -> "Tensor":
        """Films as the network sees them in training.

        Parameters
        ----------
        films : Tensor
            (N, C, C) uint8 on the device.
        numbers : Numbers
            (N, ...) float32 on the CPU.
        noise : Tensor
            (N, 1, S, S) float32 standard normal, on the device.
        inside : tuple of Tensor
            Which columns and which rows are inside the collimator, (N, S) bool each.

        Returns
        -------
        Tensor
            (N, 1, S, S) float32, normalised, on the device; the caller's own.
        """
        import torch
        import torch.utils.dlpack

        size = self._spec.input_size_px
        matrices = _in_pixels(numbers.geometry, films.shape[-1], size)
        bottom = torch.sigmoid(-numbers.steepness * numbers.centre)
        values = {
            "low": numbers.low,
            "span": numbers.high - numbers.low,
            "bottom": bottom,
            "rise": torch.sigmoid(numbers.steepness * (1 - numbers.centre)) - bottom,
        }
        for name in _FLOATS:
            values.setdefault(name, getattr(numbers, name, bottom))
        across, down = inside
        fed: dict[str, Any] = {
            "films": films[..., None],
            "noise": noise.movedim(1, -1),
            "across": across.float()[:, None, :, None].to(films.device),
            "down": down.float()[:, :, None, None].to(films.device),
        }
        fed |= {name: value.view(-1, 1, 1, 1).to(films.device) for name, value in values.items()}
        if not self._on_gpu:
            fed = {name: value.numpy() for name, value in fed.items()}
        elif films.is_cuda:
            # DALI reads on a stream of its own.
            torch.cuda.current_stream(films.device).synchronize()
        (output,) = self._pipeline.run(matrices=matrices.numpy(), **fed)
        # The pipeline writes its next batch where this one lies.
        varied: Tensor = torch.utils.dlpack.from_dlpack(output.as_tensor()).clone()
        return varied


def _in_pixels(geometry: "Tensor", source_px: int, size_px: int) -> "Tensor":
    """Maps (N, 2, 3) between positions in -1..1 as maps between pixels (centres are halves)."""
    import torch

    linear = geometry[..., :2] * (source_px / size_px)
    shift = (geometry[..., 2] - geometry[..., :2].sum(-1) + 1) * (source_px / 2)
    return torch.cat([linear, shift[..., None]], -1)


@pipeline_def
def _pipeline(spec: Preprocessing, *, device: str) -> Any:
    """The graph: step by step what `vary` does."""

    def given(name: str, ndim: int, dtype: Any = types.DALIDataType.FLOAT, on: str = device) -> Any:
        return fn.external_source(
            name=name, ndim=ndim, dtype=dtype, device=on, no_copy=True,
            layout="HWC" if ndim == 3 else None,
        )  # fmt: skip

    size = spec.input_size_px
    at = {name: given(name, 3) for name in (*_FLOATS, "noise", "across", "down")}
    x: Any = fn.warp_affine(
        given("films", 3, types.DALIDataType.UINT8),
        matrix=given("matrices", 2, on="cpu"),
        size=(size, size),
        dtype=types.DALIDataType.FLOAT,
        interp_type=types.DALIInterpType.INTERP_LINEAR,
    )
    x = math.clamp((x / 255.0 - at["low"]) / at["span"], 1e-4, 1.0)
    x = x ** at["gamma"]
    curve = 1.0 / (1.0 + math.exp(-at["steepness"] * (x - at["centre"])))
    x = x + at["curve"] * ((curve - at["bottom"]) / at["rise"] - x)
    smooth = fn.gaussian_blur(x, window_size=3, sigma=_SIGMA_121)
    x = x + at["detail"] * (x - smooth)
    x = math.clamp(x + at["sigma"] * at["noise"], 0.0, 1.0)
    x = at["outside"] + at["down"] * at["across"] * (x - at["outside"])
    return fn.crop_mirror_normalize(
        x,
        dtype=types.DALIDataType.FLOAT,
        output_layout="CHW",
        mean=[spec.mean],
        std=[spec.std],
    )
