"""The training loop: groups of films in memory in, a pruned network out.

Films of a group are consecutive rows. Where a group has several films they are counterfactuals
of one patient and the last is the reference, the film without the finding and without anything
like it: the loss then also compares each film with its reference, so that the network is paid for
the finding and not for the patient. Groups of one film train as usual.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.model.augmentation import (
    Variation,
    box_masks,
    random_geometry,
    vary_collimation,
    vary_display,
    warp,
)
from vfscreen.model.inference import cpu_has_bfloat16
from vfscreen.model.network import FilmClassifier
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
class FilmArrays:
    """Training films as arrays (memory-mapped or not), G groups of V films.

    `films` is uint8 (G, V, C, C), display values of films stretched to a square a little larger
    than the network's input; `targets` float32 (G, V, findings); `boxes` float32 (G, V, K, 4),
    x0, y0, x1, y1 of where the first finding is, in 0..1 of the film, NaN where there is none.
    """

    films: NDArray[np.uint8]
    targets: NDArray[np.float32]
    boxes: NDArray[np.float32]


class FilmSource(Protocol):
    """Where films come from; a source may grow while training goes on."""

    def arrays(self) -> FilmArrays:
        """All groups, of which some may not be ready."""

    def ready(self) -> NDArray[np.intp]:
        """Indices of the groups that are ready, ascending."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the loop does. Shares are of the whole training, 0..1."""

    steps: int | None = None
    minutes: float | None = None
    groups_per_batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up: float = 0.06
    label_smoothing: float = 0.02
    positive_weight: float = 2.0
    dense_weight: float = 1.0
    pair_weight: float = 0.5
    negative_pair_weight: float = 0.3
    sparsity: float = 0.84
    prune_from: float = 0.3
    prune_until: float = 0.7
    mask_steps: int = 50
    ema_steps: float = 300.0
    statistics_passes: int = 60
    seed: int = 0
    variation: Variation = field(default_factory=Variation)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a progress report shows; `model` is the averaged network, pruned, not to be changed."""

    model: FilmClassifier
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


class _DenseHeads(nn.Module):
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
    batches = _Batches(source, preprocessing, plan, device, rng)
    heads = _DenseHeads(1024, model.backbone.fc.out_features).to(device)
    optimizer = _optimizer(model, heads, plan, device)
    weights = prunable(model)
    masks = nonzero_masks(weights) if already_pruned else {}
    autocast = _autocast(device)
    started, reported, step, progress = time.monotonic(), time.monotonic(), 0, 0.0
    reported_step, sparsity = 0, zero_share(weights) if already_pruned else 0.0
    totals: dict[str, Tensor] = {}
    pause_s = report_every_s
    for step in range(1, 1 << 60):
        rate = plan.learning_rate * _rate_at(progress, plan.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        films, targets, masks_px = batches.draw()
        with autocast():
            third, last = model.feature_maps(films)
            cells = nnf.conv2d(last, model.backbone.fc.weight[:, :, None, None])
            dense = heads(third, cells)
        logits = model.classify(last.float().mean((2, 3)))
        losses = _losses(logits, targets, dense, masks_px, batches.group, plan)
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
            passes = min(20, plan.statistics_passes)
            report(
                TrainingState(
                    model=finished(average, weights, masks, batches, autocast, passes=passes),
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
    return finished(average, weights, masks, batches, autocast, passes=plan.statistics_passes)


def finished(
    average: FilmClassifier,
    weights: dict[str, nn.Parameter],
    masks: dict[str, Tensor],
    batches: "_Batches",
    autocast: Callable[[], torch.autocast],
    *,
    passes: int,
) -> FilmClassifier:
    """A copy of the averaged network as it will be stored: masked, rounded, statistics renewed."""
    model = copy.deepcopy(average)
    apply_masks({n: p for n, p in model.named_parameters() if n in weights}, masks)
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
        for _ in range(passes):
            model(batches.draw()[0])
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return model.eval()


class _Batches:
    """Draws augmented batches; keeps the films on the device and takes in new ones."""

    # Looking for new films costs a glance at a memory map.
    _LOOK_EVERY = 50

    def __init__(
        self,
        source: FilmSource,
        preprocessing: Preprocessing,
        plan: TrainingPlan,
        device: torch.device,
        rng: torch.Generator,
    ) -> None:
        self._source, self._spec, self._plan = source, preprocessing, plan
        self._device, self._rng, self._drawn = device, rng, 0
        arrays = source.arrays()
        self.group = arrays.films.shape[1]
        self._host = [torch.from_numpy(a) for a in (arrays.films, arrays.targets, arrays.boxes)]
        on_device = device.type != "cpu"
        self._store = [torch.empty_like(a, device=device) for a in self._host] if on_device else []
        self._known = np.empty(0, np.intp)
        self._look()

    @property
    def groups_ready(self) -> int:
        return len(self._known)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Draw without moving on: reports must not change what training sees."""
        state, drawn = self._rng.get_state(), self._drawn
        yield
        self._rng.set_state(state)
        self._drawn = drawn

    def _look(self) -> None:
        ready = self._source.ready()
        new = np.setdiff1d(ready, self._known, assume_unique=True)
        for store, host in zip(self._store, self._host, strict=False):
            for part in _runs(new):
                store[part] = host[part].to(self._device)
        self._known = ready
        if not len(ready):
            raise ValueError("there are no films to train on")

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised films (N, 1, S, S), targets (N, F) and box masks (N, 1, 56, 56)."""
        self._drawn += 1
        if self._drawn % self._LOOK_EVERY == 0:
            self._look()
        plan, rng, size = self._plan, self._rng, self._spec.input_size_px
        chosen = torch.randint(len(self._known), (plan.groups_per_batch,), generator=rng)
        rows = torch.from_numpy(self._known)[chosen]
        films, targets, boxes = (
            a[rows.to(a.device)].to(self._device).flatten(0, 1) for a in (self._store or self._host)
        )
        geometry = random_geometry(len(rows), plan.variation, rng).to(self._device)
        geometry = geometry.repeat_interleave(self.group, 0)
        x = warp(films[:, None].float() / 255.0, geometry, size)
        drawn = box_masks(boxes, 64)
        where = warp(drawn, geometry, 56)
        # What moved out of the film is not on it any more.
        lost = (drawn.amax((1, 2, 3)) > 0) & (where.amax((1, 2, 3)) < 0.5)
        targets = torch.where(lost[:, None], 0.0, targets)
        x = vary_display(x, self.group, plan.variation, rng)
        x = vary_collimation(x, self.group, plan.variation, rng)
        x = (x - self._spec.mean) / self._spec.std
        return x.contiguous(memory_format=torch.channels_last), targets, where


def _losses(
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


def _runs(indices: NDArray[np.intp]) -> Iterator[slice]:
    """Consecutive indices as slices: a copy each instead of a copy a row."""
    for run in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)
