"""The log of a training: a CSV with a row an epoch, and the curves of accuracy and loss.

Nothing in it names or counts a patient; it may be shown to anyone.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen.errors import StorageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vfscreen.model.validating import EpochRow

# Told apart in grey and by the colour-blind as well (Okabe and Ito).
_TRAINING, _VALIDATION = "#0072B2", "#D55E00"
_COLUMNS = (
    "epoch", "learning_rate", "loss", "accuracy", "validation_loss", "validation_accuracy", "auc",
    "seconds",
)  # fmt: skip


@dataclass(slots=True)
class TrainingLog:
    """A folder beside the checkpoint, rewritten whole: what it shows is always one training."""

    folder: Path
    findings: tuple[str, ...]

    def write(self, histories: Mapping[int, "Sequence[EpochRow]"]) -> None:
        """Write `epochs.csv`.

        Parameters
        ----------
        histories
            Fold (from 1) to its epochs.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside = self.folder / ".epochs.csv"
            with aside.open("w", encoding="utf-8", newline="") as out:
                writer = csv.writer(out, lineterminator="\n")
                aucs = [f"auc_{name}" for name in self.findings] if self.findings[1:] else []
                writer.writerow(["fold", *_COLUMNS, "films_per_s", *aucs])
                for fold, rows in histories.items():
                    for row in rows:
                        figures = [_number(getattr(row, name)) for name in _COLUMNS]
                        rate = _number(row.films / max(row.seconds, 1e-9))
                        more = [_number(value) for value in row.aucs] if aucs else []
                        writer.writerow([fold, *figures, rate, *more])
            aside.replace(self.folder / "epochs.csv")
        except OSError as error:
            raise self._failed(error) from None

    def draw(self, histories: Mapping[int, "Sequence[EpochRow]"], title: str) -> None:
        """Write `curves.png` and `curves.svg`: figure 2 of Chen et al. (2021), and the AUC.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12.5, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        accuracy, loss, auc = figure.subplots(1, 3)
        _curves(accuracy, histories, "accuracy", "validation_accuracy")
        _curves(loss, histories, "loss", "validation_loss")
        _curves(auc, histories, None, "auc")
        for axis, name in ((accuracy, "accuracy"), (loss, "loss"), (auc, "AUC, validation")):
            axis.set(xlabel="epoch", title=name)
            axis.grid(alpha=0.3)
            axis.xaxis.get_major_locator().set_params(integer=True)
        accuracy.set_ylim(top=1.0)
        auc.set_ylim(top=1.0)
        auc.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        accuracy.legend(loc="lower right", fontsize=9)
        figure.suptitle(title, fontsize=11)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.folder / "curves.png", dpi=150)
            # Text stays text, and the same curves give the same file.
            with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vfscreen"}):
                figure.savefig(self.folder / "curves.svg", metadata={"Date": None})
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"The log {self.folder} cannot be written: {error.strerror}.")


def _curves(
    axis: "Axes",
    histories: Mapping[int, "Sequence[EpochRow]"],
    training: str | None,
    validation: str,
) -> None:
    """Each fold as a thin line, the folds' mean as a thick one."""
    series = [(training, _TRAINING, "--", "training"), (validation, _VALIDATION, "-", "validation")]
    for column, colour, style, word in series:
        if column is None:
            continue
        lines = [[getattr(row, column) for row in rows] for rows in histories.values() if rows]
        marker = "o" if max(map(len, lines)) < 3 else None
        for values in lines if lines[1:] else []:
            axis.plot(
                range(1, len(values) + 1), values, style, color=colour, linewidth=0.7, alpha=0.5
            )
        # Folds end at different epochs: the mean is over those that go on.
        longest = max(map(len, lines))
        means = []
        for epoch in range(longest):
            known = [v[epoch] for v in lines if len(v) > epoch and not math.isnan(v[epoch])]
            means.append(sum(known) / len(known) if known else math.nan)
        label = f"{word}, mean of folds" if lines[1:] else word
        axis.plot(
            range(1, longest + 1), means, style, color=colour, linewidth=2, marker=marker,
            label=label,
        )  # fmt: skip


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
