"""What the network is paid for: the film's label, the finding's place, the paired comparison."""

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model.plan import TrainingPlan


class DenseHeads(nn.Module):
    """Where the finding lies, at two resolutions; used in training only.

    Pooling is a mean over cells, so one fractured vertebra must lift the mean of all cells: its
    cell's logit is far larger than a probability's. A learnt scale stands between the two.
    """

    def __init__(self, channels: int, findings: int) -> None:
        super().__init__()
        self.third = nn.Conv2d(channels, findings, 1)
        self.log_scale = nn.Parameter(torch.tensor(-2.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))
        nn.init.constant_(self.third.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, third: Tensor, cells: Tensor) -> list[Tensor]:
        return [self.third(third), cells * self.log_scale.exp() + self.bias]


def losses_of(
    logits: Tensor,
    targets: Tensor,
    dense: list[Tensor],
    where: Tensor,
    group: int,
    plan: TrainingPlan,
) -> dict[str, Tensor]:
    """The parts of the loss, weighted."""
    smooth = targets * (1 - plan.label_smoothing) + plan.label_smoothing / 2
    positive = torch.tensor(plan.positive_weight, device=logits.device)
    losses = {"film": nnf.binary_cross_entropy_with_logits(logits, smooth, pos_weight=positive)}
    for name, cells in zip(("dense16", "dense32"), dense, strict=True):
        # A vertebra fills a part of a cell: what counts as full grows with the cell.
        full = 2.0 if name == "dense16" else 4.0
        share = nnf.adaptive_avg_pool2d(where, (cells.shape[-2], cells.shape[-1]))
        goal = (share * full).clamp(max=1.0)
        loss = nnf.binary_cross_entropy_with_logits(
            cells[:, :1].float(), goal, pos_weight=torch.tensor(5.0, device=logits.device)
        )
        losses[name] = plan.dense_weight * loss
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
