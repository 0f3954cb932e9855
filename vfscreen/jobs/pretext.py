"""First weights from a pretext task: a backbone that learns where vertebrae are.

`python -m vfscreen.jobs.pretext --archive A --labels L --marks M --out first.safetensors`,
then `vfscreen train --init first.safetensors`. The labels file names the films; what it says of
them is not looked at. Films that are to test the network must not be among them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from vfscreen import __version__
from vfscreen.config import Config
from vfscreen.config_file import load
from vfscreen.errors import UsageError
from vfscreen.jobs.film_cache import cache_films
from vfscreen.jobs.marks import read_marks
from vfscreen.jobs.scoring import open_scoring, scan_and_label
from vfscreen.jobs.stopping import StopRequest, stop_on_signals
from vfscreen.preprocessing import Preprocessing

# Vertebrae are large: nothing is gained by more pixels, and the weights serve any size.
INPUT_PX = 224
_REPORT_EVERY = 25


@dataclass(frozen=True, slots=True)
class PretextRequest:
    """On what to train, which architecture, how long, and where to put the weights."""

    archive: Path
    labels: Path
    marks: Path
    out: Path
    architecture: str = "resnext50_32x4d"
    steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 1
    device: str = "auto"


def train_pretext(request: PretextRequest, config: Config, stop: StopRequest) -> float:
    """Train a backbone to find vertebrae, and write its weights; returns the last loss.

    Raises
    ------
    UsageError
        The file is there already.
    InputError
        No vertebra with a level is marked on any film, or the loss is not finite.
    LabelsError, ArchiveError, StorageError, InterruptedRunError
        As scanning, labelling and decoding.
    """
    if request.out.exists():
        raise UsageError(f"{request.out} is there already: name a new file.")
    spec = Preprocessing(input_size_px=INPUT_PX)
    with open_scoring("pretext", request.archive, request.out, None, config) as run:
        labelled = scan_and_label(run, request.archive, request.labels, config, stop)
        points = read_marks(request.marks, labelled).points
        cached = cache_films(
            run.results.path / "films", labelled.planned(), request.archive, spec, config, stop
        )
        here = np.flatnonzero(cached.rows >= 0)
        return _fit(request, cached.films[cached.rows[here]], points[here], spec)


def _fit(
    request: PretextRequest,
    films: NDArray[np.uint8],
    points: NDArray[np.float32],
    spec: Preprocessing,
) -> float:
    import torch

    from vfscreen.model.locator_training import (
        LocatorPlan,
        LocatorProgress,
        fit_places,
        unmarked_are_absent,
    )
    from vfscreen.model.network import build
    from vfscreen.model.pretext import VertebraFinder, save_backbone

    device = request.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng():
        torch.manual_seed(request.seed)
        finder = VertebraFinder(build(request.architecture, ("vertebra",))).to(device).train()
    plan = LocatorPlan(
        steps=request.steps,
        films_per_batch=request.batch_size,
        learning_rate=request.learning_rate,
        seed=request.seed,
    )
    last = float("nan")

    def tell(progress: LocatorProgress) -> None:
        nonlocal last
        last = progress.loss
        print(
            f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}; "
            f"{progress.elapsed_s:.0f} s",
            flush=True,
        )

    fit_places(
        finder, films, unmarked_are_absent(points), spec, plan, torch.device(device),
        report=tell, report_every=_REPORT_EVERY,
    )  # fmt: skip
    save_backbone(
        request.out,
        finder.classifier,
        {
            "architecture": request.architecture,
            "made_by": f"vfscreen {__version__}, pretext task: where the vertebrae are",
            "films": str(len(films)),
            "steps": str(request.steps),
            "batch_size": str(request.batch_size),
            "learning_rate": str(request.learning_rate),
            "seed": str(request.seed),
            "last_loss": f"{last:.4f}",
        },
    )
    return last


def _command(
    archive: Annotated[Path, typer.Option(help="a folder of DICOM files")],
    labels: Annotated[Path, typer.Option(help="names the films; what it says is not looked at")],
    marks: Annotated[Path, typer.Option(help="vertebrae, each with its level")],
    out: Annotated[Path, typer.Option(help="the weights to write (.safetensors)")],
    architecture: str = "resnext50_32x4d",
    steps: int = 1000,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 1,
    device: str = "auto",
    config: Annotated[Path | None, typer.Option(help="vfscreen.toml")] = None,
) -> None:
    """Train a backbone to find vertebrae: first weights for `vfscreen train --init`."""
    settings = locals()
    chosen = load(settings.pop("config"))
    stop = StopRequest()
    with stop_on_signals(stop):
        train_pretext(PretextRequest(**settings), chosen, stop)


if __name__ == "__main__":
    typer.run(_command)
