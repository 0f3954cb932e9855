"""Gradual magnitude pruning: most weights become zero while training goes on.

The schedule is cubic (Zhu and Gupta 2017, arXiv:1710.01878); the magnitude is made comparable
between layers by LAMP (Lee et al. 2021, arXiv:2010.07611), since batch normalisation makes the
scale of a convolution meaningless.
"""

import numpy as np
import torch
from torch import Tensor, nn

# Too small to be worth a bitmask, and the stem sees the film itself.
_MIN_ELEMENTS = 16_384


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The convolution weights that are pruned, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 4 and parameter.numel() >= _MIN_ELEMENTS
    }


def sparsity_at(progress: float, *, start: float, end: float, target: float) -> float:
    """Share of zeros wanted at a point of training (all in 0..1)."""
    if progress <= start:
        return 0.0
    done = min(1.0, (progress - start) / (end - start))
    return target * (1.0 - (1.0 - done) ** 3)


def magnitude_masks(parameters: dict[str, nn.Parameter], sparsity: float) -> dict[str, Tensor]:
    """Masks (1 keeps, 0 prunes) that leave `1 - sparsity` of all weights, by LAMP score."""
    scores = {name: _lamp(parameter.detach()) for name, parameter in parameters.items()}
    pooled = torch.cat([s.flatten() for s in scores.values()])
    keep = max(1, round(pooled.numel() * (1.0 - sparsity)))
    threshold = _ordered_at(pooled, pooled.numel() - keep)
    return {name: (score >= threshold).to(parameters[name].dtype) for name, score in scores.items()}


def nonzero_masks(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Masks that keep what is not zero: how a pruned checkpoint is trained further."""
    return {n: (p.detach() != 0).to(p.dtype) for n, p in parameters.items()}


@torch.no_grad()
def apply_masks(parameters: dict[str, nn.Parameter], masks: dict[str, Tensor]) -> None:
    """Set pruned weights to zero."""
    if masks:
        torch._foreach_mul_([parameters[n] for n in masks], [masks[n] for n in masks])


def zero_share(parameters: dict[str, nn.Parameter]) -> float:
    """Share of zeros among the prunable weights."""
    zeros = sum(int((p == 0).sum()) for p in parameters.values())
    return zeros / max(1, sum(p.numel() for p in parameters.values()))


def _ordered_at(values: Tensor, index: int) -> float:
    """The value at an index of the sorted values."""
    if values.is_cuda:
        return float(values.sort().values[index])
    # torch's kthvalue on the CPU took minutes on these values; NumPy's introselect does not.
    return float(np.partition(values.numpy(), index)[index])


def _lamp(weight: Tensor) -> Tensor:
    """Squared magnitude over the sum of all squares at least as large in the same layer."""
    squares = weight.flatten().double().square()
    ordered, order = squares.sort(descending=True, stable=True)
    score = torch.empty_like(squares)
    score[order] = ordered / ordered.cumsum(0).clamp_min(1e-30)
    return score.view_as(weight)
