"""What learns: the network, its average, the optimiser, and all of it as tensors by name."""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vfscreen.model.batches import Batch
from vfscreen.model.column import LEVELS, level_of
from vfscreen.model.losses import DenseHeads, losses_of
from vfscreen.model.network import FilmClassifier, channels_of, freeze, frozen_modules
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.pruning import (
    apply_masks,
    magnitude_masks,
    nonzero_masks,
    prunable,
    sparsity_at,
    zero_share,
)
from vfscreen.model.validating import autocast_of


class Learner:
    """A network in training.

    Everything that a step changes is in `tensors()`: what `restore` is given back goes on
    bitwise as if nothing had been in between.
    """

    def __init__(
        self,
        model: FilmClassifier,
        plan: TrainingPlan,
        positive_weights: Tensor,
        device: torch.device,
        *,
        group: int,
        already_pruned: bool,
    ) -> None:
        self.plan, self.device, self._group = plan, device, group
        self._positive_weights = positive_weights.to(device)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        freeze(self.model, plan.frozen)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        torch.manual_seed(plan.seed)
        self.heads = DenseHeads(channels_of(model.architecture)[0]).to(device)
        self.optimizer = self._optimizer()
        self._prunable = prunable(self.model)
        self._already_pruned = already_pruned
        self.masks = nonzero_masks(self._prunable) if already_pruned else {}
        self.sparsity = zero_share(self._prunable) if already_pruned else 0.0
        self._averaged = list(zip(_floats(self.average), _floats(self.model), strict=True))

    def step(
        self, batch: Batch, step: int, rate: float, progress: float
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """One step, the `step`-th; returns the parts of the loss, and logits and targets (N, F)."""
        plan = self.plan
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with autocast_of(self.device):
            third, last = self.model.feature_maps(batch.films)
            dense = []
            if batch.where is not None:
                dense = self.heads(third, self.model.cells(last)[:, :1])
        logits, targets = self.model.judge(last, batch.windows), batch.targets
        unseen = unseen_levels(self.model.findings, batch.windows)
        if unseen is not None:
            logits, targets = (
                logits.masked_fill(unseen, 0.0),
                targets.masked_fill(unseen, torch.nan),
            )
        losses = losses_of(
            logits, targets, dense, batch.where, batch.marked, self._group,
            self._positive_weights, plan,
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), plan.clip_norm)
        self.optimizer.step()
        self._prune(step, progress)
        keep = min(1 - 1 / plan.ema_steps, step / (step + 10)) if plan.ema_steps > 0 else 0.0
        self._average(keep)
        return losses, logits.detach(), targets

    def finite(self) -> bool:
        """Whether all weights are finite; a finite loss may leave some that are not."""
        norms = torch._foreach_norm([p.detach() for p in self._parameters()])
        return bool(torch.stack(norms).isfinite().all())

    def finished(self, passes: Iterable[Batch] = (), *, last: bool = False) -> FilmClassifier:
        """A copy of the averaged network as it will be stored: masked and rounded to float16.

        With batches to pass, statistics of batch normalisation are estimated anew for exactly
        these weights. `last` prunes what the schedule has not yet.
        """
        if last and not self._already_pruned and self.sparsity < self.plan.sparsity:
            self.masks = magnitude_masks(self._prunable, self.plan.sparsity)
            self.sparsity = self.plan.sparsity
        model = copy.deepcopy(self.average)
        apply_masks(prunable(model), self.masks)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 4:  # what a checkpoint stores as float16
                    parameter.copy_(parameter.half().float())
        _estimate_statistics(model, passes, self.device)
        return model.eval()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes, by name; views, not copies."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"heads.{k}": v for k, v in self.heads.state_dict().items()}
        tensors |= {f"mask.{k}": v for k, v in self.masks.items()}
        for i, parameter in enumerate(self._parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{i}.{name}"] = value
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], sparsity: float) -> None:
        """Take back what `tensors` gave, and the sparsity of that moment."""
        self.model.load_state_dict(under(tensors, "model."))
        self.average.load_state_dict(under(tensors, "average."))
        self.heads.load_state_dict(under(tensors, "heads."))
        self.masks = {
            k: v.to(self._prunable[k].device, self._prunable[k].dtype, copy=True)
            for k, v in under(tensors, "mask.").items()
        }
        self.sparsity = sparsity
        self.optimizer.state.clear()
        for i, parameter in enumerate(self._parameters()):
            state = under(tensors, f"optimizer.{i}.")
            if state:
                self.optimizer.state[parameter] = {
                    name: value.to(parameter.device, copy=True)
                    if name != "step"
                    else _like_step(value, self.optimizer, parameter)
                    for name, value in state.items()
                }

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.heads.parameters()]

    def _optimizer(self) -> torch.optim.AdamW:
        """AdamW; biases and normalisation are not decayed."""
        learnt = [p for p in self._parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learnt if p.dim() > 1], "weight_decay": self.plan.weight_decay},
            {"params": [p for p in learnt if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=self.plan.learning_rate, fused=self.device.type == "cuda"
        )

    def _prune(self, step: int, progress: float) -> None:
        plan = self.plan
        wanted = sparsity_at(
            progress, start=plan.prune_from, end=plan.prune_until, target=plan.sparsity
        )
        if not self._already_pruned and wanted > self.sparsity and step % plan.mask_steps == 0:
            self.masks, self.sparsity = magnitude_masks(self._prunable, wanted), wanted
        apply_masks(self._prunable, self.masks)

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        """Move the average: weights and statistics of normalisation alike."""
        old, new = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(list(old), [t.detach() for t in new], 1 - keep)


def unseen_levels(findings: Sequence[str], windows: Tensor | None) -> Tensor | None:
    """Which findings (N, F) are of a level that the column does not show; None without columns."""
    if windows is None:
        return None
    hidden = windows.isnan().any(2)
    levels = [level_of(finding) for finding in findings]
    no = torch.zeros(len(windows), dtype=torch.bool, device=windows.device)
    return torch.stack([no if v is None else hidden[:, LEVELS.index(v)] for v in levels], 1)


def _floats(module: nn.Module) -> list[Tensor]:
    return [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _like_step(value: Tensor, optimizer: torch.optim.AdamW, parameter: Tensor) -> Tensor:
    """The optimiser's step counter lies on the CPU, unless a fused kernel reads it."""
    fused = bool(optimizer.defaults["fused"])
    return value.to(parameter.device if fused else "cpu", copy=True)


def _estimate_statistics(
    model: FilmClassifier, batches: Iterable[Batch], device: torch.device
) -> None:
    """Means and variances of batch normalisation as a plain mean over the batches, if any."""
    still = {m for frozen in frozen_modules(model) for m in frozen.modules()}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m not in still]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    with torch.no_grad(), autocast_of(device):
        for i, batch in enumerate(batches):
            for norm in norms if i == 0 else ():
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            model(batch.films, batch.windows)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
