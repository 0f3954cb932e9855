"""Train the locator from films and the centres of their vertebrae.

Best are the centres of all visible vertebrae of some hundred films. Where a site has marked only
fractured vertebrae, each with its level, a level is learnt from the films on which it was marked
and nothing is learnt about the column between them; marks without a level teach nothing.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as nnf

from vfscreen.errors import InputError
from vfscreen.model.augmentation import Variation, draw, plain, vary
from vfscreen.model.centreline import centreline
from vfscreen.model.column import CELLS, LOCATOR_PX, ColumnSpec, standard_places
from vfscreen.model.locating import Locator
from vfscreen.preprocessing import Preprocessing

# Standard deviation of a centre's target in cells: a sixth of a vertebra.
_SIGMA_CELLS = 0.8
# Half the width of the column map in spacings, somewhat less than a body's.
_HALF_WIDTH = 0.6
# Height of a body over the distance to the next: the means of column._DISTANCES_MM's sources.
_BODY_SHARE = 0.77
_REDUCED_PX, _CHUNK_FILMS = 256, 32
# From this many marked vertebrae on, a film's marks are all that can be marked.
_COMPLETE = 3


@dataclass(frozen=True, slots=True)
class LocatorPlan:
    """What the locator's training does; films vary more than for the classifier."""

    steps: int = 800
    films_per_batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warm_up: float = 0.05
    seed: int = 0
    variation: Variation = field(
        default_factory=lambda: Variation(scale=0.2, aspect=0.1, shift=0.1, rotation_deg=7.0)
    )


@dataclass(frozen=True, slots=True)
class LocatorProgress:
    """What a progress report shows."""

    step: int
    steps: int
    loss: float
    elapsed_s: float


def train_locator(
    films: NDArray[np.uint8],
    points: NDArray[np.float32],
    preprocessing: Preprocessing,
    plan: LocatorPlan,
    device: torch.device,
    *,
    report: Callable[[LocatorProgress], None] = lambda progress: None,
    report_every: int = 50,
) -> Locator:
    """Train a locator; the same arguments on the same machine give the same weights.

    Parameters
    ----------
    films : ndarray
        (N, C, C) uint8 display values of films stretched to a square.
    points : ndarray
        (N, levels, 2) centres of the vertebrae, x and y in 0..1 of the film. NaN: not known.
        Outside 0..1: known not to be on the film.

    Returns
    -------
    Locator
        On the CPU, frozen, its weights rounded as a checkpoint stores them.

    Raises
    ------
    InputError
        No centre is known on any film, or the loss is not finite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        locator = Locator().to(device)
    fit_places(
        locator, films, points, preprocessing, plan, device,
        report=report, report_every=report_every,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in locator.parameters():
            if parameter.dim() == 4:  # what a checkpoint stores as float16
                parameter.copy_(parameter.half().float())
    return locator.cpu().eval().requires_grad_(False)


def fit_places(
    network: nn.Module,
    films: NDArray[np.uint8],
    points: NDArray[np.float32],
    preprocessing: Preprocessing,
    plan: LocatorPlan,
    device: torch.device,
    *,
    report: Callable[[LocatorProgress], None] = lambda progress: None,
    report_every: int = 50,
) -> None:
    """Train a network that answers as `Locator.forward` does, in place.

    Parameters and errors as `train_locator`.
    """
    known = np.isfinite(points).all(axis=2).sum(axis=1) > 0
    if not known.any():
        raise InputError(
            "No vertebra with its level is marked on any film: the locator has nothing to learn "
            "from. Mark vertebrae with a level from T10 to L5, or train without it."
        )
    spec = replace(preprocessing, input_size_px=LOCATOR_PX)
    rng = torch.Generator().manual_seed(plan.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    usable = torch.from_numpy(np.flatnonzero(known))
    started, order, total = time.monotonic(), usable[:0], 0.0
    for step in range(1, plan.steps + 1):
        while len(order) < plan.films_per_batch:
            order = torch.cat([order, usable[torch.randperm(len(usable), generator=rng)]])
        chosen, order = order[: plan.films_per_batch].numpy(), order[plan.films_per_batch :]
        draws = draw(len(chosen), 1, plan.variation, rng)
        places, column = network(vary(torch.from_numpy(films[chosen]).to(device), draws, spec))
        loss = locator_loss(
            places, column, moved(torch.from_numpy(points[chosen]), draws.geometry).to(device)
        )
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _rate_at(step / plan.steps, plan.warm_up)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % report_every == 0 or step == plan.steps:
            total = float(loss.detach())
            if not math.isfinite(total):
                raise InputError(
                    "The locator's loss is not finite any more: take a lower learning rate."
                )
            report(LocatorProgress(step, plan.steps, total, time.monotonic() - started))


def locator_loss(places: Tensor, column: Tensor, points: Tensor) -> Tensor:
    """Cross entropy of places and "not on this film", and of the column map.

    Parameters
    ----------
    places, column : Tensor
        From `Locator.forward`.
    points : Tensor
        (N, levels, 2) as for `train_locator`.
    """
    known = points.isfinite().all(2)
    shown = known & (points > 0).all(2) & (points < 1).all(2)
    at = (torch.arange(CELLS, device=points.device) + 0.5) / CELLS
    apart = (at - points.nan_to_num(0.5)[..., None]) * CELLS / _SIGMA_CELLS
    along = nnf.softmax(-apart.square() / 2, -1)
    goal = along[:, :, 1, :, None] * along[:, :, 0, None, :]
    goal = torch.cat([goal.flatten(2) * shown[..., None], (~shown).float()[..., None]], 2)
    entropy = -(goal * places).sum(2)
    loss = (entropy * known).sum() / known.sum().clamp(min=1)
    cover, valid = column_goal(points)
    cells = nnf.binary_cross_entropy_with_logits(column, cover, reduction="none")
    return loss + 3 * (cells * valid).sum() / valid.sum().clamp(min=1)


def column_goal(points: Tensor) -> tuple[Tensor, Tensor]:
    """The column of bodies between known neighbours, (N, CELLS, CELLS) of 0 and 1, and where it is
    known: on rows between two neighbours."""
    first, last = points[:, :-1], points[:, 1:]
    known = (first.isfinite() & last.isfinite()).all(2)
    first, last = first.nan_to_num(0.0), last.nan_to_num(0.0)
    at = (torch.arange(CELLS, device=points.device) + 0.5) / CELLS
    down = last[..., 1] - first[..., 1]
    share = (at - first[..., 1:2]) / down.clamp(min=1e-3)[..., None]
    between = known[..., None] & (share >= 0) & (share <= 1) & (down > 0)[..., None]
    middle = first[..., 0:1] + share * (last[..., 0] - first[..., 0])[..., None]
    near = (at - middle[..., None]).abs() < _HALF_WIDTH * down[..., None, None]
    cover = (near & between[..., None]).any(1)
    return cover.float(), between.any(1)[..., None].expand_as(cover).float()


def moved(points: Tensor, geometry: Tensor) -> Tensor:
    """Where points (N, L, 2) in 0..1 of films are after `augmentation.warp` by (N, 2, 3) maps."""
    back = torch.linalg.inv(geometry[:, :, :2])
    inside = (points * 2 - 1) - geometry[:, None, :, 2]
    return (torch.einsum("nij,nlj->nli", back, inside) + 1) / 2


def reduced(films: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Some of the films (G, C, C) at a size from which little is left to reduce: augmentation
    resamples without a filter, and a site's films may be far larger than the locator's input."""
    if films.shape[-1] <= _REDUCED_PX:
        return np.asarray(films[rows])
    small = np.empty((len(rows), _REDUCED_PX, _REDUCED_PX), np.uint8)
    for first in range(0, len(rows), _CHUNK_FILMS):
        part = rows[first : first + _CHUNK_FILMS]
        x = torch.from_numpy(np.asarray(films[part]))[:, None].float()
        x = nnf.interpolate(x, small.shape[1:], mode="bilinear", antialias=True)
        small[first : first + len(part)] = x[:, 0].round().clamp(0, 255).byte().numpy()
    return small


