"""One training from its first step, or where it was stopped, to its end."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfscreen.errors import InterruptedRunError, TrainingError
from vfscreen.model.augmentation import focus
from vfscreen.model.batches import Batch, Batches, FilmSource, network_seed
from vfscreen.model.learner import Learner, under
from vfscreen.model.network import FilmClassifier
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.straightening import Straightener
from vfscreen.model.training_state import read_state, write_state
from vfscreen.model.validating import (
    EpochRow,
    Judged,
    judge,
    logits_of,
    row_from_json,
    row_to_json,
)
from vfscreen.preprocessing import Preprocessing

# How often the loss is looked at: on a GPU a look waits for all work in flight.
_LOOK_STEPS = 16
# Writing the state may take this share of the time.
_STATE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What a progress report shows: means since the last report, and the epochs so far.

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
    history: tuple[EpochRow, ...]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out.

    `validation_logits` are the returned network's, (N, F) in the order of the validation rows, None
    without a validation; `best_epoch` is the one it is of, from 1, None where that is the last.
    `stopped` is `done`, `patience`, or `asked` (by the caller's `stop`): then the state on disk is
    what counts, the network is where it is, and has no logits.
    """

    model: FilmClassifier
    history: tuple[EpochRow, ...]
    validation_logits: NDArray[np.float32] | None
    best_epoch: int | None
    stopped: str


