"""Locate, then classify: the step of a training that learns to find the spine, and its levels.

One locator serves all folds: it learns where vertebrae are, not which are fractured, from the
marked films of all patients that are not set aside for a test. How well it finds them is measured
on every eighth of these patients, whom it is not trained on.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.config import TrainConfig
from vfscreen.errors import InterruptedRunError, TrainingError
from vfscreen.jobs.labels import Labelled
from vfscreen.jobs.marks import LEVELS, POINT_LEVELS, Marks
from vfscreen.jobs.progress import progress
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train_data import TrainingData, named_by_films
from vfscreen.model.splits import Split
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from vfscreen.model.locator_training import LocatorFigures
    from vfscreen.model.straightening import Straightener

# One patient of eight shows how well the locator does.
_HELD_OUT = 8
_REPORT_STEPS = 10


@dataclass(frozen=True, slots=True)
class Located:
    """What finds the spine, and how well on films that it was not trained on (None: unknown)."""

    straightener: "Straightener"
    marked_films: int
    figures: "LocatorFigures | None"


def with_levels(data: TrainingData, labelled: Labelled, marks: Marks, split: Split) -> TrainingData:
    """The films with the places of their vertebrae, and a finding more a level.

    `<finding>_<level>` is known of a film without the finding, and of a film with it whose marks
    all name their level. A level becomes a finding where every part of the split has films with
    it and without it; a finding whose marks name no level has none.
    """
    uids = labelled.films["sop_instance_uid"].combine_chunks()
    used = np.asarray(pc.index_in(data.films["sop_instance_uid"], value_set=uids), np.intp)
    findings, targets = [*data.findings], [*data.targets.T]
    for f, finding in enumerate(data.findings):
        if finding not in marks.levels:
            continue
        at = marks.levels[finding][used]
        marked = ~np.isnan(marks.boxes[finding][used].sum(axis=2))
        told = (marked.sum(axis=1) > 0) & ((marked & (at < 0)).sum(axis=1) == 0)
        film = data.targets[:, f]
        for level in POINT_LEVELS:
            here = (marked & (at == LEVELS.index(level))).sum(axis=1) > 0
            target = np.where(film == 0, 0.0, np.where(told & (film == 1), here, np.nan))
            parts = [p for fold in split.folds for p in (fold.training, fold.validation)]
            if all({0.0, 1.0} <= set(target[part].tolist()) for part in parts):
                findings.append(f"{finding}_{level}")
                targets.append(target.astype(np.float32))
    return replace(
        data,
        findings=tuple(findings),
        targets=np.stack(targets, axis=1),
        points=_points(marks, used),
    )


def described(located: Located) -> dict[str, Any]:
    """What a checkpoint says of its locator: numbers only; what is not a number is null."""
    figures = {} if located.figures is None else asdict(located.figures)
    known = {k: None if v != v else v for k, v in figures.items()}
    return {"marked_films": located.marked_films, "held_out": known or None}


def stored(located: Located | None) -> dict[str, Any]:
    """What `checkpoint.save` takes of it."""
    from vfscreen.model.column import to_json

    if located is None:
        return {}
    straightener = located.straightener.cpu()
    return {"locator": straightener.locator, "locator_spec": to_json(straightener.spec)}


def _points(marks: Marks, used: NDArray[np.intp]) -> NDArray[np.float32]:
    """Centres of vertebrae; of a level that is marked as a finding only, of that box."""
    from vfscreen.model.locator_training import unmarked_are_absent

    points = marks.points[used].copy()
    first = LEVELS.index(POINT_LEVELS[0])
    for finding, boxes in marks.boxes.items():
        films, slots = np.nonzero(marks.levels[finding][used] >= first)
        box, level = boxes[used][films, slots], marks.levels[finding][used][films, slots] - first
        missing = np.isnan(points[films, level].sum(axis=1))
        centres = (box[:, :2] + box[:, 2:]) / 2
        points[films[missing], level[missing]] = centres[missing]
    return unmarked_are_absent(points)


def locate(
    state: Path,
    data: TrainingData,
    chosen: NDArray[np.intp],
    spec: Preprocessing,
    settings: TrainConfig,
    device: "torch.device",
    stop: StopRequest,
    tell: Callable[[str], None],
) -> Located:
    """Train the locator, or take the one that this training has made before.

    Parameters
    ----------
    state : Path
        Where it is kept for a training that goes on.
    chosen : ndarray
        intp: the films of `data` (with `points`) that may be learnt from.

    Raises
    ------
    TrainingError
        No vertebra is marked with its level, or the state is of another training.
    InterruptedRunError
        `stop` asked to: the locator begins anew next time.
    """
    from vfscreen.model.column import column_spec
    from vfscreen.model.locating import Locator
    from vfscreen.model.locator_training import (
        LocatorFigures,
        LocatorPlan,
        LocatorProgress,
        measure,
        reduced,
        train_locator,
    )
    from vfscreen.model.straightening import Straightener
    from vfscreen.model.training_state import read_state, write_state

    assert data.points is not None
    marked = chosen[(~np.isnan(data.points[chosen].sum(axis=2))).sum(axis=1) > 0]
    if not len(marked):
        raise TrainingError(
            "No vertebra of the training films is marked with its level from T10 to L5: the "
            "locator has nothing to learn from. Mark some, or set train.locate to false."
        )
    column = column_spec(spec.input_size_px)
    plan = LocatorPlan(steps=settings.locator_steps, seed=settings.seed)
    print_of = hashlib.sha256(data.points[marked].tobytes())
    print_of.update(json.dumps([data.sha256(), asdict(plan), asdict(spec)]).encode())
    known = read_state(state, print_of.hexdigest())
    if known is not None:
        locator = Locator()
        locator.load_state_dict(known[0])
        said = known[1]["figures"]
        figures = None if said is None else LocatorFigures(**said)
        return Located(Straightener(locator, column), len(marked), figures)

    names = np.unique(named_by_films(data.films.take(marked)))
    aside = np.isin(named_by_films(data.films.take(marked)), names[_HELD_OUT - 1 :: _HELD_OUT])

    with progress("finding spines", unit="steps", total=plan.steps) as show:

        def report(now: LocatorProgress) -> None:
            show(now.step - show.done)
            if stop():
                raise InterruptedRunError(
                    f"Stopped early ({stop.reason}) while learning to find the spine: run the "
                    "same command again."
                )

        rows = data.rows[marked[~aside]]
        locator = train_locator(
            reduced(data.pixels, rows), data.points[marked[~aside]], spec, plan, device,
            report=report, report_every=_REPORT_STEPS,
        )  # fmt: skip
    figures = None
    if aside.any():
        held = marked[aside]
        locator = locator.to(device)
        films = reduced(data.pixels, data.rows[held])
        figures = measure(locator, films, data.points[held], spec, column)
        locator = locator.cpu()
        tell(
            f"locator: {figures.within_half:.1%} of {figures.levels:,} vertebrae found within half "
            f"a body's height on {figures.films:,} films that it was not trained on"
        )
    write_state(
        state,
        dict(locator.state_dict()),
        {"figures": None if figures is None else asdict(figures)},
        print_of.hexdigest(),
    )
    return Located(Straightener(locator, column), len(marked), figures)
