"""Train the demonstration checkpoint on phantom films.

`python -m vfscreen.jobs.demonstration --out demo.safetensors --minutes 8`. This module is imported
by every renderer process: torch is imported where it is used.
"""

import json
import math
import platform
import sys
import time
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from vfscreen import __version__
from vfscreen.config import CalibrateConfig
from vfscreen.errors import CheckpointError, UsageError
from vfscreen.jobs.phantom_cache import CachePlan, PhantomCache, rendering, wait_for
from vfscreen.jobs.phantom_validation import Validation
from vfscreen.model.checkpoint import CheckpointInfo
from vfscreen.phantom.difficulty import DEFAULT_DIFFICULTY, Difficulty
from vfscreen.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from vfscreen.model.batches import FilmArrays
    from vfscreen.model.network import FilmClassifier
    from vfscreen.model.training import TrainingState

NAME = "phantom-demonstration-resnext50"
ARCHITECTURE = "resnext50_32x4d"
FINDING = "vertebral_fracture"
# Training patients that must be there before training starts beside the renderer.
FIRST_GROUPS = 512
# The phantom's mix of FRACTURE, MIMIC and PLAIN, in the order of a group.
MIX = (0.30, 0.35, 0.35)
REPORT_S = 40.0


def train_demonstration(
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    *,
    phantoms: int = 20_000,
    validation: int = 500,
    seed: int = 1,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    workers: int = 0,
    cache_dir: Path | None = None,
    init: Path | None = None,
    learning_rate: float | None = None,
    groups_per_batch: int | None = None,
    focus_until: float = 0.0,
    ema_steps: float = 300.0,
    films: Difficulty = DEFAULT_DIFFICULTY,
) -> CheckpointInfo:
    """Render phantoms, train, prune, calibrate, and write a checkpoint.

    Parameters
    ----------
    out : Path
        The checkpoint; written again whenever a better one is at hand, so that a killed run
        leaves the last.
    phantoms, validation : int
        Patients (three counterfactual films each) to train on and to validate with.
    minutes, steps : float or int
        How long. With `minutes` rendering counts in and goes on beside training; with `steps`
        all films are rendered first, and the same seed gives the same weights.
    focus_until : float
        Share of the training that looks at a strip around the finding only: cheaper on a CPU.
    ema_steps : float
        Steps over which the weights are averaged; fewer where training is short.
    init : Path, optional
        A pruned checkpoint to train further.
    films : Difficulty
        How hard the films are to read.

    Raises
    ------
    UsageError
        Both or neither of `minutes` and `steps`.
    CheckpointError, StorageError
        `init` cannot be read, or `out` not be written.
    """
    if (minutes is None) == (steps is None):
        raise UsageError("Give either --minutes or --steps.")
    began = time.monotonic()
    plan = CachePlan(validation=validation, training=phantoms, seed=seed, difficulty=films)
    folder = cache_dir or out.parent / f"{out.name}.cache"
    with rendering(folder, plan, workers=workers or _spare_cores()) as cache:
        model, placed, pruned = _network(device, init, seed)
        wait_for(cache, min(FIRST_GROUPS, phantoms) if minutes else phantoms)
        _say(f"{len(cache.ready())} of {plan.rows} patients after {time.monotonic() - began:.0f} s")
        training = _plan(minutes, steps, began, pruned, seed, learning_rate, groups_per_batch)
        training = replace(training, focus_until=focus_until, ema_steps=ema_steps)
        study = Validation(cache, Preprocessing(), placed)
        keep = _Keeper(out, study, _provenance(plan, training, init))
        from vfscreen.model.training import train

        trained = train(
            model, _TrainingFilms(cache), Preprocessing(), training, placed,
            already_pruned=pruned, report=keep.report, report_every_s=REPORT_S,
        )  # fmt: skip
        info = keep.write(trained.model)
    _say(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB) after {time.monotonic() - began:.0f} s")
    return info


class _TrainingFilms:
    """The training rows of a cache, as the training loop wants them."""

    def __init__(self, cache: PhantomCache) -> None:
        self._cache, self._first = cache, cache.plan.validation

    def arrays(self) -> "FilmArrays":
        from vfscreen.model.batches import FilmArrays

        columns, first = self._cache.columns, self._first
        targets = np.zeros((self._cache.plan.training, 3, 1), np.float32)
        targets[:, 0] = 1.0
        return FilmArrays(columns["films"][first:], targets, columns["boxes"][first:])

    def ready(self) -> NDArray[np.intp]:
        rows = self._cache.ready()
        return rows[rows >= self._first] - self._first


