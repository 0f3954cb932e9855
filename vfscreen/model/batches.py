"""Films in memory, and the augmented batches that are drawn from them.

Nothing but (seed, epoch, batch) decides what a batch is: the order of an epoch comes from a
generator keyed by (seed, epoch), the variation of its films from one keyed by (seed, epoch,
batch). So a training that goes on after a kill sees what it would have seen.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfscreen.errors import TrainingError
from vfscreen.model.augmentation import VARIATIONS, Draws, box_masks, draw, vary, warp
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener, resample, sampling
from vfscreen.preprocessing import Preprocessing

Augment = Callable[[Tensor, Draws, Preprocessing], Tensor]
"""Films (N, C, C) uint8 on the device to (N, 1, S, S) normalised, as `augmentation.vary` does."""

# What a generator is for: the same (epoch, batch) must not give two purposes the same numbers.
_ORDER, _VARIATION, _STATISTICS, _NETWORK = range(4)


@dataclass(frozen=True, slots=True)
class FilmArrays:
    """Films as arrays (memory-mapped or not), G groups of V films; V is 1 at a site.

    `films` is uint8 (G, V, C, C), display values of films stretched to a square, of the network's
    input size or a little larger; `targets` float32 (G, V, F), 0, 1, or NaN where it is not known;
    `boxes` float32 (G, V, K, 4), x0, y0, x1, y1 of where the first finding is, in 0..1 of the film,
    NaN where there is none (a point: x0 = x1, y0 = y1), or None where no film is marked. A film
    with the finding and without a box is one that nobody has marked.
    """

    films: NDArray[np.uint8]
    targets: NDArray[np.float32]
    boxes: NDArray[np.float32] | None = None


class FilmSource(Protocol):
    """Where films come from; a source may grow while training goes on."""

    def arrays(self) -> FilmArrays:
        """All groups, of which some may not be ready, or not be meant."""

    def ready(self) -> NDArray[np.intp]:
        """Indices of the groups that are ready, ascending."""


@dataclass(frozen=True, slots=True)
class Films:
    """Some rows of arrays that are complete: the films of a fold."""

    all: FilmArrays
    rows: NDArray[np.intp]

    def arrays(self) -> FilmArrays:
        return self.all

    def ready(self) -> NDArray[np.intp]:
        return self.rows


@dataclass(frozen=True, slots=True)
class Batch:
    """N films on the device.

    `films` (N, 1, S, S) normalised, or their straightened columns with `windows` (N, levels, 4) as
    in `straightening.Columns`; `targets` (N, F), NaN unknown; `where` (N, 1, H, W) 1 where the
    first finding is marked, and `marked` (N,) whether that is known at all (None: of no film);
    `jitter` for `augmentation.focus`.
    """

    films: Tensor
    targets: Tensor
    where: Tensor | None
    marked: Tensor | None
    jitter: Tensor
    windows: Tensor | None = None


def generator_of(seed: int, purpose: int, *key: int) -> torch.Generator:
    """A generator that depends on these numbers only."""
    words = np.random.SeedSequence([seed, purpose, *key]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def network_seed(seed: int, epoch: int, batch: int) -> int:
    """What the network's own randomness (dropout, stochastic depth) of a batch is seeded with."""
    return generator_of(seed, _NETWORK, epoch, batch).initial_seed()


def epoch_order(
    rows: NDArray[np.intp], weights: NDArray[np.float64] | None, seed: int, epoch: int
) -> NDArray[np.intp]:
    """The rows of an epoch in their order: all of them once, or as often as they weigh.

    Weighted, a row's count differs by less than one from its share of the epoch (systematic
    sampling): chance decides as little as it may.
    """
    rng = generator_of(seed, _ORDER, epoch)
    order: NDArray[np.intp] = rows[torch.randperm(len(rows), generator=rng).numpy()]
    if weights is None:
        return order
    share = np.cumsum(weights[order])
    points = (np.arange(len(order)) + float(torch.rand(1, generator=rng))) / len(order)
    chosen = order[
        np.searchsorted(share / share[-1], points, side="right").clip(max=len(order) - 1)
    ]
    shuffled: NDArray[np.intp] = chosen[torch.randperm(len(chosen), generator=rng).numpy()]
    return shuffled


