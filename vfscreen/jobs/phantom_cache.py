"""Phantom films for training: rendered by worker processes into arrays that grow on disk.

Row i of every array is the patient of one seed with its three counterfactual films. The first
rows are the validation patients. A row counts once its flag is set, which happens last; a run
that was killed goes on where it stopped.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty

# Rendered at twice the network's usual input, then reduced by the filter that inference uses.
RENDER_PX = 448
CACHE_PX = 256
# Patients of training and validation; archives of studies use far smaller seeds.
TRAINING_SEEDS = 1_000_000_000
VALIDATION_SEEDS = 2_000_000_000
# Order of the films of a group: the reference is the last.
ORDER = ("fracture", "mimic", "plain")
MAX_FRACTURES = 4

_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "films": (np.uint8, (3, CACHE_PX, CACHE_PX)),
    "boxes": (np.float32, (3, MAX_FRACTURES, 4)),
    "grade": (np.uint8, ()),
    # Width, height and vertebra height of the rendered film, in its pixels.
    "sizes_px": (np.float32, (3,)),
    "done": (np.uint8, ()),
}


@dataclass(frozen=True, slots=True)
class CachePlan:
    """Which patients a cache holds; a cache of another plan is begun anew."""

    validation: int
    training: int
    seed: int
    render_px: int = RENDER_PX
    cache_px: int = CACHE_PX
    difficulty: Difficulty = DEFAULT_DIFFICULTY
    version: int = 1

    def seed_of(self, row: int) -> int:
        """The phantom's seed of a row."""
        if row < self.validation:
            return VALIDATION_SEEDS + row
        return TRAINING_SEEDS + self.seed * 10_000_000 + row - self.validation

    @property
    def rows(self) -> int:
        return self.validation + self.training


class PhantomCache:
    """The arrays of one plan, memory-mapped."""

    def __init__(self, folder: Path, plan: CachePlan) -> None:
        self.plan = plan
        folder.mkdir(parents=True, exist_ok=True)
        self.columns = _columns(folder, plan)

    def ready(self) -> NDArray[np.intp]:
        """Rows that are complete, ascending."""
        return np.flatnonzero(self.columns["done"])

    def validation_ready(self) -> bool:
        """Whether all validation patients are there."""
        return bool(self.columns["done"][: self.plan.validation].all())


@contextmanager
def rendering(folder: Path, plan: CachePlan, *, workers: int) -> Iterator[PhantomCache]:
    """Render a plan's films in worker processes while the body runs.

    Leaving the body ends the workers, done or not.
    """
    cache = PhantomCache(folder, plan)
    missing = plan.rows - len(cache.ready())
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_render_rows, args=(folder, plan, i, workers), daemon=True)
        for i in range(workers if missing else 0)
    ]
    with _one_thread():
        for process in processes:
            process.start()
    try:
        yield cache
        if any(p.exitcode not in (None, 0) for p in processes):
            raise RuntimeError("a renderer of phantom films failed")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def wait_for(cache: PhantomCache, rows: int, *, poll_s: float = 0.2) -> None:
    """Wait until all validation patients and `rows` training patients are there.

    Raises
    ------
    RuntimeError
        Nothing was rendered for a minute: the workers are gone.
    """
    seen, since = -1, time.monotonic()
    while not (cache.validation_ready() and len(cache.ready()) >= cache.plan.validation + rows):
        count = len(cache.ready())
        if count != seen:
            seen, since = count, time.monotonic()
        elif time.monotonic() - since > 60:
            raise RuntimeError("the renderer of phantom films stands still")
        time.sleep(poll_s)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started here compute with one thread; this one's own libraries keep theirs."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _columns(folder: Path, plan: CachePlan) -> dict[str, NDArray[Any]]:
    described = folder / "plan.json"
    wanted = json.dumps(asdict(plan))
    known = described.exists() and described.read_text() == wanted
    columns: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape) in _COLUMNS.items():
        path = folder / f"{name}.npy"
        columns[name] = (
            np.lib.format.open_memmap(path, mode="r+")
            if known
            else np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(plan.rows, *shape))
        )
    described.write_text(wanted)
    return columns


def _render_rows(folder: Path, plan: CachePlan, worker: int, workers: int) -> None:
    """What a worker process does: every `workers`-th row that is missing."""
    os.nice(5)  # whoever trains comes first
    columns, parent = PhantomCache(folder, plan).columns, os.getppid()
    for row in range(worker, plan.rows, workers):
        if os.getppid() != parent:
            return  # the training was killed: nobody reads on
        if not columns["done"][row]:
            for name, value in _rendered(plan.seed_of(row), plan.difficulty).items():
                columns[name][row] = value
            columns["done"][row] = 1


def _rendered(seed: int, difficulty: Difficulty) -> dict[str, Any]:
    """One patient's row."""
    from PIL import Image

    from vfscreen.phantom.anatomy import Variant, sample_patient
    from vfscreen.phantom.films import render_variants

    patient = sample_patient(seed, difficulty)
    films = render_variants(patient, long_side_px=RENDER_PX)
    stack = np.empty((3, CACHE_PX, CACHE_PX), np.uint8)
    boxes = np.full((3, MAX_FRACTURES, 4), np.nan, np.float32)
    for i, variant in enumerate(ORDER):
        film = films[Variant(variant)]
        height, width = film.pixels.shape
        square = Image.fromarray(film.pixels).resize(
            (CACHE_PX, CACHE_PX), Image.Resampling.BILINEAR
        )
        stack[i] = np.rint(np.clip(np.asarray(square), 0, 1) * 255)
        for k, fracture in enumerate(film.fractures[:MAX_FRACTURES]):
            boxes[i, k] = np.array(film.boxes[fracture.level]) / (width, height, width, height)
    shown = films[Variant.FRACTURE]
    return {
        "films": stack,
        "boxes": boxes,
        "grade": max(f.grade for f in shown.fractures),
        "sizes_px": (*shown.pixels.shape[::-1], shown.vertebra_height_px),
    }
