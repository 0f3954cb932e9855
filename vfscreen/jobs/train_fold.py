"""One fold: a network from its first weights, or from where a kill left it, to its answers."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vfscreen.config import TrainConfig
from vfscreen.errors import InterruptedRunError
from vfscreen.jobs.augmenting import augment_of
from vfscreen.jobs.progress import Progress, progress
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train_data import TrainingData
from vfscreen.jobs.train_locate import Located
from vfscreen.jobs.train_log import TrainingLog
from vfscreen.jobs.train_work import Work
from vfscreen.model.splits import Fold
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from vfscreen.model.initialisation import Initialised
    from vfscreen.model.network import Ensemble, FilmClassifier
    from vfscreen.model.plan import TrainingPlan
    from vfscreen.model.training import TrainingState
    from vfscreen.model.validating import EpochRow

_REPORT_S = 1.0
_STATISTICS_PASSES = 8


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A trained network and what it says of films that it was not trained on.

    `validated` are their places among the films of the training, `logits` float32
    (validated, findings).
    """

    number: int
    model: "FilmClassifier"
    history: "tuple[EpochRow, ...]"
    best_epoch: int | None
    stopped: str
    trained_on: int
    validated: NDArray[np.intp]
    logits: NDArray[np.float32]


@dataclass(slots=True)
class FoldRunner:
    """What the folds of a training have in common."""

    work: Work
    data: TrainingData
    spec: Preprocessing
    settings: TrainConfig
    device: "torch.device"
    log: TrainingLog
    stop: StopRequest
    tell: Callable[[str], None]
    folds: int
    histories: "dict[int, tuple[EpochRow, ...]]"
    located: Located | None = None

    def ensemble(self, members: "list[FilmClassifier]") -> "Ensemble":
        """The networks as a checkpoint has them, on the device."""
        from vfscreen.model.network import Ensemble

        straightener = None if self.located is None else self.located.straightener
        made = Ensemble(members, flip=self.settings.flip, straightener=straightener)
        return made.eval().to(self.device)

    def run(self, number: int, fold: Fold) -> FoldResult:
        """Train a fold; one that is done already gives its result again.

        Raises
        ------
        InterruptedRunError
            `stop` asked to: the state of the fold is saved.
        TrainingError
            The loss is not finite, or the state is of another training.
        StorageError
            State or log cannot be written.
        """
        from vfscreen.model.training import train
        from vfscreen.model.validating import logits_of

        s, validation = self.settings, self.data.source(fold.validation)
        show = _Show(self, number, len(fold.training))
        with show:
            trained = train(
                first_weights(s, self.data.findings, number)[0],
                self.data.source(fold.training),
                self.spec,
                self._plan(number),
                self.device,
                validation=validation,
                state=self.work.state_of(number),
                augment=augment_of(s.augment, self.spec, s.batch_size, self.device),
                straightener=None if self.located is None else self.located.straightener,
                report=show.report,
                report_every_s=_REPORT_S,
                stop=self.stop,
            )
        show.epochs(trained.history)
        if trained.stopped == "asked":
            raise InterruptedRunError(
                f"Stopped early ({self.stop.reason}) in fold {number}: run the same command again "
                "and it goes on from there."
            )
        logits = trained.validation_logits
        assert logits is not None
        if s.flip:  # the loop judges films as they are, the checkpoint their mirror images as well
            judged = self.ensemble([trained.model])
            logits = logits_of(judged, validation, self.spec, self.device, s.batch_size)
        return FoldResult(
            number=number,
            model=trained.model.cpu(),
            history=trained.history,
            best_epoch=trained.best_epoch,
            stopped=trained.stopped,
            trained_on=len(fold.training),
            validated=fold.validation,
            logits=logits,
        )

    def _plan(self, number: int) -> "TrainingPlan":
        from vfscreen.model.plan import TrainingPlan

        s = self.settings
        return TrainingPlan(
            epochs=s.epochs,
            batch_size=s.batch_size,
            learning_rate=s.learning_rate,
            weight_decay=s.weight_decay,
            warm_up=s.warm_up,
            final_rate=s.final_rate,
            label_smoothing=s.label_smoothing,
            balance=s.balance,
            frozen=s.frozen,
            augmentation=s.augmentation,
            ema_steps=s.ema_steps,
            patience=s.patience,
            # Weights that are averaged need statistics of their own.
            statistics_passes=_STATISTICS_PASSES if s.ema_steps else 0,
            keep=s.keep,
            dense_weight=s.marks_weight,
            seed=s.seed * 1000 + number,
        )


def first_weights(
    settings: TrainConfig, findings: tuple[str, ...], number: int
) -> "tuple[FilmClassifier, Initialised]":
    """The network that a fold begins with, and where its weights are from.

    Raises
    ------
    CheckpointError
        The weights that `train.init` names cannot be had, or do not fit.
    """
    import torch

    from vfscreen.model.initialisation import initialise
    from vfscreen.model.network import build

    # What is not initialised from elsewhere is drawn, for each fold anew.
    torch.manual_seed(settings.seed * 1000 + number)
    model = build(settings.architecture, findings)
    return model, initialise(model, settings.init)


class _Show:
    """A bar an epoch on a terminal, a line an epoch everywhere, and the log on disk."""

    def __init__(self, runner: FoldRunner, number: int, films: int) -> None:
        self._runner, self._number, self._films = runner, number, films
        self._stack = ExitStack()
        self._bar: Progress | None = None
        self._told = len(runner.histories.get(number, ()))

    def __enter__(self) -> None:
        self._open()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def report(self, state: "TrainingState") -> None:
        """What the loop calls now and then."""
        if len(state.history) > self._told:
            self._stack.close()
            self.epochs(state.history)
            self._open()
        begun = state.history[-1].step if state.history else 0
        done = (state.step - begun) * self._runner.settings.batch_size
        if self._bar is not None:
            self._bar(max(0, min(done, self._films) - self._bar.done))

    def epochs(self, history: "tuple[EpochRow, ...]") -> None:
        """Tell of the epochs that are new, and log all."""
        runner = self._runner
        for row in history[self._told :]:
            runner.tell(_line(self._number, runner.folds, row, runner.settings.epochs))
        self._told = len(history)
        runner.histories[self._number] = history
        runner.log.write(runner.histories)

    def _open(self) -> None:
        title = f"fold {self._number} of {self._runner.folds}, epoch {self._told + 1}"
        self._bar = self._stack.enter_context(progress(title, unit="films", total=self._films))


def _line(fold: int, folds: int, row: "EpochRow", epochs: int) -> str:
    """An epoch in a line."""
    auc = "not defined" if math.isnan(row.auc) else f"{row.auc:.3f}"
    rate = row.films / max(row.seconds, 1e-9)
    recovered = f"; gone back {row.recoveries} time" if row.recoveries else ""
    return (
        f"fold {fold} of {folds}, epoch {row.epoch:>3} of {epochs}: "
        f"loss {row.loss:.4f}, accuracy {row.accuracy:.3f}; validation loss "
        f"{row.validation_loss:.4f}, accuracy {row.validation_accuracy:.3f}, AUC {auc}; "
        f"{row.seconds:.1f} s, {rate:.1f} films/s{recovered}"
    )
