"""The training loop: groups of films in memory in, a pruned network out.

Films of a group are consecutive rows. Where a group has several films they are counterfactuals
of one patient and the last is the reference, the film without the finding and without anything
like it: the loss then also compares each film with its reference, so that the network is paid for
the finding and not for the patient. Groups of one film train as usual.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from vfscreen.model.batches import Batches, FilmSource
from vfscreen.model.inference import cpu_has_bfloat16
from vfscreen.model.losses import DenseHeads, losses_of
from vfscreen.model.network import FilmClassifier, channels_of
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.pruning import (
    apply_masks,
    magnitude_masks,
    nonzero_masks,
    prunable,
    sparsity_at,
    zero_share,
)
from vfscreen.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a progress report shows.

    `snapshot` makes the averaged network as it would be stored now, in seconds on a CPU.
    """

    snapshot: Callable[[], FilmClassifier]
    progress: float
    step: int
    elapsed_s: float
    films_per_s: float
    groups_ready: int
    losses: dict[str, float]
    learning_rate: float
    sparsity: float
    masked: bool


class TrainingError(RuntimeError):
    """The loss is not finite any more: the learning rate is too high, or the data is damaged."""


def train(
    model: FilmClassifier,
    source: FilmSource,
    preprocessing: Preprocessing,
    plan: TrainingPlan,
    device: torch.device,
    *,
    already_pruned: bool = False,
    report: Callable[[TrainingState], None] = lambda state: None,
    report_every_s: float = 15.0,
) -> FilmClassifier:
    """Train, prune and average a network.

    Parameters
    ----------
    model : FilmClassifier
        Trained in place; with `already_pruned` its zeros stay zeros and nothing more is pruned.
    source : FilmSource
        Films; what becomes ready later is taken in as training goes on.
    plan : TrainingPlan
        `steps` or `minutes` bound the training; with `minutes` the schedule follows the clock,
        so only `steps` gives the same weights again.
    report : callable
        Called about every `report_every_s` seconds and at the end.

    Returns
    -------
    FilmClassifier
        The averaged network on `device`: weights pruned and rounded to float16, statistics of
        batch normalisation estimated anew for exactly these weights.

    Raises
    ------
    TrainingError
        The loss is not finite.
    """
    if (plan.steps is None) == (plan.minutes is None):
        raise ValueError("a plan has either steps or minutes")
    torch.manual_seed(plan.seed)
    rng = torch.Generator().manual_seed(plan.seed)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    model = model.to(device).to(memory_format=torch.channels_last)
    model.train()
    average = copy.deepcopy(model).eval().requires_grad_(False)
    batches = Batches(source, preprocessing, plan, device, rng)
    heads = DenseHeads(channels_of(model.architecture)[0], model.output.out_features).to(device)
    optimizer = _optimizer(model, heads, plan, device)
    weights = prunable(model)
    masks = nonzero_masks(weights) if already_pruned else {}
    autocast, passes = _autocast(device), plan.statistics_passes
    started, reported, step, progress = time.monotonic(), time.monotonic(), 0, 0.0
    reported_step, sparsity = 0, zero_share(weights) if already_pruned else 0.0
    totals: dict[str, Tensor] = {}
    pause_s = report_every_s
    for step in range(1, 1 << 60):
        rate = plan.learning_rate * _rate_at(progress, plan.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        films, targets, masks_px = batches.draw(focused=progress < plan.focus_until)
        with autocast():
            third, last = model.feature_maps(films)
            dense = heads(third, model.cells(last))
        logits = model.classify(last.float().mean((2, 3)))
        losses = losses_of(logits, targets, dense, masks_px, batches.group, plan)
        optimizer.zero_grad(set_to_none=True)
        total = torch.stack(list(losses.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        wanted = sparsity_at(
            progress, start=plan.prune_from, end=plan.prune_until, target=plan.sparsity
        )
        if not already_pruned and wanted > sparsity and (step % plan.mask_steps == 0):
            masks, sparsity = magnitude_masks(weights, wanted), wanted
        apply_masks(weights, masks)
        _average_into(average, model, min(1 - 1 / plan.ema_steps, step / (step + 10)))
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros((), device=device)) + value.detach()
        now = time.monotonic()
        progress = step / plan.steps if plan.steps else (now - started) / (60 * plan.minutes)  # type: ignore[operator]
        if now - reported >= pause_s or progress >= 1:
            means = {n: float(t) / (step - reported_step) for n, t in totals.items()}
            if not all(map(math.isfinite, means.values())):
                raise TrainingError("the training loss is not finite any more")
            films_per_s = (step - reported_step) * len(films) / (now - reported)
            if progress >= 1:
                break
            report(
                TrainingState(
                    snapshot=partial(_finished, average, masks, batches, autocast, passes // 3),
                    progress=progress,
                    step=step,
                    elapsed_s=now - started,
                    films_per_s=films_per_s,
                    groups_ready=batches.groups_ready,
                    losses=means,
                    learning_rate=rate,
                    sparsity=sparsity,
                    masked=bool(masks) and sparsity >= plan.sparsity - 1e-6,
                )
            )
            totals, reported, reported_step = {}, time.monotonic(), step
            # Where reports are slow (validation on a CPU) they are rare.
            pause_s = max(report_every_s, 15 * (reported - now))
    if not already_pruned and plan.sparsity > 0 and sparsity < plan.sparsity:
        masks = magnitude_masks(weights, plan.sparsity)
    return _finished(average, masks, batches, autocast, passes)


def _finished(
    average: FilmClassifier,
    masks: dict[str, Tensor],
    batches: Batches,
    autocast: Callable[[], torch.autocast],
    passes: int,
) -> FilmClassifier:
    """A copy of the averaged network as it will be stored: masked, rounded, statistics renewed."""
    model = copy.deepcopy(average)
    apply_masks(prunable(model), masks)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 4:  # what a checkpoint stores as float16
                parameter.copy_(parameter.half().float())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the passes
        norm.train()
    with torch.no_grad(), autocast(), batches.aside():
        for _ in range(max(1, passes)):
            model(batches.draw()[0])
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return model.eval()


def _optimizer(
    model: nn.Module, heads: nn.Module, plan: TrainingPlan, device: torch.device
) -> torch.optim.AdamW:
    """AdamW; biases and normalisation are not decayed."""
    parameters = [*model.parameters(), *heads.parameters()]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=device.type == "cuda")


def _rate_at(progress: float, warm_up: float) -> float:
    """Linear warm-up, then half a cosine down to one hundredth."""
    if progress < warm_up:
        return 0.05 + 0.95 * progress / warm_up
    done = min(1.0, (progress - warm_up) / (1 - warm_up))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _average_into(average: nn.Module, model: nn.Module, keep: float) -> None:
    torch._foreach_lerp_(
        list(average.parameters()), [p.detach() for p in model.parameters()], 1 - keep
    )


def _autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """bfloat16 where the device is fast at it: training needs its range, not float16's."""
    fast = device.type == "cuda" or cpu_has_bfloat16()
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)