def class_counts(targets: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positives and negatives of each finding, (F,) each, of targets (..., F)."""
    flat = targets.reshape(-1, targets.shape[-1])
    return (flat == 1).sum(0), (flat == 0).sum(0)


def sampling_weights(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """How often films (N, F) are drawn, so that both classes of each finding come alike.

    With several findings a film's weight is the sum over those that are known of it.
    """
    positives, negatives = class_counts(targets)
    with np.errstate(divide="ignore"):
        each = np.where(targets == 1, 1 / positives, np.where(targets == 0, 1 / negatives, 0.0))
    return np.asarray(each.sum(-1), np.float64)


class Batches:
    """Prepares the batches of a training.

    Films lie on the device where they fit into a third of its free memory; else, and on the CPU,
    a batch is gathered from the arrays.
    """

    def __init__(
        self,
        source: FilmSource,
        spec: Preprocessing,
        plan: TrainingPlan,
        device: torch.device,
        augment: Augment = vary,
        straightener: Straightener | None = None,
    ) -> None:
        self._source, self._spec, self._plan = source, spec, plan
        self._device, self._augment, self._straightener = device, augment, straightener
        arrays = source.arrays()
        self.group = arrays.films.shape[1]
        if plan.balance == "sampling" and self.group > 1:
            raise ValueError("groups of films are not sampled by class")
        self._targets = arrays.targets
        self._host: list[NDArray[Any]] = [arrays.films, arrays.targets]
        if arrays.boxes is not None:
            self._host.append(arrays.boxes)
        fits = device.type == "cuda" and (
            arrays.films.nbytes < torch.cuda.mem_get_info(device)[0] / 3
        )
        self._store = [
            torch.empty(a.shape, dtype=torch.uint8 if a is arrays.films else None, device=device)
            for a in (self._host if fits else ())
        ]
        self._known = np.empty(0, np.intp)
        self._look()

    @property
    def groups_ready(self) -> int:
        return len(self._known)

    def _look(self) -> None:
        """Take in what has become ready."""
        ready = np.asarray(self._source.ready(), np.intp)
        new = np.setdiff1d(ready, self._known, assume_unique=True)
        for store, host in zip(self._store, self._host, strict=False):
            for part in _runs(new):
                store[part] = torch.from_numpy(np.array(host[part])).to(self._device)
        self._known = ready
        if not len(ready):
            raise TrainingError("There are no films to train on.")

    def rows_of(self, epoch: int) -> list[NDArray[np.intp]]:
        """The groups of each batch of an epoch; their numbers differ by one at most."""
        self._look()
        weights = None
        if self._plan.balance == "sampling":
            weights = np.zeros(len(self._targets))
            weights[self._known] = sampling_weights(self._targets[self._known, 0])
        order = epoch_order(self._known, weights, self._plan.seed, epoch)
        groups = max(1, self._plan.batch_size // self.group)
        return np.array_split(order, -(-len(order) // groups))

    def stream(
        self, epoch: int, rows: list[NDArray[np.intp]], first: int = 0, *, ahead: bool = True
    ) -> Generator[Batch]:
        """The batches of an epoch from `first` on; with `ahead` a thread prepares the next one."""
        if not ahead:
            for i in range(first, len(rows)):
                yield self.prepare(rows[i], _VARIATION, epoch, i)
            return
        with ThreadPoolExecutor(1, "vfscreen-batches") as thread:
            following = None
            for i in range(first, len(rows) + 1):
                batch = following
                if i < len(rows):
                    following = thread.submit(self.prepare, rows[i], _VARIATION, epoch, i)
                if batch is not None:
                    yield batch.result()

    def aside(self, passes: int) -> Iterator[Batch]:
        """Batches for the statistics of normalisation: they do not change what training sees."""
        groups = min(len(self._known), max(1, self._plan.batch_size // self.group))
        for i in range(passes):
            order = torch.randperm(
                len(self._known), generator=generator_of(self._plan.seed, _STATISTICS, i)
            )
            yield self.prepare(self._known[order[:groups].numpy()], _STATISTICS, 0, i)

    def _gather(self, rows: NDArray[np.intp]) -> list[Tensor]:
        """Films, targets and boxes of some groups, on the device."""
        if self._store:
            at = torch.from_numpy(rows).to(self._device)
            return [store[at] for store in self._store]
        return [torch.from_numpy(np.asarray(host[rows])).to(self._device) for host in self._host]

    def prepare(self, rows: NDArray[np.intp], purpose: int, epoch: int, batch: int) -> Batch:
        """One batch of these groups."""
        plan = self._plan
        rng = generator_of(plan.seed, purpose, epoch, batch)
        draws = draw(len(rows), self.group, VARIATIONS[plan.augmentation], rng)
        films, targets, *boxes = (part.flatten(0, 1) for part in self._gather(rows))
        where = marked = None
        if boxes:
            # Fine enough for a point.
            size = max(56, self._spec.input_size_px // 4)
            drawn = box_masks(boxes[0], max(64, size))
            where = warp(drawn, draws.geometry.to(self._device), size)
            # What moved out of the film is not on it any more.
            lost = (drawn.amax((1, 2, 3)) > 0) & (where.amax((1, 2, 3)) < 0.5)
            first = torch.where(lost, 0.0, targets[:, 0])
            targets = torch.cat([first[:, None], targets[:, 1:]], 1)
            # A fracture that nobody marked lies anywhere: such a film says nothing about places.
            marked = (drawn.amax((1, 2, 3)) > 0) | (first == 0)
        x, windows = self._augment(films, draws, self._spec), None
        if self._straightener is not None:
            columns = self._straightener(x, draws.column)
            x, windows = columns.pixels, columns.windows
            if where is not None and marked is not None:
                cells = (x.shape[2] // 4, x.shape[3] // 4)
                where = resample(
                    where, sampling(columns.curve, self._straightener.spec, *cells).to(where)
                )
                # A mark beside the column cannot be seen in it.
                marked &= (where.amax((1, 2, 3)) >= 0.5) | (targets[:, 0] == 0)
        x = x.contiguous(memory_format=torch.channels_last)
        return Batch(x, targets, where, marked, draws.jitter, windows)


def _runs(indices: NDArray[np.intp]) -> Iterator[slice]:
    """Consecutive indices as slices: a copy each instead of a copy a row."""
    for run in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)