class _Keeper:
    """Validates, reports and writes checkpoints as training goes on."""

    def __init__(self, out: Path, study: Validation, provenance: dict[str, Any]) -> None:
        self._out, self._study, self._provenance = out, study, provenance
        out.parent.mkdir(parents=True, exist_ok=True)

    def report(self, state: "TrainingState") -> None:
        losses = " ".join(f"{name} {value:.3f}" for name, value in state.losses.items())
        model = state.snapshot()
        figures = self._study.figures(self._study.scores(model, varied=False), 0.0)
        _say(
            f"{state.progress:4.0%} step {state.step} {state.elapsed_s:.0f} s "
            f"{state.films_per_s:.0f} films/s, {state.groups_ready} patients, "
            f"lr {state.learning_rate:.1e}, zeros {state.sparsity:.3f} | {losses} | "
            f"{_line(figures)}"
        )
        # Only a pruned network fits into the package; before that there is nothing to keep.
        if state.masked:
            try:
                self.write(model, quiet=True)
            except CheckpointError as error:
                _say(str(error))

    def write(self, model: "FilmClassifier", *, quiet: bool = False) -> CheckpointInfo:
        """Calibrate, choose operating points, and write the checkpoint."""
        from vfscreen.model.calibration import fit, probability
        from vfscreen.model.checkpoint import save
        from vfscreen.model.operating_points import choose_all, parse_rules

        plain = self._study.scores(model, varied=False)
        varied = self._study.scores(model, varied=True)
        logits = np.concatenate([plain.logits, varied.logits])
        labels = np.zeros(logits.shape)
        labels[:, 0] = 1
        weights = np.broadcast_to(np.array(MIX), logits.shape)
        calibration = fit(logits.ravel(), labels.ravel(), "platt", weights.ravel())
        rules = parse_rules(CalibrateConfig().operating_points)
        cuts = choose_all(rules, logits.ravel(), labels.ravel()).thresholds()
        # A network that separates nearly all films reaches both beyond the best cut: the names
        # then still mean what they say.
        cuts["high_sensitivity"] = min(cuts["high_sensitivity"], cuts["default"])
        cuts["high_specificity"] = max(cuts["high_specificity"], cuts["default"])
        points = {name: float(probability(cut, calibration)) for name, cut in cuts.items()}
        figures = {
            "as rendered": self._study.figures(plain, cuts["default"]),
            "other display": self._study.figures(varied, cuts["default"]),
        }
        if not quiet:
            for name, row in figures.items():
                _say(f"{name}: {_line(row)}")
            _say(f"calibration {calibration}, operating points {points}")
        return save(
            self._out,
            [model],
            name=NAME,
            demonstration=True,
            findings=(FINDING,),
            preprocessing=Preprocessing(),
            calibration={FINDING: calibration},
            operating_points={FINDING: points},
            provenance=self._provenance
            | {
                "validation_figures": _known(figures),
                "operating_point_counts": {
                    FINDING: {name: _counts(plain.logits, cut) for name, cut in cuts.items()}
                },
            },
            model_card=_card(),
        )


def _network(
    device: str, init: Path | None, seed: int
) -> tuple["FilmClassifier", "torch.device", bool]:
    """The network to train, where, and whether it is pruned already."""
    import torch

    from vfscreen.model.checkpoint import load_weights, read_info
    from vfscreen.model.network import build

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if init is not None:
        return load_weights(read_info(init)).members[0], torch.device(chosen), True
    torch.manual_seed(seed)
    return build(ARCHITECTURE, (FINDING,)), torch.device(chosen), False


def _plan(
    minutes: float | None,
    steps: int | None,
    began: float,
    pruned: bool,
    seed: int,
    learning_rate: float | None,
    groups_per_batch: int | None,
) -> Any:
    from vfscreen.model.plan import TrainingPlan

    # Of the time given, rendering the first films is gone; writing needs a little at the end.
    left = None if minutes is None else max(0.1, minutes - (time.monotonic() - began) / 60 - 0.2)
    return TrainingPlan(
        steps=steps,
        minutes=left,
        seed=seed,
        # A trained network goes on more gently.
        learning_rate=learning_rate or 2e-3 * (0.4 if pruned else 1.0),
        batch_size=3 * (groups_per_batch or 64),
        sparsity=0.84,
        statistics_passes=60,
    )


def _provenance(plan: CachePlan, training: Any, init: Path | None) -> dict[str, Any]:
    import torch
    import torchvision

    from vfscreen.model.checkpoint import read_info

    return {
        "trained_on": "synthetic films (phantom); no patient's film was used",
        "phantom": asdict(plan),
        "training": asdict(training),
        "init": None if init is None else read_info(init).provenance,
        "operating_point_rules": {
            "default": "largest sensitivity + specificity (Youden)",
            "high_sensitivity": "sensitivity at least 0.95, never above the default",
            "high_specificity": "specificity at least 0.95, never below the default",
        },
        "calibration_rule": "Platt, on validation phantoms weighted to the phantom's mix "
        "(30 % fracture, 35 % mimic, 35 % plain), as rendered and with varied display",
        "versions": {
            "vfscreen": __version__,
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "python": platform.python_version(),
        },
        "command": "vfscreen.jobs.demonstration "
        + " ".join(a for a in sys.argv[1:] if "/" not in a),
    }


def _spare_cores() -> int:
    import os

    return max(1, len(os.sched_getaffinity(0)) - 1)


def _counts(logits: NDArray[np.float64], cut: float) -> dict[str, int]:
    """On how many films, as rendered, an operating point is right: `vfscreen estimate` reads it."""
    positives, negatives = logits[:, 0], logits[:, 1:]
    return {
        "true_positives": int((positives >= cut).sum()),
        "positives": positives.size,
        "true_negatives": int((negatives < cut).sum()),
        "negatives": negatives.size,
    }


def _known(figures: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Figures as JSON knows them: one without any case (NaN) is null."""
    return {
        name: {key: None if math.isnan(value) else value for key, value in row.items()}
        for name, row in figures.items()
    }


def _card() -> str:
    """The shipped model's card without its figures: those are another network's."""
    card = (files("vfscreen.model") / "model_card.md").read_text(encoding="utf-8")
    about = card.split("## Figures")[0]
    then = "`python -m vfscreen.jobs.phantom_figures`"
    return f"{about}## Figures\n\nNone yet: screen unseen phantoms, then {then}.\n"


def _line(figures: dict[str, float]) -> str:
    return json.dumps({name: round(value, 3) for name, value in figures.items()})


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    typer.run(train_demonstration)
