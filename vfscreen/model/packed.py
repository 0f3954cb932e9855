"""The folded network by oneDNN's own operators, for CPUs: an eighth less time, nothing to compile.

Weights are laid out once as the convolutions want them, and ReLU and the sum with the shortcut
happen inside the convolution before them. torch.compile puts the same operators into a network that
it freezes. They are not public: where they are missing or answer otherwise, `pack` gives None.
"""

import logging
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from vfscreen.model.network import FilmClassifier

log = logging.getLogger("vfscreen")

# In bfloat16, features move by 0.001 of their length, since they are rounded at other places.
_MOST_APART = 0.02


@dataclass(frozen=True, slots=True)
class _Convolution:
    weight: Tensor
    bias: Tensor
    geometry: tuple[list[int], list[int], list[int], int]

    @classmethod
    def of(cls, layer: nn.Module, shapes: dict[nn.Module, list[int]]) -> Self:
        """Lay a layer's weights out for the shape of its input."""
        conv = cast(nn.Conv2d, layer)
        padding = cast(tuple[int, int], conv.padding)
        geometry = (list(padding), list(conv.stride), list(conv.dilation), conv.groups)
        # oneDNN reads the weights as plain numbers and takes channels_last for another order.
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.detach(), *geometry, shapes[conv]
        )
        return cls(weight, cast(Tensor, conv.bias).detach(), geometry)

    def __call__(self, x: Tensor, then: str = "relu") -> Tensor:
        operator: Any = torch.ops.mkldnn._convolution_pointwise
        return cast(Tensor, operator(x, self.weight, self.bias, *self.geometry, then, [], ""))

    def plus(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """ReLU of the convolution and a shortcut together."""
        operator: Any = torch.ops.mkldnn._convolution_pointwise.binary
        return cast(
            Tensor,
            operator(
                x, shortcut, self.weight, self.bias, *self.geometry, "add", 1.0, "relu", [], ""
            ),
        )


@dataclass(frozen=True, slots=True)
class _Bottleneck:
    first: _Convolution
    second: _Convolution
    third: _Convolution
    shortcut: _Convolution | None

    def __call__(self, x: Tensor) -> Tensor:
        other = x if self.shortcut is None else self.shortcut(x, "none")
        return self.third.plus(self.second(self.first(x)), other)


@dataclass(frozen=True, slots=True)
class PackedNetwork:
    """A `FilmClassifier` for inference on a CPU; films or columns to logits (N, findings)."""

    stem: _Convolution
    blocks: list[_Bottleneck]
    folded: FilmClassifier

    def __call__(self, films: Tensor, windows: Tensor | None = None) -> Tensor:
        # oneDNN's ReLU makes zero of what is no number, and the film would get a probability.
        broken = ~torch.isfinite(films).flatten(1).all(1, keepdim=True)
        return self.folded.judge(self.last(films), windows).masked_fill(broken, torch.nan)

    def last(self, films: Tensor) -> Tensor:
        """The map at stride 32, (N, 2048, H/32, W/32)."""
        x: Tensor = self.folded.backbone.maxpool(self.stem(films))
        for block in self.blocks:
            x = block(x)
        return x


@torch.inference_mode()
def pack(folded: FilmClassifier, films: Tensor) -> PackedNetwork | None:
    """Pack a network whose normalisations are folded.

    Parameters
    ----------
    folded : FilmClassifier
        On the CPU, channels_last, float32 or bfloat16.
    films : Tensor
        (N, 1, S, S), a batch of the shape and type that is to come; not of one value. The packed
        network is tried on the first of them.

    Returns
    -------
    PackedNetwork or None
        None where the network is no ResNeXt, and, with a warning, where the operators are not to
        be had or do not agree with torch's.
    """
    if not folded.architecture.startswith("resnext"):
        return None
    shapes: dict[nn.Module, list[int]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shapes[layer] = [len(films), *inputs[0].shape[1:]]

    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in folded.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        expected = _pooled(folded.feature_maps(films[:1])[1])
    finally:
        for hook in hooks:
            hook.remove()
    net = folded.backbone
    try:
        packed = PackedNetwork(
            stem=_Convolution.of(net.conv1, shapes),
            blocks=[
                _block(block, shapes)
                for layer in (net.layer1, net.layer2, net.layer3, net.layer4)
                for block in layer
            ],
            folded=folded,
        )
        apart = (_pooled(packed.last(films[:1])) - expected).norm() / expected.norm()
    except (AttributeError, RuntimeError, TypeError) as error:
        log.warning("oneDNN's operators are not to be had (%s)", type(error).__name__)
        return None
    if not apart < _MOST_APART:  # nor where features overflow to what is no number
        log.warning("oneDNN's operators do not agree with torch's")
        return None
    return packed


def _pooled(last: Tensor) -> Tensor:
    return last.mean((2, 3), dtype=torch.float32)


def _block(block: Any, shapes: dict[nn.Module, list[int]]) -> _Bottleneck:
    shortcut = block.downsample
    return _Bottleneck(
        first=_Convolution.of(block.conv1, shapes),
        second=_Convolution.of(block.conv2, shapes),
        third=_Convolution.of(block.conv3, shapes),
        shortcut=None if shortcut is None else _Convolution.of(shortcut[0], shapes),
    )