def unmarked_are_absent(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points in which what somebody left out is known not to be on the film.

    Who has marked three vertebrae or more of a film has marked all that it shows; with fewer, as
    where only fractures are marked, the others stay unknown.
    """
    marked = np.isfinite(points).all(axis=2)
    complete = marked.sum(axis=1, keepdims=True) >= _COMPLETE
    return np.where((complete & ~marked)[..., None], np.float32(-1), points)


@dataclass(frozen=True, slots=True)
class LocatorFigures:
    """How well levels were found on films whose centres are known.

    Errors are in heights of a vertebral body; `within_half` and `seen` are shares of the levels
    that are on the film, `false` the share of levels said to be seen among those that are not.
    """

    films: int
    levels: int
    located: float
    seen: float
    within_half: float
    mean_error: float
    false: float


def measure(
    locator: Locator,
    films: NDArray[np.uint8],
    points: NDArray[np.float32],
    preprocessing: Preprocessing,
    spec: ColumnSpec,
) -> LocatorFigures:
    """Compare what is located on films with their known centres (as for `train_locator`)."""
    device = next(locator.parameters()).device
    found, located = [], []
    for start in range(0, len(films), 32):
        x = torch.from_numpy(np.array(films[start : start + 32])).to(device)
        x = plain(x, replace(preprocessing, input_size_px=LOCATOR_PX))
        line = centreline(locator.heatmaps(x), spec)
        found.append(line.points.cpu().numpy())
        located.append(line.located.cpu().numpy())
    places = np.concatenate(found)
    known = np.isfinite(points.sum(axis=2))
    shown = known & ((points > 0) & (points < 1)).all(axis=2)
    seen = np.isfinite(places).all(axis=2)
    heights = np.array([_height(points[i], known[i]) for i in range(len(points))])
    error = np.linalg.norm(places - points, axis=2) / heights[:, None]
    both = shown & seen & np.isfinite(heights)[:, None]
    absent = known & ~shown
    return LocatorFigures(
        films=len(films),
        levels=int(shown.sum()),
        located=float(np.concatenate(located).mean()),
        seen=float(seen[shown].mean()),
        within_half=float((error[both] < 0.5).sum() / max(1, shown.sum())),
        mean_error=float(error[both].mean()) if both.any() else math.nan,
        false=float(seen[absent].mean()) if absent.any() else math.nan,
    )


def _height(points: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    """Height of a body on a film, by the line through its known centres; NaN with one."""
    if known.sum() < 2:
        return math.nan
    places = np.array(standard_places())[known]
    return float(np.polyfit(places, points[known, 1], 1)[0]) * _BODY_SHARE


def _rate_at(progress: float, warm_up: float) -> float:
    if progress < warm_up:
        return progress / warm_up
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))
