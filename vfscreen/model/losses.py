"""What the network is paid for: the film's label, the finding's place, the paired comparison."""

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model.plan import TrainingPlan


class DenseHeads(nn.Module):
    """Where the first finding lies, at two resolutions; used in training only.

    Pooling is a mean over cells, so one fractured vertebra must lift the mean of all cells: its
    cell's logit is far larger than a probability's. A learnt scale stands between the two.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.third = nn.Conv2d(channels, 1, 1)
        self.log_scale = nn.Parameter(torch.tensor(-2.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))
        nn.init.constant_(self.third.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, third: Tensor, cells: Tensor) -> list[Tensor]:
        return [self.third(third), cells * self.log_scale.exp() + self.bias]


def film_loss(logits: Tensor, targets: Tensor, positive_weights: Tensor, smooth: float) -> Tensor:
    """Mean cross-entropy of what is known, positives weighted by (F,); NaN targets are unknown."""
    known = ~targets.isnan()
    goal = torch.where(known, targets, 0.0) * (1 - smooth) + smooth / 2
    loss = nnf.binary_cross_entropy_with_logits(
        logits, goal, pos_weight=positive_weights, reduction="none"
    )
    return torch.where(known, loss, 0.0).sum() / known.sum().clamp(min=1)


def losses_of(
    logits: Tensor,
    targets: Tensor,
    dense: list[Tensor],
    where: Tensor | None,
    marked: Tensor | None,
    group: int,
    positive_weights: Tensor,
    plan: TrainingPlan,
) -> dict[str, Tensor]:
    """The parts of the loss, weighted."""
    losses = {"film": film_loss(logits, targets, positive_weights, plan.label_smoothing)}
    if where is not None and marked is not None:
        weight = marked.float()[:, None, None, None]
        for name, cells in zip(("dense16", "dense32"), dense, strict=True):
            # A vertebra fills a part of a cell: what counts as full grows with the cell.
            full = 2.0 if name == "dense16" else 4.0
            share = nnf.adaptive_avg_pool2d(where, (cells.shape[-2], cells.shape[-1]))
            loss = nnf.binary_cross_entropy_with_logits(
                cells[:, :1].float(),
                (share * full).clamp(max=1.0),
                pos_weight=torch.tensor(5.0, device=logits.device),
                reduction="none",
            )
            losses[name] = (
                plan.dense_weight
                * (loss.mean((1, 2, 3)) * weight.flatten()).sum()
                / (weight.sum().clamp(min=1))
            )
    if group > 1:
        by_group = logits.view(-1, group, logits.shape[1])
        truth = targets.view(-1, group, logits.shape[1])
        gain = by_group[:, :-1] - by_group[:, -1:]
        other = truth[:, :-1]
        raised = nnf.softplus(-gain) * other
        # A mimic must not score above its own film without it.
        level = nnf.softplus(gain) * (1 - other) * plan.negative_pair_weight
        losses["pair"] = plan.pair_weight * (raised + level).sum((1, 2)).mean()
    return losses
