"""The training loop, one for the phantom's demonstration and for a site's films.

Films of a group are consecutive. Where a group has several films they are counterfactuals of one
patient and the last is the reference, the film without the finding and without anything like it:
the loss then also compares each film with its reference, so that the network is paid for the
finding and not for the patient. Groups of one film train as usual.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vfscreen.errors import TrainingError
from vfscreen.model.augmentation import vary
from vfscreen.model.batches import Augment, Batches, FilmSource, class_counts
from vfscreen.model.learner import Learner
from vfscreen.model.network import FilmClassifier
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener
from vfscreen.model.training_run import Disk, Reports, Trained, Training, TrainingState
from vfscreen.model.training_state import fingerprint_of
from vfscreen.preprocessing import Preprocessing

__all__ = ["Trained", "TrainingState", "train"]


def train(
    model: FilmClassifier,
    source: FilmSource,
    spec: Preprocessing,
    plan: TrainingPlan,
    device: torch.device,
    *,
    validation: FilmSource | None = None,
    state: Path | None = None,
    augment: Augment = vary,
    straightener: Straightener | None = None,
    already_pruned: bool = False,
    report: Callable[[TrainingState], None] = lambda state: None,
    report_every_s: float = 15.0,
    state_every_s: float = 300.0,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network, or go on where a training was stopped.

    Parameters
    ----------
    model : FilmClassifier
        With its first weights; trained in place. With `already_pruned` its zeros stay zeros and
        nothing more is pruned.
    source, validation : FilmSource
        Films to learn from and to judge with after every epoch. What becomes ready in `source`
        is taken in with the next epoch.
    state : Path, optional
        Where the state is kept: read if it is there, and written now and then, after epochs, when
        asked to stop, and at the end. The same arguments must be given again.
    state_every_s : float
        Seconds between two writes, or more where writing takes over 5 % of the time; 0: after
        every batch.
    augment : callable
        `augmentation.vary`, or what does the same faster.
    straightener : Straightener, optional
        The network then learns from the columns that it makes of the films.
    report : callable
        Called about every `report_every_s` seconds, and after an epoch with a validation.
    stop : callable
        Asked after every batch.

    Returns
    -------
    Trained
        With the averaged network of the best epoch (or the last, as the plan says) on `device`,
        rounded as a checkpoint stores it.

    Raises
    ------
    TrainingError
        A finding has one class only, the loss is not finite even at half the learning rate, or
        the state is another training's.
    StorageError
        The state cannot be written; the last one is still there.
    """
    if validation is not None and plan.sparsity > 0:
        raise ValueError("a network that is pruned on the way is judged in the end")
    _check_classes(source, validation, model.findings)
    fingerprint = ""
    if state is not None:
        sources = [source] if validation is None else [source, validation]
        fingerprint = fingerprint_of(model, spec, plan, sources, straightener)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _deterministic(device):
        if straightener is not None:
            straightener = straightener.to(device)
        batches = Batches(source, spec, plan, device, augment, straightener)
        learner = Learner(
            model,
            plan,
            _positive_weights(source, plan),
            device,
            group=batches.group,
            already_pruned=already_pruned,
        )
        disk = Disk(state, fingerprint, state_every_s)
        reports = Reports(report, report_every_s)
        return Training(learner, batches, validation, spec, straightener, disk, reports, stop).run()


def _positive_weights(source: FilmSource, plan: TrainingPlan) -> Tensor:
    """What a positive weighs against a negative, (F,)."""
    targets = source.arrays().targets[source.ready()]
    if plan.balance != "weights":
        return torch.ones(targets.shape[-1])
    positives, negatives = class_counts(targets)
    return torch.from_numpy((negatives / positives).astype(np.float32))


def _check_classes(
    source: FilmSource, validation: FilmSource | None, findings: Sequence[str]
) -> None:
    """Refuse what cannot be learnt or judged, before an hour is spent on it."""
    arrays, rows = source.arrays(), source.ready()
    if not len(rows):
        raise TrainingError("There are no films to train on.")
    for i, (yes, no) in enumerate(zip(*class_counts(arrays.targets[rows]), strict=True)):
        if not yes or not no:
            raise TrainingError(
                f"The training films have {yes} positive and {no} negative labels of "
                f"{findings[i]}: both classes are needed; give more labels or fewer folds."
            )
    if validation is None:
        return
    targets = validation.arrays().targets[validation.ready()]
    counts = zip(*class_counts(targets), strict=True)
    if not any(yes and no for yes, no in counts):
        raise TrainingError(
            "The validation films have one class only of every finding: training cannot be "
            "judged; give more labels or fewer folds."
        )


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """The same sums in the same order each time."""
    settings = torch.backends.cudnn
    before = (settings.deterministic, settings.benchmark)
    if device.type == "cuda":
        settings.deterministic, settings.benchmark = True, False
    try:
        yield
    finally:
        settings.deterministic, settings.benchmark = before
