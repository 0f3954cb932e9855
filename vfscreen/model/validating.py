"""What a network makes of the validation films after an epoch, and the history that is kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vfscreen.errors import InterruptedRunError
from vfscreen.model.augmentation import plain
from vfscreen.model.batches import FilmSource
from vfscreen.model.inference import cpu_has_bfloat16
from vfscreen.model.statistics import auc
from vfscreen.model.straightening import Straightener
from vfscreen.preprocessing import Preprocessing


def autocast_of(device: torch.device) -> torch.autocast:
    """bfloat16 where the device is fast at it: training needs its range, not float16's."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = cpu_has_bfloat16()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast)


@dataclass(frozen=True, slots=True)
class EpochRow:
    """An epoch in figures; what there is no validation for is NaN.

    `loss` is the film's part of the training loss, without augmentation's or marks' parts in it;
    accuracies are at logit 0 and over what is known; `auc` is the mean over findings of which the
    validation films have both classes, `aucs` each one's.
    """

    epoch: int
    step: int
    films: int
    seconds: float
    learning_rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    auc: float
    aucs: tuple[float, ...]
    # How often training has gone back to a good state so far, at half the rate each time.
    recoveries: int


def row_from_json(raw: dict[str, Any]) -> EpochRow:
    """An `asdict` that went through JSON."""
    known = {f.name: raw[f.name] for f in fields(EpochRow)}
    return EpochRow(**known | {"aucs": tuple(raw["aucs"])})


def row_to_json(row: EpochRow) -> dict[str, Any]:
    """The row as a JSON object."""
    return asdict(row)


@dataclass(frozen=True, slots=True)
class Judged:
    """Logits of all validation films (N, F) and what they are worth."""

    logits: NDArray[np.float32]
    loss: float
    accuracy: float
    auc: float
    aucs: tuple[float, ...]


@torch.inference_mode()
def logits_of(
    model: nn.Module,
    source: FilmSource,
    spec: Preprocessing,
    device: torch.device,
    batch_size: int,
    *,
    straightener: Straightener | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Logits (N, F) that a network or an ensemble gives a source's films, in the order of its rows.

    NaN for a finding of a level that a column does not show.

    Batches have one size, the last padded, as in screening: a logit does not depend on the films
    that come with it.

    Raises
    ------
    InterruptedRunError
        `stop` asked to, between two batches.
    """
    arrays, rows = source.arrays(), source.ready()
    group = arrays.films.shape[1]
    at_once = max(1, batch_size // group)
    logits = []
    for first in range(0, len(rows), at_once):
        if stop():
            raise InterruptedRunError("Stopped during a validation.")
        chosen = rows[first : first + at_once]
        padded = np.pad(chosen, (0, at_once - len(chosen)), mode="edge")
        films = torch.from_numpy(arrays.films[padded]).to(device).flatten(0, 1)
        x, windows = plain(films, spec), None
        if straightener is not None:
            columns = straightener(x)
            x, windows = columns.pixels, columns.windows
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast_of(device):
            # An ensemble takes films alone, and straightens them itself.
            said = model(x) if windows is None else model(x, windows)
            answer: NDArray[np.float32] = said.float().cpu().numpy()
        logits.append(answer[: len(chosen) * group])
    return np.concatenate(logits)


def judge(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> Judged:
    """Figures of logits (N, F) against targets (N, F), NaN where it is not known or not seen."""
    known = ~np.isnan(targets) & ~np.isnan(logits)
    truth, wide = np.where(known, targets, 0.0), np.where(known, logits, 0.0).astype(np.float64)
    losses = np.logaddexp(0.0, wide) - truth * wide
    right = (wide >= 0) == (truth == 1)
    aucs = tuple(auc(wide[known[:, f], f], truth[known[:, f], f]) for f in range(targets.shape[1]))
    both = [value for value in aucs if not np.isnan(value)]
    return Judged(
        logits,
        float(losses[known].mean()),
        float(right[known].mean()),
        float(np.mean(both)) if both else float("nan"),
        aucs,
    )
