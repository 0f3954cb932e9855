"""Films in memory, and the augmented batches that are drawn from them on the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfscreen.model.augmentation import (
    box_masks,
    focus,
    random_geometry,
    vary_collimation,
    vary_display,
    warp,
)
from vfscreen.model.plan import TrainingPlan
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


class Batches:
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

    def draw(self, *, focused: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised films (N, 1, S, S), targets (N, F) and box masks (N, 1, 56, 56).

        Focused, both are `focus_width` wide: the columns around the group's finding.
        """
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
        if focused:
            x, where = focus(x, where, self.group, plan.focus_width, rng)
        return x.contiguous(memory_format=torch.channels_last), targets, where


def _runs(indices: NDArray[np.intp]) -> Iterator[slice]:
    """Consecutive indices as slices: a copy each instead of a copy a row."""
    for run in np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1):
        if len(run):
            yield slice(int(run[0]), int(run[-1]) + 1)
