"""From prepared films to logits: one model load a run, fixed shapes, the fastest safe precision.

Kernels depend on the shape of a batch, and in half precision a logit then moves in its third
digit. So films always go through the network in batches of one fixed size, the last one padded:
a probability depends neither on how many films came with it nor on their order.

Where a checkpoint has several members or asks for the mirrored films too, all of them see the same
batch, and their logits are averaged.
"""

import copy
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vfscreen.errors import UsageError
from vfscreen.model.checkpoint import CheckpointInfo, load_weights
from vfscreen.model.column import level_of
from vfscreen.model.network import Ensemble, FilmClassifier, Network, averaged
from vfscreen.model.packed import PackedNetwork, pack

_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# The fixed size for films of 224 px: enough to keep the device busy, little to pad for a single
# film. On a core of a CPU, 4 are as fast a film as 8 or 16 and stay in its cache.
_FIXED = {"cpu": 4, "cuda": 128}
# What precedes a normalisation, by torchvision's names: in its ResNets `bn2` follows `conv2`, in a
# shortcut and in EfficientNet `1` follows `0`, in a dense layer `norm2` follows `conv1`. A
# normalisation that is not named here (DenseNet's `norm1`, `norm`, `norm5`) follows a ReLU or
# several layers at once, and stays.
_BEFORE = {
    "bn1": "conv1",
    "bn2": "conv2",
    "bn3": "conv3",
    "1": "0",
    "norm0": "conv0",
    "norm2": "conv1",
}


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