@dataclass(slots=True)
class _Position:
    """Where a training is; epochs and batches count from 0 and are the ones to come."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    films: int = 0  # of this epoch
    elapsed_s: float = 0.0
    epoch_began_s: float = 0.0
    sparsity: float = 0.0
    rate_factor: float = 1.0
    recoveries: int = 0
    best_epoch: int | None = None
    best: tuple[float, float] | None = None
    stopped: str | None = None


@dataclass(slots=True)
class Disk:
    """Where and how often the state is written."""

    path: Path | None
    fingerprint: str
    every_s: float
    written_at: float = 0.0
    took_s: float = 0.0

    def due(self, *, epoch_ends: bool) -> bool:
        """Whether it is time: after `every_s`, or an epoch, but never a burden (0: always)."""
        wait_s = self.took_s / _STATE_SHARE if self.every_s else 0.0
        if not epoch_ends:
            wait_s = max(wait_s, self.every_s)
        return self.path is not None and time.monotonic() - self.written_at >= wait_s


@dataclass(slots=True)
class Reports:
    """Who is told of progress, how often, and what was summed up since the last time."""

    tell: Callable[[TrainingState], None]
    every_s: float
    pause_s: float = 0.0
    told_at: float = 0.0
    steps: int = 0
    films: int = 0


class Training:
    """What a training has in hand; `run` is its protocol."""

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        validation: FilmSource | None,
        spec: Preprocessing,
        straightener: Straightener | None,
        disk: Disk,
        reports: Reports,
        stop: Callable[[], bool],
    ) -> None:
        self.learner, self.batches, self.validation = learner, batches, validation
        self.spec, self.plan, self.device = spec, learner.plan, learner.device
        self.straightener, self.disk, self.reports, self.stop = straightener, disk, reports, stop
        self.at = _Position(sparsity=self.learner.sparsity)
        self.history: list[EpochRow] = []
        # The network that would be returned now, and its answers to the validation films.
        self.kept: dict[str, Tensor] = {}
        # Sums of the epoch: the loss, the film's part of it, right and known answers.
        self.tally = torch.zeros(4, device=self.device)
        self.sums: dict[str, Tensor] = {}
        self.began = time.monotonic()

    def run(self) -> Trained:
        """The protocol: epochs until the plan, patience or the caller ends it."""
        self._restore()
        self.disk.written_at = self.reports.told_at = time.monotonic()
        self.reports.pause_s = self.reports.every_s
        while self.at.stopped is None:
            good = {k: v.clone() for k, v in self._tensors().items()}
            position = replace(self.at, sparsity=self.learner.sparsity)
            try:
                if not self._epoch():
                    self._go_back(good, position)
                elif self.at.stopped is None:
                    self._close_epoch()
            except InterruptedRunError:  # asked to stop during a validation, which is done again
                self.at.stopped = "asked"
        self._save()
        return self._result()

    def _epoch(self) -> bool:
        """The batches of an epoch that are left; False when the loss is not finite any more."""
        rows = self.batches.rows_of(self.at.epoch)
        self.learner.model.train()
        stream = self.batches.stream(
            self.at.epoch, rows, self.at.batch, ahead=self.device.type == "cuda"
        )
        try:
            for batch in stream:
                self._step(batch, len(rows))
                ended = self._progress(len(rows)) >= 1 or self.at.batch == len(rows)
                asked, told = self.stop(), self._report_due()
                saves = self.disk.due(epoch_ends=False)
                look = self.device.type == "cpu" or self.at.step % _LOOK_STEPS == 0
                if look and not self.tally[0].isfinite():
                    return False
                if (ended or asked or told or saves) and not (
                    self.tally[0].isfinite() and self.learner.finite()
                ):
                    return False
                if asked:
                    self.at.stopped = "asked"
                    return True
                if ended:
                    break
                if told:
                    self._report(len(rows))
                if saves:
                    self._save()
        finally:
            stream.close()
        return True

    def _step(self, batch: Batch, batches: int) -> None:
        at, plan = self.at, self.plan
        progress = self._progress(batches)
        if batch.where is not None and progress < plan.focus_until:
            films, where = focus(
                batch.films, batch.where, self.batches.group, plan.focus_width, batch.jitter
            )
            films = films.contiguous(memory_format=torch.channels_last)
            batch = replace(batch, films=films, where=where)
        torch.manual_seed(network_seed(plan.seed, at.epoch, at.batch))
        rate = self._rate(progress)
        losses, logits, targets = self.learner.step(batch, at.step + 1, rate, progress)
        known = ~targets.isnan()
        right = ((logits >= 0) == (targets == 1)) & known
        parts = {name: value.detach() for name, value in losses.items()}
        total = torch.stack(list(parts.values())).sum()
        self.tally += torch.stack([total, parts["film"], right.sum(), known.sum()])
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value
        at.step, at.batch, at.films = at.step + 1, at.batch + 1, at.films + len(batch.films)
        self.reports.steps += 1
        self.reports.films += len(batch.films)

    def _elapsed(self) -> float:
        return self.at.elapsed_s + time.monotonic() - self.began

    def _progress(self, batches: int) -> float:
        """How much of the training is done, 0..1; `batches` are those of this epoch."""
        plan, at = self.plan, self.at
        if plan.epochs is not None:
            return (at.epoch + at.batch / batches) / plan.epochs
        if plan.steps is not None:
            return at.step / plan.steps
        return self._elapsed() / (60 * (plan.minutes or 0.0))

    def _rate(self, progress: float) -> float:
        return self.plan.learning_rate * self.at.rate_factor * _rate_at(progress, self.plan)

    def _go_back(self, good: dict[str, Tensor], position: _Position) -> None:
        """To the last good state, at half the rate; once."""
        if position.recoveries:
            raise TrainingError(
                "The training loss is not finite, at half the learning rate too: lower "
                "learning_rate, or look for damaged films or labels."
            )
        self.learner.restore(good, position.sparsity)
        self.tally.copy_(good["tally"])
        elapsed_s, began = self.at.elapsed_s, self.began
        self.at = replace(position, rate_factor=position.rate_factor / 2, recoveries=1)
        self.at.elapsed_s, self.began = elapsed_s, began
        self.sums, self.reports.steps, self.reports.films = {}, 0, 0

    def _close_epoch(self) -> None:
        """Validate, note the epoch, keep the best, and see whether that was all."""
        at, plan = self.at, self.plan
        judged = self._judged()
        progress = 1.0 if plan.epochs == at.epoch + 1 else self._progress(max(1, at.batch))
        _, film, right, known = self.tally.tolist()
        self.history.append(
            EpochRow(
                epoch=at.epoch + 1,
                step=at.step,
                films=at.films,
                seconds=self._elapsed() - at.epoch_began_s,
                learning_rate=self._rate(min(1.0, progress)),
                loss=film / max(1, at.batch),
                accuracy=right / known if known else float("nan"),
                validation_loss=judged.loss,
                validation_accuracy=judged.accuracy,
                auc=judged.auc,
                aucs=judged.aucs,
                recoveries=at.recoveries,
            )
        )
        at.epoch, at.batch, at.films, at.epoch_began_s = at.epoch + 1, 0, 0, self._elapsed()
        self.tally.zero_()
        if progress >= 1:
            at.stopped = "done"
        elif (
            plan.patience
            and at.best_epoch is not None
            and at.epoch - at.best_epoch >= plan.patience
        ):
            at.stopped = "patience"
        if self.validation is not None:
            self._report(1)
        if self.disk.due(epoch_ends=True) and at.stopped is None:
            self._save()

    def _judged(self) -> Judged:
        """The averaged network's answers to the validation films; kept if they are the best."""
        if self.validation is None:
            nan = float("nan")
            return Judged(np.empty((0, 0), np.float32), nan, nan, nan, ())
        passes = self.batches.aside(self.plan.statistics_passes)
        model = self.learner.finished(self._heeding(passes))
        logits = logits_of(
            model, self.validation, self.spec, self.device, self.plan.batch_size,
            straightener=self.straightener, stop=self.stop,
        )  # fmt: skip
        arrays, rows = self.validation.arrays(), self.validation.ready()
        judged = judge(logits, arrays.targets[rows].reshape(len(logits), -1))
        # Of two that rank alike, the one with the lower loss.
        rank = (-1.0 if math.isnan(judged.auc) else judged.auc, -judged.loss)
        better = self.at.best is None or rank > self.at.best
        if better:
            self.at.best, self.at.best_epoch = rank, self.at.epoch + 1
        if better or self.plan.keep == "last":
            self.kept = {f"model.{k}": v.cpu().clone() for k, v in model.state_dict().items()}
            self.kept["logits"] = torch.from_numpy(judged.logits)
        return judged

    def _result(self) -> Trained:
        at, history = self.at, tuple(self.history)
        if at.stopped == "asked":
            return Trained(self.learner.finished(), history, None, None, "asked")
        passes = 0 if self.kept else self.plan.statistics_passes
        model, logits = self.learner.finished(self.batches.aside(passes), last=True), None
        if self.kept:
            model.load_state_dict(under(self.kept, "model."))
            logits = self.kept["logits"].numpy()
        best_epoch = at.best_epoch if self.plan.keep == "best" else None
        return Trained(model, history, logits, best_epoch, at.stopped or "done")

    def _heeding(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, unless the caller asks to stop."""
        for batch in batches:
            if self.stop():
                raise InterruptedRunError("Stopped during a validation.")
            yield batch

    def _tensors(self) -> dict[str, Tensor]:
        return self.learner.tensors() | {"tally": self.tally}

    def _save(self) -> None:
        if self.disk.path is None:
            return
        began = time.monotonic()
        at = replace(self.at, elapsed_s=self._elapsed(), sparsity=self.learner.sparsity)
        if at.stopped == "asked":
            at.stopped = None
        counters = {"position": asdict(at), "history": [row_to_json(r) for r in self.history]}
        tensors = self._tensors() | {f"kept.{k}": v for k, v in self.kept.items()}
        write_state(self.disk.path, tensors, counters, self.disk.fingerprint)
        self.disk.written_at = time.monotonic()
        self.disk.took_s = self.disk.written_at - began

    def _restore(self) -> None:
        found = self.disk.path and read_state(self.disk.path, self.disk.fingerprint)
        if not found:
            return
        tensors, counters = found
        position = counters["position"]
        position["best"] = None if position["best"] is None else tuple(position["best"])
        self.at = _Position(**position)
        self.history = [row_from_json(row) for row in counters["history"]]
        self.kept = under(tensors, "kept.")
        self.learner.restore(tensors, self.at.sparsity)
        self.tally.copy_(tensors["tally"])

    def _report_due(self) -> bool:
        return time.monotonic() - self.reports.told_at >= self.reports.pause_s

    def _report(self, batches: int) -> None:
        """Tell of progress; where telling is slow (validation on a CPU) it is done rarely."""
        reports, now = self.reports, time.monotonic()
        steps = max(1, reports.steps)
        passes = self.plan.statistics_passes
        progress = self._progress(batches)
        sparsity = self.learner.sparsity
        reports.tell(
            TrainingState(
                snapshot=lambda: self.learner.finished(
                    self.batches.aside(-(-passes // 3) if passes else 0)
                ),
                progress=progress,
                step=self.at.step,
                elapsed_s=self._elapsed(),
                films_per_s=reports.films / max(1e-9, now - reports.told_at),
                groups_ready=self.batches.groups_ready,
                losses={name: float(total) / steps for name, total in self.sums.items()},
                learning_rate=self._rate(progress),
                sparsity=sparsity,
                masked=bool(self.learner.masks) and sparsity >= self.plan.sparsity - 1e-6,
                history=tuple(self.history),
            )
        )
        self.sums, reports.steps, reports.films = {}, 0, 0
        reports.told_at = time.monotonic()
        reports.pause_s = max(reports.every_s, 15 * (reports.told_at - now))


def _rate_at(progress: float, plan: TrainingPlan) -> float:
    """Linear warm-up, then half a cosine down to the final rate, as a share of the rate."""
    if progress < plan.warm_up:
        return 0.05 + 0.95 * progress / plan.warm_up
    done = min(1.0, (progress - plan.warm_up) / (1 - plan.warm_up))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return plan.final_rate + (1 - plan.final_rate) * cosine