class Predictor:
    """A checkpoint's network or networks, ready on their device.

    Attributes
    ----------
    info : CheckpointInfo
        What was loaded.
    device : torch.device
        Where it runs.
    precision : str
        `float32`, `bfloat16` or `float16`; logits are float32 whatever it is.
    batch_size : int
        How many films a caller best hands over at once.
    lanes : int
        How many threads best call `logits` at a time, each with `torch.set_num_threads(1)`.
    packed : bool
        Whether all members run as `packed.PackedNetwork`.
    """

    def __init__(
        self,
        info: CheckpointInfo,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """Load the network.

        Parameters
        ----------
        info : CheckpointInfo
            From `read_info`.
        device : str
            `auto`, `cpu` or `cuda`.
        precision : str
            `auto`, or the name of one.

        Raises
        ------
        CheckpointError
            The weights cannot be used.
        UsageError
            The device or the precision is not to be had here.
        """
        self.info = info
        self.device = _device(device)
        self.precision = _precision(precision, self.device)
        self._model = load_weights(info)
        size = info.preprocessing.input_size_px
        self._shape = (size, size)
        self._straightener = None
        if self._model.straightener is not None:
            spec = self._model.straightener.spec
            self._shape = (spec.height_px, spec.width_px)
            self._straightener = copy.deepcopy(self._model.straightener).to(self.device)
        # As much work a batch whatever the size of what the networks see.
        area = self._shape[0] * self._shape[1] / 224**2
        self._fixed = self.batch_size = max(1, round(_FIXED[self.device.type] / area))
        self.lanes = len(os.sched_getaffinity(0))
        self._dtype = _PRECISIONS[self.precision]
        folded = self._folded(self._dtype)
        self._fast: list[Network] = [*folded]
        if self.device.type == "cpu":
            noise = _noise(self._fixed, self._shape).to(self._dtype)
            self._fast = [pack(network, noise) or network for network in folded]
        self.packed = all(isinstance(network, PackedNetwork) for network in self._fast)

    def _folded(self, dtype: torch.dtype) -> list[FilmClassifier]:
        return [fold(member, self.device, dtype) for member in self._model.members]

    def warm_up(self) -> None:
        """Run a batch of noise, in the thread that will call `logits`: kernels are chosen by it."""
        size = self.info.preprocessing.input_size_px
        self._run(self._fast, self._dtype, _noise(1, (size, size)))

    @cached_property
    def reference(self) -> Ensemble:
        """The networks as stored, in float32, for heatmaps; on the same device."""
        return self._model.to(self.device).to(memory_format=torch.channels_last)

    @cached_property
    def _exact(self) -> list[FilmClassifier]:
        return self._folded(torch.float32)

    def logits(self, batch: Tensor) -> NDArray[np.float32]:
        """Logits of prepared films.

        Parameters
        ----------
        batch : Tensor
            (N, 1, S, S) float32, normalised, on any device; S is the checkpoint's input size.

        Returns
        -------
        ndarray
            (N, findings) float32. NaN for a finding of a level that was not seen on the film. A
            film whose other logits are not finite, even in float32, keeps them so: it is the
            caller's failure `non_finite_logit` (`answered` tells which).
        """
        size = self.info.preprocessing.input_size_px
        if batch.dim() != 4 or batch.shape[1:] != (1, size, size):
            raise ValueError(f"films are (N, 1, {size}, {size}), not {tuple(batch.shape)}")
        logits = self._run(self._fast, self._dtype, batch)
        overflown = np.flatnonzero(~answered(logits, self.info))
        if len(overflown) and self.precision != "float32":
            # float16 ends at 65504: a network may pass it where float32 does not.
            again = batch[torch.from_numpy(overflown)]
            logits[overflown] = self._run(self._exact, torch.float32, again)
        return logits

    @torch.inference_mode()
    def _run(
        self, networks: Sequence[Network], dtype: torch.dtype, batch: Tensor
    ) -> NDArray[np.float32]:
        parts = []
        for films in batch.split(self._fixed):  # type: ignore[no-untyped-call]
            count = len(films)
            # What straightens films does so in float32; only what it makes is rounded.
            x = films.to(self.device, dtype if self._straightener is None else torch.float32)
            if count < self._fixed:
                x = torch.cat([x, x.new_zeros(self._fixed - count, *x.shape[1:])])
            logits = averaged(
                networks, x, flip=self.info.flip, straightener=self._straightener, dtype=dtype
            )
            parts.append(logits[:count])
        if not parts:
            return np.empty((0, len(self.info.findings)), np.float32)
        return np.asarray(torch.cat(parts).float().cpu().numpy())


def answered(logits: NDArray[np.float32], info: CheckpointInfo) -> NDArray[np.bool_]:
    """Which films (N,) have an answer: finite logits, but for levels that were not seen."""
    of_level = [info.locator is not None and level_of(f) is not None for f in info.findings]
    unseen = np.isnan(logits) & np.array(of_level)
    return np.asarray((np.isfinite(logits) | unseen).all(axis=1))


def _noise(films: int, shape: tuple[int, int]) -> Tensor:
    noise = torch.randn(films, 1, *shape, generator=torch.Generator().manual_seed(1))
    return noise.contiguous(memory_format=torch.channels_last)


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in _FIXED:
        raise UsageError(f"The device {wanted!r} is not known; known: auto, cpu, cuda.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no usable CUDA device here; `vfscreen doctor` says why.")
    return torch.device(wanted)


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "auto":
        if device.type == "cuda":
            # Three bits more than bfloat16; what overflows is computed again in float32.
            return "float16"
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    if wanted not in _PRECISIONS:
        raise UsageError(
            f"The precision {wanted!r} is not known; known: auto, {', '.join(_PRECISIONS)}."
        )
    if wanted == "float16" and device.type == "cpu":
        raise UsageError("float16 is for GPUs; on a CPU take bfloat16, float32 or auto.")
    return wanted


def fold(model: FilmClassifier, device: torch.device, dtype: torch.dtype) -> FilmClassifier:
    """A copy for inference: a stem of one channel, normalisation folded into convolutions.

    A batch normalisation that no convolution precedes keeps its statistics in float32. ConvNeXt
    normalises each cell by its own mean: nothing there can be folded.
    """
    fast = copy.deepcopy(model).float().cpu().eval()
    for module in list(fast.modules()):
        for name, norm in list(module.named_children()):
            if isinstance(norm, nn.BatchNorm2d) and name in _BEFORE:
                convolution = module.get_submodule(_BEFORE[name])
                assert isinstance(convolution, nn.Conv2d)
                setattr(module, _BEFORE[name], fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
    # All four begin with the convolution that sees the film. It is the same in all three channels:
    # summing the kernel is the same convolution.
    stem = next(module for module in fast.modules() if isinstance(module, nn.Conv2d))
    stem.weight = nn.Parameter(stem.weight.sum(1, keepdim=True))
    stem.in_channels = 1
    fast.channels = 1
    fast.requires_grad_(False)
    fast.to(device, dtype).to(memory_format=torch.channels_last)
    for module in fast.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    for module in fast.stages()["head"]:
        module.float()
    return fast
